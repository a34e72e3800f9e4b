"""Claude's export: ``conversations.json`` with ``chat_messages``; pasted texts are in it, uploaded files are not."""

import re
from collections.abc import Iterator, Mapping

from nanolocal.chat.messages import Attachment, Role
from nanolocal.vault.imported import ImportedChat, ImportedMessage
from nanolocal.vault.transfer import report
from nanolocal.vault.transfer.container import Place
from nanolocal.vault.transfer.media import attachment, is_picture
from nanolocal.vault.transfer.tree import conversation, grown
from nanolocal.vault.transfer.values import fields, first_text, items, seconds, text

NAME = "Claude"
_ROOT = re.compile(r"0{8}-0{4}-[0-9]?0{3}-[0-9]?0{3}-0{12}")
_BLOCKS = {
    "thinking": report.THOUGHT,
    "redacted_thinking": report.THOUGHT,
    "tool_use": report.TOOL_CALL,
    "tool_result": report.TOOL_RESULT,
    "voice_note": report.RECORDING,
}


def knows(item: Mapping[str, object]) -> bool:
    """Whether this is one conversation of such an export."""
    return isinstance(item.get("chat_messages"), list)


def parse(item: Mapping[str, object], place: Place) -> ImportedChat | None:
    """The conversation with every branch; documents that an answer made become its attachments."""
    messages, skipped = [], {}
    before: str | None = None
    for number, raw in enumerate(map(fields, items(item.get("chat_messages")))):
        name = text(raw.get("uuid")) or f"message {number}"
        parent = text(raw.get("parent_message_uuid")) or None if "parent_message_uuid" in raw else before
        parent = None if parent and _ROOT.fullmatch(parent) else parent
        message = _message(name, parent, raw, item, place)
        if message is None:
            skipped[name] = parent
        else:
            messages.append(message)
        before = name
    return conversation(
        ("claude", text(item.get("uuid"))),
        text(item.get("name")),
        (seconds(item.get("created_at")), seconds(item.get("updated_at"))),
        "",
        grown(messages, place.notes, text(item.get("current_leaf_message_uuid")) or None, skipped),
        place.notes,
    )


def _message(
    name: str, parent: str | None, raw: Mapping[str, object], item: Mapping[str, object], place: Place
) -> ImportedMessage | None:
    role = {"human": Role.USER, "user": Role.USER, "assistant": Role.ASSISTANT}.get(text(raw.get("sender")))
    if role is None:
        place.notes.add("message", "left out: said by nobody nanolocal knows")
        return None
    blocks = [fields(block) for block in items(raw.get("content"))]
    words = "\n\n".join(filter(None, (text(block.get("text")) for block in blocks if _is_text(block))))
    attachments = (*_documents(blocks, place), *_files(raw, place))
    if not blocks:
        words = text(raw.get("text"))
    if not words and not attachments and role is not Role.USER:
        return None
    author = None if role is Role.USER else first_text(raw.get("model"), item.get("model"), "claude")
    created = seconds(raw.get("created_at")) or seconds(item.get("created_at")) or 0.0
    return ImportedMessage(name, parent, role, words, created, author, attachments)


def _is_text(block: Mapping[str, object]) -> bool:
    return block.get("type") in ("text", None)


def _documents(blocks: list[Mapping[str, object]], place: Place) -> Iterator[Attachment]:
    """The documents (artifacts) among the calls of tools; everything else that is no text gets a note."""
    for block in blocks:
        if _is_text(block):
            continue
        wanted = fields(block.get("input"))
        written = text(wanted.get("content"))
        if block.get("name") == "artifacts" and written:
            yield attachment(f"{first_text(wanted.get('title'), wanted.get('id'), 'document')}.txt", _bytes(written))
        else:
            kind = text(block.get("type"))
            place.notes.add(*_BLOCKS.get(kind, (f"{kind[:40]} block".strip(), "left out: nanolocal does not know it")))


def _files(raw: Mapping[str, object], place: Place) -> Iterator[Attachment]:
    for each in map(fields, items(raw.get("attachments"))):
        written = text(each.get("extracted_content"))
        if written:
            yield attachment(first_text(each.get("file_name"), "pasted.txt"), _bytes(written))
        else:
            place.notes.add(*report.NO_FILE)
    for each in map(fields, items(raw.get("files"))):
        name = text(each.get("file_name"))
        is_image = text(each.get("file_kind")) == "image" or is_picture(name)
        absent = report.NO_PICTURE if is_image else report.NO_FILE
        found = place.attached(first_text(each.get("file_uuid"), name), absent, name)
        if found is not None:
            yield found


def _bytes(words: str) -> bytes:
    return words.encode("utf-8", "replace")
