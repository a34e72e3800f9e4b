"""A conversation as a Markdown text to read: its newest branch, with a note where others exist."""

from collections.abc import Sequence
from datetime import datetime
from re import sub
from urllib.parse import quote

from nanolocal.chat.helping import shown
from nanolocal.chat.messages import Role
from nanolocal.chat.ports import StoredMessage
from nanolocal.safetext import safe, safe_line
from nanolocal.vault.imported import WholeChat

_NAMES = {Role.USER: "You", Role.ASSISTANT: "Assistant", Role.SYSTEM: "System"}
_LONGEST_NAME = 60


def file_stem(chat: WholeChat) -> str:
    """A name for the conversation's file: its day, the words of its title, and its id so that it is the only one."""
    return f"{_when(chat.created_at)[:10]} {safe_name(chat.title)} {chat.id[:12]}"


def safe_name(name: str) -> str:
    """``name`` as a part of a file name on every system: letters, digits, spaces and ``.-_``, never empty."""
    short = sub(r"[^\w. -]+", "_", safe_line(name)).strip(" ._")
    if len(short) > _LONGEST_NAME:
        short = short[: _LONGEST_NAME - 20] + short[-20:]
    while len(short.encode()) > 3 * _LONGEST_NAME:
        short = short[:-1]
    return short or "untitled"


def newest_branch(chat: WholeChat) -> list[StoredMessage]:
    """The messages from the first to the newest one."""
    known = {message.id: message for message in chat.messages}
    here = chat.messages[-1] if chat.messages else None
    branch = []
    while here is not None:
        branch.append(here)
        here = known.get(here.parent_id or "")
    return branch[::-1]


def attachment_names(message: StoredMessage) -> list[str]:
    """A file name for each of the message's attachments; no two of a conversation are alike."""
    names = []
    for number, item in enumerate(message.message.attachments, 1):
        names.append(f"{message.id[:12]}-{number} {safe_name(item.name)}")
    return names


def rendered(chat: WholeChat, folder: str) -> str:
    """The text; attachments are linked as files in ``folder``, a name beside it."""
    lines = [f"# {safe_line(chat.title)}", "", f"{_when(chat.created_at)}, conversation {chat.id}"]
    branches = _branches(chat)
    if branches > 1:
        lines += ["", f"*This is the newest of {branches} branches. An export as JSON holds them all.*"]
    if chat.system:
        lines += ["", "## System prompt", "", safe(chat.system)]
    for message in newest_branch(chat):
        lines += ["", f"## {_heading(message)}", "", *_linked(message, folder)]
        if message.message.text:
            lines.append(safe(message.message.text))
        for source in message.sources:
            lines += ["", f"*{safe_line(shown(source))}*"]
    return "\n".join(lines) + "\n"


def _heading(message: StoredMessage) -> str:
    name = _NAMES[message.message.role]
    told = [_when(message.created_at)]
    if message.build_id:
        told.insert(0, safe_line(message.build_id))
    if len(message.siblings) > 1:
        told.append(f"version {message.siblings.index(message.id) + 1} of {len(message.siblings)}")
    return f"{name} ({', '.join(told)})"


def _linked(message: StoredMessage, folder: str) -> Sequence[str]:
    links = []
    for item, file in zip(message.message.attachments, attachment_names(message), strict=True):
        label = sub(r"([\[\]\\])", r"\\\1", safe_line(item.name))
        if item.name in message.damaged:
            links += [f"{label} (damaged in the vault)", ""]
            continue
        mark = "!" if item.media_type.startswith("image/") else ""
        links += [f"{mark}[{label}]({quote(f'{folder}/{file}')})", ""]
    return links


def _branches(chat: WholeChat) -> int:
    parents = {message.parent_id for message in chat.messages}
    return sum(message.id not in parents for message in chat.messages)


def _when(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp).astimezone().strftime("%Y-%m-%d %H:%M")
