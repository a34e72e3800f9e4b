"""Where exports lie: folders and zip archives, read member by member into memory, never unpacked to disk."""

import lzma
import struct
import zipfile
import zlib
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

from nanolocal.chat.amounts import format_bytes
from nanolocal.chat.messages import Attachment
from nanolocal.errors import UsageError
from nanolocal.vault.transfer.media import attachment
from nanolocal.vault.transfer.report import Notes

MOST_JSON_BYTES = 1 << 30
MOST_FILE_BYTES = 64 << 20
MOST_UNPACKED_BYTES = 8 << 30
"""Of one archive, all reads together: what a small archive that unpacks to endless data is stopped by."""

_BROKEN = (
    OSError, ValueError, RuntimeError, EOFError, OverflowError,
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error,
)  # fmt: skip


class Files(Protocol):
    """Named files; names are paths with slashes."""

    def names(self) -> Sequence[str]:
        """All of them."""
        ...

    def read(self, name: str, most: int) -> bytes:
        """One of them; raises ``UsageError`` when it is larger than ``most`` bytes or cannot be read."""
        ...


class Archive:
    """The members of a zip file. Raises ``UsageError`` when it is none."""

    def __init__(self, path: Path) -> None:
        self._left = MOST_UNPACKED_BYTES
        try:
            self._zip = zipfile.ZipFile(path)
        except _BROKEN as error:
            raise UsageError(f"{path.name} is not a whole zip archive: {error}", "download it once more") from error
        self._members = {info.filename: info for info in self._zip.infolist() if not info.is_dir()}

    def names(self) -> Sequence[str]:
        """The members' names as the archive spells them; they are never used as paths on this machine."""
        return tuple(self._members)

    def read(self, name: str, most: int) -> bytes:
        """A member's bytes, whatever size it claims to have."""
        most = min(most, self._left)
        try:
            with self._zip.open(self._members[name]) as member:
                data = member.read(most + 1)
        except _BROKEN as error:
            raise UsageError(f"{name} in the archive cannot be read: {error}", "download it once more") from error
        if len(data) > most:
            raise _too_large(name, most)
        self._left -= len(data)
        return data


class Folder:
    """The files below a directory, or with ``depth`` only those so many levels down."""

    def __init__(self, root: Path, depth: int | None = None) -> None:
        self._root = root
        self._depth = depth
        self._names: tuple[str, ...] | None = None

    def names(self) -> Sequence[str]:
        """Their names below the directory, sorted."""
        if self._names is None:
            patterns = (
                ["**/*"] if self._depth is None else ["/".join(["*"] * level) for level in range(1, self._depth + 1)]
            )
            found = (path for pattern in patterns for path in self._root.glob(pattern))
            self._names = tuple(sorted(path.relative_to(self._root).as_posix() for path in found if path.is_file()))
        return self._names

    def read(self, name: str, most: int) -> bytes:
        """A file's bytes."""
        try:
            with (self._root / name).open("rb") as file:
                data = file.read(most + 1)
        except OSError as error:
            raise UsageError(f"cannot read {name}: {error.strerror}", "check that you may read it") from error
        if len(data) > most:
            raise _too_large(name, most)
        return data


@dataclass(slots=True)
class Place:
    """Where a document lies: its name, and the files that came with it."""

    files: Files
    name: str
    notes: Notes
    used: set[str] = field(default_factory=set)
    _index: list[tuple[str, str]] = field(default_factory=list)

    def beside(self, name: str) -> str:
        """The name of a file in the same folder."""
        return (PurePosixPath(self.name).parent / name).as_posix()

    def attached(self, start: str, absent: tuple[str, str], name: str = "") -> Attachment | None:
        """The file whose last part of the name begins with ``start``, as ``name``; a note when there is none."""
        if not self._index:
            self._index = sorted((PurePosixPath(each).name, each) for each in self.files.names())
        here = bisect_left(self._index, (start, ""))
        if not start or here == len(self._index) or not self._index[here][0].startswith(start):
            self.notes.add(*absent)
            return None
        found = self._index[here][1]
        self.used.add(found)
        try:
            return attachment(name or found, self.files.read(found, MOST_FILE_BYTES))
        except UsageError:
            self.notes.add(absent[0], "left out: too large or damaged")
            return None


def _too_large(name: str, most: int) -> UsageError:
    return UsageError(f"{name} is too large: more than {format_bytes(most)}", "leave it out")
