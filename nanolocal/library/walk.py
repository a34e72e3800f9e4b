"""Walking folders within bounds: symlinks are followed, but no folder is entered twice."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nanolocal.library.found import Problem

MAX_DEPTH = 8
MAX_FILES = 200_000
_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages", "$RECYCLE.BIN", "lost+found"})


@dataclass(slots=True)
class Folder:
    """One folder: the names of its regular files, and of the folders below, which the visitor may clear."""

    path: Path
    files: list[str]
    subfolders: list[str]


@dataclass(slots=True)
class Walk:
    """A walk below ``root``; what could not be read is in ``problems`` when it ends."""

    root: Path
    tell: Callable[[str], None] = lambda text: None
    max_depth: int = MAX_DEPTH
    max_files: int = MAX_FILES
    problems: list[Problem] = field(default_factory=list)
    _entered: set[tuple[int, int]] = field(default_factory=set)
    _seen: int = 0
    _is_cut: bool = False

    def folders(self) -> Iterator[Folder]:
        """Every folder, the ones above first, in the order of their names; hidden ones below the root are left out."""
        waiting = [(self.root, 0)]
        while waiting:
            path, depth = waiting.pop()
            folder = self._read(path)
            if folder is None:
                continue
            self._seen += len(folder.files) + len(folder.subfolders)
            if self._seen > self.max_files:
                self.problems.append(Problem(path, f"stopped after {self.max_files:,} files: give a smaller folder"))
                return
            self.tell(str(path))
            yield folder
            if depth < self.max_depth:
                waiting += [(path / name, depth + 1) for name in sorted(folder.subfolders, reverse=True)]
            elif folder.subfolders and not self._is_cut:
                self._is_cut = True
                self.problems.append(Problem(path, f"folders more than {self.max_depth} levels down are not searched"))

    def _read(self, path: Path) -> Folder | None:
        """One folder, or nothing where it was entered before, cannot be read, or holds more than may be looked at."""
        files: list[str] = []
        subfolders: list[str] = []
        try:
            stat = os.stat(path)  # noqa: PTH116 (half the time of Path.stat)
            if (stat.st_dev, stat.st_ino) in self._entered:
                return None
            self._entered.add((stat.st_dev, stat.st_ino))
            with os.scandir(path) as entries:
                for entry in entries:
                    if _is_folder(entry):
                        if not entry.name.startswith(".") and entry.name not in _SKIPPED:
                            subfolders.append(entry.name)
                    elif _is_file(entry):
                        files.append(entry.name)
                    if len(files) + len(subfolders) > self.max_files:
                        break
        except OSError as error:
            self.problems.append(Problem(path, f"cannot be read: {error.strerror}"))
            return None
        return Folder(path, sorted(files), subfolders)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a symlink that leads to itself
        return False


def _is_file(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False
