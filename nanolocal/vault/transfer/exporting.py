"""Writes conversations out of the vault, unencrypted: as one JSON file or as Markdown files in a folder."""

import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Protocol

from nanolocal import __version__
from nanolocal.chat.drawing import CONTROL, MASK
from nanolocal.chat.ports import StoredMessage
from nanolocal.errors import UsageError
from nanolocal.paths import make_private
from nanolocal.vault.files import replacing, write_durably
from nanolocal.vault.imported import WholeChat
from nanolocal.vault.transfer import markdown, own, picturefiles


class Source(Protocol):
    """What holds conversations: ``vault.conversations.Conversations``."""

    def whole(self, chat_id: str) -> WholeChat:
        """A conversation with every branch."""
        ...


@dataclass(slots=True)
class Written:
    """What an export wrote. ``damaged`` attachments could not be read from the vault and are missing."""

    files: list[str] = field(default_factory=list)
    chats: int = 0
    messages: int = 0
    attachments: int = 0
    damaged: int = 0

    def count(self, chat: WholeChat) -> None:
        """Add a conversation."""
        self.chats += 1
        self.messages += len(chat.messages)
        self.attachments += sum(len(message.message.attachments) for message in chat.messages)
        self.damaged += sum(len(message.damaged) for message in chat.messages)


def write_json(
    source: Source, chat_ids: Sequence[str], path: Path, progress: Callable[[str], None], *, force: bool = False
) -> Written:
    """Every branch of the conversations in one file that ``chats import`` reads; see ``docs/CHATS.md``.

    Raises ``UsageError`` when the file exists (unless ``force``) or cannot be written; then nothing was.
    """
    told = Written([str(path)])
    head = {"format": own.FORMAT, "version": own.VERSION, "program": f"nanolocal {__version__}"}
    _check_free(path, force)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with _blaming(path), replacing(path, temporary) as file:
        file.write(json.dumps(head).encode()[:-1] + b', "chats": [')
        for number, chat_id in enumerate(chat_ids):
            chat = source.whole(chat_id)
            text = json.dumps(own.written(chat), ensure_ascii=False)
            file.write((b",\n" if number else b"\n") + text.encode())
            told.count(chat)
            progress(f"{told.chats:,} of {len(chat_ids):,} conversations")
        file.write(b"\n]}\n")
    return told


def write_markdown(
    source: Source, chat_ids: Sequence[str], folder: Path, progress: Callable[[str], None], *, force: bool = False
) -> Written:
    """The newest branch of each conversation in a file of its own, attachments in a folder beside it.

    Pictures are PNG files of pixels alone; one that cannot be made one counts as damaged.
    Raises ``UsageError`` when a file exists (unless ``force``) or cannot be written.
    """
    told = Written()
    make_private(folder)
    for chat_id in chat_ids:
        chat = source.whole(chat_id)
        chat = replace(chat, messages=tuple(map(_without_traces, chat.messages)))
        branch = markdown.newest_branch(chat)
        stem = markdown.file_stem(chat)
        target, beside = folder / f"{stem}.md", folder / f"{stem} files"
        files = {
            beside / name: item.data
            for message in branch
            for name, item in zip(markdown.attachment_names(message), message.message.attachments, strict=True)
            if item.name not in message.damaged
        }
        if beside.is_symlink():
            raise UsageError(f"{beside} is a link to somewhere else", "remove it, or export to another folder")
        if files:
            make_private(beside)
        for path, data in {**files, target: markdown.rendered(chat, beside.name).encode()}.items():
            _write(path, data, force)
            told.files.append(str(path))
        told.count(replace(chat, messages=tuple(branch)))
        progress(f"{told.chats:,} of {len(chat_ids):,} conversations")
    return told


def _without_traces(stored: StoredMessage) -> StoredMessage:
    """The message with each picture as it leaves the vault: neither place nor camera, and no prompt in it."""
    items, damaged = [], list(stored.damaged)
    for item in stored.message.attachments:
        is_picture = item.media_type.startswith("image/") or item.media_type in (MASK, CONTROL)
        if not is_picture or item.name in damaged:
            items.append(item)
            continue
        try:
            bare = picturefiles.leaving(item)
        except UsageError:
            damaged.append(item.name)
            items.append(item)
            continue
        items.append(replace(item, name=f"{PurePath(item.name).stem}.png", data=bare))
    return replace(stored, message=replace(stored.message, attachments=tuple(items)), damaged=tuple(damaged))


def _write(path: Path, data: bytes, force: bool) -> None:
    _check_free(path, force)
    with _blaming(path):
        write_durably(path, data)


def _check_free(path: Path, force: bool) -> None:
    if path.is_dir():
        raise UsageError(f"{path} is a folder", "name a file")
    if not force and (path.exists() or path.is_symlink()):
        raise UsageError(f"{path} exists", "name another place, or add --force to overwrite")


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    """Say which file the system would not write."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", "choose another place with --out") from error
