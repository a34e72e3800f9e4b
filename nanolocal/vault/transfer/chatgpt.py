"""ChatGPT's export: ``conversations.json``, a tree of nodes per conversation, with its pictures beside it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from nanolocal.chat.messages import Attachment, Role
from nanolocal.vault.imported import ImportedChat, ImportedMessage
from nanolocal.vault.transfer import report
from nanolocal.vault.transfer.container import Place
from nanolocal.vault.transfer.media import is_picture
from nanolocal.vault.transfer.tree import conversation, grown
from nanolocal.vault.transfer.values import fields, first_text, items, seconds, text

NAME = "ChatGPT"
_FILE_ID = re.compile(r"file[-_][A-Za-z0-9]{6,}")
_TOOL_RESULTS = ("tether_quote", "tether_browsing_display", "sonic_webpage", "system_error")
_THOUGHTS = ("thoughts", "reasoning_recap")
_ABOUT = ("content_type", "language", "parts", "response_format_name")
"""The fields of a content that say nothing by themselves."""
_TO_THE_USER = ("", "all", "python")
"""Recipients of an answer; what goes to Python is shown as code, calls of other tools are not shown."""


def knows(item: Mapping[str, object]) -> bool:
    """Whether this is one conversation of such an export."""
    return isinstance(item.get("mapping"), dict)


def parse(item: Mapping[str, object], place: Place) -> ImportedChat | None:
    """The conversation with every branch; custom instructions become its system prompt."""
    reader = _Reader(item, place)
    mapping = fields(item.get("mapping"))
    parents = _parents(mapping)
    messages, skipped = [], {}
    for name in _by_time(mapping):
        message = reader.message(name, parents.get(name), fields(fields(mapping[name]).get("message")))
        if message is None:
            skipped[name] = parents.get(name)
        else:
            messages.append(message)
    times = (reader.created or None, seconds(item.get("update_time")))
    return conversation(
        ("chatgpt", first_text(item.get("conversation_id"), item.get("id"))),
        text(item.get("title")),
        times,
        "\n\n".join(dict.fromkeys(reader.instructions)),
        grown(messages, place.notes, text(item.get("current_node")) or None, skipped, joins=True),
        place.notes,
    )


@dataclass(slots=True)
class _Reader:
    item: Mapping[str, object]
    place: Place
    instructions: list[str] = field(default_factory=list)

    @property
    def created(self) -> float:
        return seconds(self.item.get("create_time")) or 0.0

    def message(self, name: str, parent: str | None, raw: Mapping[str, object]) -> ImportedMessage | None:
        """What a node says; ``None``, with a note where something is lost, when it is no part of the talk."""
        role = text(fields(raw.get("author")).get("role"))
        content, details = fields(raw.get("content")), fields(raw.get("metadata"))
        if not raw or self._is_instruction(role, content, details):
            return None
        words = _words(content)
        if not words and not _holds_more(content) and not items(details.get("attachments")):
            return None
        dropped = _dropped(role, raw, content, details)
        if dropped:
            self.place.notes.add(*dropped)
            return None
        attachments = tuple(self._attachments(content, details))
        if not words and not attachments and role != "user":
            self.place.notes.add("message", "left out: nothing of it can be kept")
            return None
        return ImportedMessage(
            name,
            parent,
            Role.USER if role == "user" else Role.ASSISTANT,
            words,
            seconds(raw.get("create_time")) or self.created,
            None
            if role == "user"
            else first_text(details.get("model_slug"), self.item.get("default_model_slug")) or None,
            attachments,
        )

    def _is_instruction(self, role: str, content: Mapping[str, object], details: Mapping[str, object]) -> bool:
        """Whether this was said to the model before the talk; kept as the system prompt."""
        is_context = text(content.get("content_type")) == "user_editable_context"
        if not is_context and role != "system":
            return False
        about = fields(details.get("user_context_message_data"))
        said = [content.get("user_profile"), content.get("user_instructions")]
        if not any(map(text, said)):
            said = [about.get("about_user_message"), about.get("about_model_message")]
        is_hidden = details.get("is_visually_hidden_from_conversation") is True
        if role == "system" and not is_hidden:
            said.append(_words(content))
        self.instructions += [text(words) for words in said if text(words)]
        return is_context or any(map(text, said))

    def _attachments(self, content: Mapping[str, object], details: Mapping[str, object]) -> Iterator[Attachment]:
        """Pictures in the text and files that came with it, each once."""
        names = {}
        for each in map(fields, items(details.get("attachments"))):
            names[text(each.get("id"))] = text(each.get("name"))
        pointers = []
        for part in map(fields, items(content.get("parts"))):
            kind = text(part.get("content_type"))
            if "audio" in kind or "video" in kind:
                if kind != "audio_transcription":
                    self.place.notes.add(*report.RECORDING)
            elif part and not text(part.get("text")):
                pointers.append(text(part.get("asset_pointer")))
        found = [_file_id(pointer) for pointer in pointers]
        for file_id in dict.fromkeys([*found, *names]):
            absent = report.NO_PICTURE if file_id in found or is_picture(names.get(file_id, "")) else report.NO_FILE
            name = names.get(file_id, "")
            attached = self.place.attached(file_id, absent, name)
            if attached is not None:
                yield attached


def _dropped(
    role: str, raw: Mapping[str, object], content: Mapping[str, object], details: Mapping[str, object]
) -> tuple[str, str] | None:
    """Why a message is left out, or ``None``."""
    kind, recipient = text(content.get("content_type")), text(raw.get("recipient"))
    is_hidden = details.get("is_visually_hidden_from_conversation") is True or raw.get("weight") == 0
    reasons = (
        (kind in _THOUGHTS, report.THOUGHT),
        (kind in _TOOL_RESULTS, report.TOOL_RESULT),
        (role == "system" or is_hidden, report.HIDDEN),
        (role == "tool" and kind not in ("execution_output", "multimodal_text"), report.TOOL_RESULT),
        (role == "assistant" and recipient not in _TO_THE_USER, report.TOOL_CALL),
        (role not in ("user", "assistant", "tool"), ("message", "left out: said by nobody nanolocal knows")),
    )
    return next((reason for applies, reason in reasons if applies), None)


def _holds_more(content: Mapping[str, object]) -> bool:
    """Whether there is something beside text: pictures, thoughts, or what nanolocal does not know."""
    parts = any(isinstance(part, dict) for part in items(content.get("parts")))
    return parts or any(value for key, value in content.items() if key not in _ABOUT)


def _words(content: Mapping[str, object]) -> str:
    """The text of a message; code and its output as fenced blocks."""
    kind, plain = text(content.get("content_type")), text(content.get("text"))
    if plain and kind in ("code", "execution_output"):
        language = text(content.get("language")) if kind == "code" else ""
        fence = "```" if "```" not in plain else "~~~~"
        return f"{fence}{language if language.isalnum() and language != 'unknown' else ''}\n{plain}\n{fence}"
    parts = [text(part) or text(fields(part).get("text")) for part in items(content.get("parts"))]
    return "\n".join(filter(None, parts)) or plain


def _parents(mapping: Mapping[str, object]) -> dict[str, str | None]:
    """Who follows whom, from the nodes' parents, else from their children."""
    parents: dict[str, str | None] = {}
    for name, node in mapping.items():
        for child in items(fields(node).get("children")):
            if isinstance(child, str):
                parents.setdefault(child, name)
    for name, node in mapping.items():
        parents[name] = text(fields(node).get("parent")) or parents.get(name)
    return parents


def _by_time(mapping: Mapping[str, object]) -> list[str]:
    """The nodes by the time of their messages; one without a time stays before its successor in the file."""
    times: dict[str, float] = {}
    latest = 0.0
    for name, node in mapping.items():
        latest = seconds(fields(fields(node).get("message")).get("create_time")) or latest
        times[name] = latest
    return sorted(mapping, key=times.__getitem__)


def _file_id(pointer: str) -> str:
    """The id in an address such as ``file-service://file-Abc123`` or ``sediment://file_0a1b?x=y``."""
    found = _FILE_ID.match(pointer.rpartition("/")[2])
    return found[0] if found else ""
