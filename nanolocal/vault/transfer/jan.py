"""Jan's threads: a folder each, with ``thread.json`` and a line per message in ``messages.jsonl``."""

from collections.abc import Mapping
from pathlib import PurePosixPath

from nanolocal.chat.messages import Attachment, Role
from nanolocal.errors import UsageError
from nanolocal.vault.imported import ImportedChat, ImportedMessage
from nanolocal.vault.transfer import report
from nanolocal.vault.transfer.container import MOST_JSON_BYTES, Place
from nanolocal.vault.transfer.media import from_data_url
from nanolocal.vault.transfer.tree import conversation, grown
from nanolocal.vault.transfer.values import fields, first_text, items, parsed, seconds, text

NAME = "Jan"
_ROLES = {role.value: role for role in Role}


def knows(item: Mapping[str, object]) -> bool:
    """Whether this is a thread's description."""
    return item.get("object") == "thread" or (isinstance(item.get("assistants"), list) and "messages" not in item)


def knows_line(item: Mapping[str, object]) -> bool:
    """Whether this is a line of ``messages.jsonl``."""
    return item.get("object") == "thread.message" or ("thread_id" in item and "content" in item)


def parse(item: Mapping[str, object], place: Place) -> ImportedChat | None:
    """The conversation, whose messages lie beside its description."""
    beside = place.beside("messages.jsonl")
    if beside not in place.files.names():
        place.notes.add(*report.EMPTY)
        return None
    place.used.add(beside)
    return parse_lines(item, place.files.read(beside, MOST_JSON_BYTES), place)


def parse_lines(item: Mapping[str, object], data: bytes, place: Place) -> ImportedChat | None:
    """The conversation of these lines. ``item`` may be empty."""
    assistant = fields(next(iter(items(item.get("assistants"))), None))
    model = first_text(fields(assistant.get("model")).get("id"), fields(item.get("model")).get("id"))
    raws = sorted(_lines(data, place), key=lambda raw: seconds(raw.get("created_at")) or 0.0)
    messages: list[ImportedMessage] = []
    for raw in raws:
        message = _message(raw, len(messages), model, place)
        if message is not None:
            messages.append(message)
    folder = PurePosixPath(place.name).parent.name
    return conversation(
        ("jan", first_text(item.get("id"), *(raw.get("thread_id") for raw in raws), folder)),
        first_text(item.get("title"), fields(item.get("metadata")).get("title")),
        (seconds(item.get("created")), seconds(item.get("updated"))),
        text(assistant.get("instructions")),
        grown(messages, place.notes),
        place.notes,
    )


def _lines(data: bytes, place: Place) -> list[Mapping[str, object]]:
    raws = []
    for line in filter(None, map(bytes.strip, data.split(b"\n"))):
        try:
            raws.append(fields(parsed(line, place.name)))
        except UsageError:
            place.notes.add("line", "left out: not valid JSON")
    return raws


def _message(raw: Mapping[str, object], number: int, model: str, place: Place) -> ImportedMessage | None:
    """A message after the ``number`` before it."""
    role = _ROLES.get(text(raw.get("role")))
    if role is None:
        place.notes.add(*report.TOOL_RESULT)
        return None
    for _ in items(fields(raw.get("metadata")).get("tool_calls")):
        place.notes.add(*report.TOOL_CALL)
    words, attachments = _content(raw, place)
    if not words and not attachments and role is not Role.USER:
        return None
    parent = str(number - 1) if number else None
    author = model or None if role is Role.ASSISTANT else None
    created = seconds(raw.get("created_at")) or 0.0
    return ImportedMessage(str(number), parent, role, words, created, author, tuple(attachments))


def _content(raw: Mapping[str, object], place: Place) -> tuple[str, list[Attachment]]:
    words, attachments = [text(raw.get("content"))], []
    for part in map(fields, items(raw.get("content"))):
        said = text(fields(part.get("text")).get("value"))
        picture = from_data_url(text(fields(part.get("image_url")).get("url")), "picture")
        if picture:
            attachments.append(picture)
        elif said:
            words.append(said)
        elif part.get("type") in ("image_url", "image"):
            place.notes.add(*report.NO_PICTURE)
        elif part.get("type") != "text":
            place.notes.add("unknown block", "left out: nanolocal does not know it")
    for _ in items(raw.get("attachments")):
        place.notes.add(*report.NO_FILE)
    return "\n\n".join(filter(None, words)), attachments
