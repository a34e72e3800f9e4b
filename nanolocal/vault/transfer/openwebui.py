"""Open WebUI's export and the rows of its database: a tree of messages under ``chat.history``."""

from collections.abc import Iterator, Mapping

from nanolocal.chat.messages import Attachment, Role
from nanolocal.vault.imported import ImportedChat, ImportedMessage
from nanolocal.vault.transfer import report
from nanolocal.vault.transfer.container import Place
from nanolocal.vault.transfer.media import attachment, from_data_url
from nanolocal.vault.transfer.tree import conversation, grown
from nanolocal.vault.transfer.values import fields, first_text, items, seconds, text

NAME = "Open WebUI"
_ROLES = {role.value: role for role in Role}
_BESIDE = {
    "sources": ("source list", "left out: nanolocal keeps none"),
    "error": ("error", "left out: no part of the talk"),
    "annotation": ("rating", "left out: it is of another program"),
}
_DETAILS, _DETAILS_END = "<details type=", "</details>"


def knows(item: Mapping[str, object]) -> bool:
    """Whether this is one conversation of such an export."""
    chat = fields(item.get("chat")) or item
    return isinstance(fields(chat.get("history")).get("messages"), dict) or (
        "chat" in item and isinstance(chat.get("messages"), list)
    )


def parse(item: Mapping[str, object], place: Place) -> ImportedChat | None:
    """The conversation with every branch."""
    chat = fields(item.get("chat")) or item
    history = fields(chat.get("history"))
    raws = [fields(raw) for raw in fields(history.get("messages")).values()] or _chained(chat)
    raws.sort(key=lambda raw: seconds(raw.get("timestamp")) or 0.0)
    created = seconds(item.get("created_at")) or seconds(chat.get("timestamp"))
    messages, skipped = [], {}
    for number, raw in enumerate(raws):
        name, parent = text(raw.get("id")) or f"message {number}", text(raw.get("parentId")) or None
        message = _message(name, parent, raw, created or 0.0, place)
        if message is None:
            skipped[name] = parent
        else:
            messages.append(message)
    return conversation(
        ("open-webui", first_text(item.get("id"), chat.get("id"))),
        first_text(item.get("title"), chat.get("title")),
        (created, seconds(item.get("updated_at"))),
        first_text(fields(chat.get("params")).get("system"), chat.get("system")),
        grown(messages, place.notes, text(history.get("currentId")) or None, skipped),
        place.notes,
    )


def _chained(chat: Mapping[str, object]) -> list[Mapping[str, object]]:
    """The messages of an export without a tree, each after the one before it."""
    raws: list[Mapping[str, object]] = []
    for number, raw in enumerate(map(fields, items(chat.get("messages")))):
        before = raws[-1]["id"] if raws else None
        raws.append({"id": f"message {number}", "parentId": before, **raw})
    return raws


def _message(
    name: str, parent: str | None, raw: Mapping[str, object], created: float, place: Place
) -> ImportedMessage | None:
    role = _ROLES.get(text(raw.get("role")))
    if role is None:
        place.notes.add(*report.TOOL_RESULT)
        return None
    for kind, note in _BESIDE.items():
        if raw.get(kind):
            place.notes.add(*note)
    words, pictures = _content(raw.get("content"), place)
    attachments = (*pictures, *_files(raw, place))
    if not words and not attachments and role is not Role.USER:
        return None
    author = first_text(raw.get("model"), raw.get("modelName")) or None if role is Role.ASSISTANT else None
    return ImportedMessage(
        name, parent, role, words, seconds(raw.get("timestamp")) or created, author, tuple(attachments)
    )


def _content(value: object, place: Place) -> tuple[str, list[Attachment]]:
    """Text and pictures of a message, whether plain or in parts."""
    if isinstance(value, str):
        return _without_details(value, place), []
    words, pictures = [], []
    for part in map(fields, items(value)):
        url = text(fields(part.get("image_url")).get("url"))
        picture = from_data_url(url, "picture")
        if picture:
            pictures.append(picture)
        elif text(part.get("text")):
            words.append(_without_details(text(part.get("text")), place))
        else:
            place.notes.add(*report.NO_PICTURE)
    return "\n".join(words), pictures


def _without_details(words: str, place: Place) -> str:
    """The text without the folded parts in which Open WebUI shows thoughts and calls of tools."""
    kept, here = [], 0
    while (start := words.find(_DETAILS, here)) >= 0 and (end := words.find(_DETAILS_END, start)) >= 0:
        is_thought = words.startswith('"reasoning"', start + len(_DETAILS))
        place.notes.add(*(report.THOUGHT if is_thought else report.TOOL_CALL))
        kept.append(words[here:start])
        here = end + len(_DETAILS_END)
    if not kept:
        return words
    return "".join([*kept, words[here:]]).strip()


def _files(raw: Mapping[str, object], place: Place) -> Iterator[Attachment]:
    for each in map(fields, items(raw.get("files"))):
        is_image = text(each.get("type")) == "image"
        name = first_text(each.get("name"), fields(each.get("file")).get("filename"), "picture" if is_image else "file")
        found = from_data_url(text(each.get("url")), name)
        written = text(fields(fields(each.get("file")).get("data")).get("content"))
        if found is None and written:
            found = attachment(
                name if name.endswith((".txt", ".md")) else f"{name}.txt", written.encode("utf-8", "replace")
            )
        if found is not None:
            yield found
        else:
            place.notes.add(*(report.NO_PICTURE if is_image else report.NO_FILE))
