"""The history of Ollama's desktop app: an SQLite database with chats, messages and attachments."""

import sqlite3
from collections.abc import Iterator, Mapping

from nanolocal.chat.messages import Attachment, Role
from nanolocal.vault.imported import ImportedChat, ImportedMessage
from nanolocal.vault.transfer import report
from nanolocal.vault.transfer.media import attachment
from nanolocal.vault.transfer.report import Notes
from nanolocal.vault.transfer.sqlitefile import columns, rows
from nanolocal.vault.transfer.tree import conversation, grown
from nanolocal.vault.transfer.values import seconds, text

NAME = "Ollama"
_ROLES = {role.value: role for role in Role}


def knows(connection: sqlite3.Connection) -> bool:
    """Whether this is such a database."""
    return {"id", "title"} <= columns(connection, "chats") and {"id", "chat_id", "role", "content"} <= columns(
        connection, "messages"
    )


def parse(connection: sqlite3.Connection, notes: Notes) -> Iterator[ImportedChat]:
    """Every conversation."""
    has_files = {"message_id", "filename", "data"} <= columns(connection, "attachments")
    has_calls = "message_id" in columns(connection, "tool_calls")
    for chat in list(rows(connection, "chats", "")):
        messages: list[ImportedMessage] = []
        for row in rows(connection, "messages", "WHERE chat_id = ? ORDER BY id", chat["id"]):
            files = _files(connection, row, notes) if has_files else ()
            if has_calls:
                for _ in rows(connection, "tool_calls", "WHERE message_id = ?", row["id"]):
                    notes.add(*report.TOOL_CALL)
            message = _message(row, files, messages, notes)
            if message is not None:
                messages.append(message)
        taken = conversation(
            ("ollama", text(chat["id"])),
            text(chat["title"]),
            (seconds(chat.get("created_at")), None),
            "",
            grown(messages, notes),
            notes,
        )
        if taken is not None:
            yield taken


def _message(
    row: Mapping[str, object], files: tuple[Attachment, ...], before: list[ImportedMessage], notes: Notes
) -> ImportedMessage | None:
    role, words = _ROLES.get(text(row["role"])), text(row["content"])
    if role is None:
        notes.add(*report.TOOL_RESULT)
        return None
    if text(row.get("thinking")):
        notes.add(*report.THOUGHT)
    if not words and not files and role is not Role.USER:
        return None
    author = text(row.get("model_name")) or None if role is Role.ASSISTANT else None
    parent = before[-1].id if before else None
    return ImportedMessage(str(row["id"]), parent, role, words, seconds(row.get("created_at")) or 0.0, author, files)


def _files(connection: sqlite3.Connection, row: Mapping[str, object], notes: Notes) -> tuple[Attachment, ...]:
    found = []
    for each in rows(connection, "attachments", "WHERE message_id = ?", row["id"]):
        data = each["data"]
        if isinstance(data, bytes):
            found.append(attachment(text(each["filename"]), data))
        else:
            notes.add(*report.NO_FILE)
    return tuple(found)
