"""LM Studio's ``*.conversation.json``: a row of messages, each in the versions that were tried."""

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from nanolocal.chat.messages import Role
from nanolocal.vault.imported import ImportedChat, ImportedMessage
from nanolocal.vault.transfer import report
from nanolocal.vault.transfer.container import Place
from nanolocal.vault.transfer.tree import conversation, grown
from nanolocal.vault.transfer.values import fields, first_text, items, seconds, text

NAME = "LM Studio"
_ROLES = {role.value: role for role in Role}
_SYSTEM_PROMPT = "llm.prediction.systemPrompt"


def knows(item: Mapping[str, object]) -> bool:
    """Whether this is such a file."""
    messages = items(item.get("messages"))
    return any("versions" in fields(message) for message in messages) or (
        isinstance(item.get("messages"), list) and {"name", "createdAt"} <= item.keys()
    )


def parse(item: Mapping[str, object], place: Place) -> ImportedChat | None:
    """The conversation; versions become branches, and what follows belongs to the version that was selected."""
    created = seconds(item.get("createdAt"))
    messages: list[ImportedMessage] = []
    skipped: dict[str, str | None] = {}
    before: str | None = None
    for number, raw in enumerate(map(fields, items(item.get("messages")))):
        versions = [fields(version) for version in items(raw.get("versions"))] or [raw]
        for place_in_row, version in enumerate(versions):
            name = f"{number}.{place_in_row}"
            message = _message(name, before, version, item, place)
            if message is None:
                skipped[name] = before
            else:
                messages.append(message)
        before = f"{number}.{_selected(raw, len(versions))}"
    changed = max(filter(None, (seconds(item.get(key)) for key in _CHANGES)), default=None)
    stem = PurePosixPath(place.name).name.removesuffix(".json").removesuffix(".conversation")
    return conversation(
        ("lm-studio", f"{created * 1000:.0f}-{stem}" if created else ""),
        text(item.get("name")),
        (created, changed),
        _system(item),
        grown(messages, place.notes, before, skipped),
        place.notes,
    )


_CHANGES = ("userLastMessagedAt", "assistantLastMessagedAt")


def _selected(raw: Mapping[str, object], count: int) -> int:
    selected = raw.get("currentlySelected")
    return selected if type(selected) is int and 0 <= selected < count else count - 1


def _message(
    name: str, parent: str | None, version: Mapping[str, object], item: Mapping[str, object], place: Place
) -> ImportedMessage | None:
    role = _ROLES.get(text(version.get("role")))
    if role is None:
        place.notes.add("message", "left out: said by nobody nanolocal knows")
        return None
    steps = [fields(step) for step in items(version.get("steps"))]
    content = version.get("content")
    words = [content] if isinstance(content, str) else list(_words(items(content), place))
    for step in steps:
        words += _step(step, place)
    said = "\n\n".join(filter(None, words))
    if not said and role is not Role.USER:
        return None
    author = _author(version, steps, item) or None if role is Role.ASSISTANT else None
    stamps = (seconds(_number(text(step.get("stepIdentifier")).partition("-")[0])) for step in steps)
    created = next(filter(None, stamps), None) or seconds(item.get("createdAt")) or 0.0
    return ImportedMessage(name, parent, role, said, created, author)


def _step(step: Mapping[str, object], place: Place) -> list[str]:
    if text(fields(step.get("style")).get("type")) == "thinking":
        place.notes.add(*report.THOUGHT)
        return []
    if text(step.get("type")) not in ("", "contentBlock"):
        is_tool = "tool" in text(step.get("type")).lower()
        place.notes.add(*(report.TOOL_CALL if is_tool else ("debug remark", "left out: no part of the talk")))
        return []
    return list(_words(items(step.get("content")), place))


def _words(blocks: list[object], place: Place) -> Iterator[str]:
    for block in map(fields, blocks):
        kind = text(block.get("type"))
        if kind == "text":
            yield text(block.get("text"))
        elif kind == "file":
            place.notes.add(*(report.NO_PICTURE if text(block.get("fileType")) == "image" else report.NO_FILE))
        elif "tool" in kind.lower():
            place.notes.add(*(report.TOOL_RESULT if "Result" in kind else report.TOOL_CALL))
        else:
            place.notes.add("unknown block", "left out: nanolocal does not know it")


def _author(version: Mapping[str, object], steps: list[Mapping[str, object]], item: Mapping[str, object]) -> str:
    made = [fields(step.get("genInfo")) for step in steps]
    return first_text(
        *(info.get(key) for info in made for key in ("indexedModelIdentifier", "identifier")),
        fields(version.get("senderInfo")).get("senderName"),
        fields(item.get("lastUsedModel")).get("identifier"),
    )


def _system(item: Mapping[str, object]) -> str:
    settings = items(fields(item.get("perChatPredictionConfig")).get("fields"))
    chosen = (fields(each).get("value") for each in settings if fields(each).get("key") == _SYSTEM_PROMPT)
    return first_text(item.get("systemPrompt"), *chosen)


def _number(digits: str) -> int | None:
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 20 else None
