"""nanolocal's own JSON (``docs/CHATS.md``): everything that goes out, and what of it comes back."""

import base64
import binascii
import json
from collections.abc import Mapping

from nanolocal.chat.drawing import PictureReceipt
from nanolocal.chat.helping import as_record, from_records
from nanolocal.chat.messages import Attachment, Role, Stopped
from nanolocal.chat.ports import StoredMessage
from nanolocal.errors import Damaged, UsageError
from nanolocal.vault.imported import ImportedChat, ImportedMessage, WholeChat
from nanolocal.vault.transfer.container import Place
from nanolocal.vault.transfer.tree import grown
from nanolocal.vault.transfer.values import fields, items, number, text

NAME = "nanolocal"
FORMAT = "nanolocal-chats"
VERSION = 1
_ROLES = {role.value: role for role in Role}
_STOPS = {stop.value for stop in Stopped}


def written(chat: WholeChat) -> dict[str, object]:
    """A conversation as a JSON object."""
    return {
        "id": chat.id,
        "source": chat.source or f"nanolocal:{chat.id}",
        "title": chat.title,
        "system": chat.system,
        "created_at": chat.created_at,
        "updated_at": chat.updated_at,
        "messages": [_message(message) for message in chat.messages],
    }


def chats_of(document: Mapping[str, object]) -> list[object]:
    """The conversations of a file; raises ``UsageError`` for a version from the future."""
    if document.get("version") != VERSION:
        version = str(document.get("version"))[:20]
        raise UsageError(f"this export has version {version}, nanolocal reads {VERSION}", "use a newer nanolocal")
    return items(document.get("chats"))


def knows(item: Mapping[str, object]) -> bool:
    """Whether this is one conversation of such a file."""
    return isinstance(item.get("source"), str) and isinstance(item.get("messages"), list)


def parse(item: Mapping[str, object], place: Place) -> ImportedChat:
    """The conversation as it was; what its answers cost elsewhere stays out of this vault's ledger."""
    messages: list[ImportedMessage] = []
    for count, raw in enumerate(map(fields, items(item.get("messages")))):
        role = _ROLES.get(text(raw.get("role")))
        name, parent = text(raw.get("id")) or f"message {count}", text(raw.get("parent_id")) or None
        if role is None:
            place.notes.add("message", "kept as an answer: its role is unknown")
        stopped, task, author = text(raw.get("stopped")), text(raw.get("task")), text(raw.get("build"))
        attachments = tuple(filter(None, (_attachment(fields(each), place) for each in items(raw.get("attachments")))))
        if fields(raw.get("usage")) or fields(raw.get("route")):
            place.notes.add("usage and cost record", "left out: the ledger counts what this vault spent")
        messages.append(
            ImportedMessage(
                name,
                parent,
                role or Role.ASSISTANT,
                text(raw.get("text")),
                number(raw.get("created_at")) or 0.0,
                author or None,
                attachments,
                task or None,
                stopped if stopped in _STOPS else None,
                from_records(raw.get("sources")),
            )
        )
    system = item.get("system")
    return ImportedChat(
        text(item.get("source")),
        text(item.get("title")),
        number(item.get("created_at")) or 0.0,
        number(item.get("updated_at")) or 0.0,
        system if isinstance(system, str) else None,
        grown(messages, place.notes, messages[-1].id if messages else None),
    )


def _message(stored: StoredMessage) -> dict[str, object]:
    record: dict[str, object] = {
        "id": stored.id,
        "parent_id": stored.parent_id,
        "role": stored.message.role.value,
        "text": stored.message.text,
        "created_at": stored.created_at,
        "attachments": [_encoded(item, item.name in stored.damaged) for item in stored.message.attachments],
    }
    if stored.build_id is not None:
        record["build"] = stored.build_id
    if stored.task is not None:
        record["task"] = stored.task
    if stored.stopped is not None:
        record["stopped"] = stored.stopped
    if stored.sources:
        record["sources"] = [as_record(source) for source in stored.sources]
    if stored.route_json is not None:
        record |= {
            "usage": {
                "prompt_tokens": stored.usage.prompt_tokens,
                "cached_tokens": stored.usage.cached_tokens,
                "completion_tokens": stored.usage.completion_tokens,
                "pixel_steps": stored.usage.pixel_steps,
            },
            "cost_micro": stored.cost_micro,
            "decode_tok_s": stored.decode_tok_s,
            "dropped_tokens": stored.dropped_tokens,
            "route": json.loads(stored.route_json),
        }
    return record


def _encoded(item: Attachment, is_damaged: bool) -> dict[str, object]:
    data = None if is_damaged else base64.b64encode(item.data).decode("ascii")
    record: dict[str, object] = {"name": item.name, "media_type": item.media_type, "data": data}
    return record | {"receipt": json.loads(item.receipt)} if item.receipt else record


def _attachment(raw: Mapping[str, object], place: Place) -> Attachment | None:
    try:
        data = base64.b64decode(text(raw.get("data")), validate=True)
    except (binascii.Error, ValueError):
        data = None
    if data is None or not isinstance(raw.get("data"), str):
        place.notes.add("attachment", "left out: its data is missing or damaged")
        return None
    kind = text(raw.get("media_type")) or "application/octet-stream"
    return Attachment(text(raw.get("name")) or "file", kind, data, _receipt(fields(raw.get("receipt"))))


def _receipt(raw: Mapping[str, object]) -> str:
    """A picture's receipt as the vault keeps it; nothing where it does not add up."""
    try:
        return PictureReceipt.from_json(json.dumps(raw)).to_json() if raw else ""
    except Damaged:
        return ""
