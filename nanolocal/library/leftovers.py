"""Downloads that were begun and not finished: hidden part files and folders below nanolocal's own folder."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Leftover:
    """A hidden file or folder and the bytes of disk that it takes; a part file may be sparse."""

    path: Path
    size_bytes: int


def leftovers(models: Path) -> list[Leftover]:
    """Every hidden ``.part`` file below ``models``, and what lies in hidden folders; links are not followed."""
    return sorted(_below(models), key=lambda found: found.path)


def _below(folder: Path) -> Iterator[Leftover]:
    for entry in _entries(folder):
        path = Path(entry.path)
        is_hidden = entry.name.startswith(".")
        if entry.is_dir(follow_symlinks=False):
            if is_hidden:
                yield from (Leftover(Path(one.path), _size_below(one)) for one in _entries(path))
            else:
                yield from _below(path)
        elif is_hidden and entry.name.endswith(".part"):
            yield Leftover(path, _size(entry))


def _size_below(entry: "os.DirEntry[str]") -> int:
    if entry.is_dir(follow_symlinks=False):
        return sum(_size_below(one) for one in _entries(Path(entry.path)))
    return _size(entry)


def _entries(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _size(entry: "os.DirEntry[str]") -> int:
    try:
        found = entry.stat(follow_symlinks=False)
    except OSError:
        return 0
    return getattr(found, "st_blocks", 0) * 512 or found.st_size
