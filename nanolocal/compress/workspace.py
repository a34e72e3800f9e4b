"""Where a smaller build is made: a hidden folder among the models, so that half of one is never listed.

    models/.compressing/KEY/job.json        what was asked for, and the command that goes on with it
    models/.compressing/KEY/journal.jsonl   a line for each thing that was found out, on disk before the next begins
    models/.compressing/KEY/...             files on their way; the journal says which are whole

A kill loses what was being found out at that moment and nothing else. In the end one rename puts the build, with its
card, into its place.
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from nanolocal.errors import Damaged, UsageError
from nanolocal.library.jsonfiles import read_object, write_object
from nanolocal.library.pull.placing import sync_folder

UNFINISHED = ".compressing"
"""The folder among the models."""
_JOB, _JOURNAL = "job.json", "journal.jsonl"
_PLACED = "placed"
_MOST_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Job:
    """An unfinished run: its folder, the build it is about, and the command that goes on with it."""

    folder: Path
    build: str
    command: str


def key_of(facts: Mapping[str, object]) -> str:
    """The name of the folder of a run that is told by ``facts``: the same facts, the same run."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def unfinished(models: Path) -> list[Job]:
    """Every run that was begun and neither finished nor discarded."""
    found = []
    for folder in sorted((models / UNFINISHED).glob("*")):
        with suppress(Damaged, OSError):
            job = read_object(folder / _JOB)
            found.append(Job(folder, str(job.get("build", "")), str(job.get("command", ""))))
    return found


@contextmanager
def opened(models: Path, key: str, build: str, command: str) -> Iterator["Workspace"]:
    """The folder of a run, which no other process has while the block runs; raises ``UsageError`` where one does."""
    folder = models / UNFINISHED / key
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _hold(folder)
        try:
            write_object(folder / _JOB, {"build": build, "command": command}, durably=True)
            with Workspace(folder) as space:
                yield space
        finally:
            if lock is not None:
                os.close(lock)
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror}", f"check the disk; then {command}") from error


def discard(models: Path, folder: Path) -> None:
    """Remove the folder of a run that nobody is at; raises ``UsageError`` where somebody is."""
    lock = _hold(folder)
    try:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            (models / UNFINISHED).rmdir()
    finally:
        if lock is not None:
            os.close(lock)


class Workspace:
    """An open folder and what is known in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known = _read(folder / _JOURNAL)
        self._journal = (folder / _JOURNAL).open("ab")

    def __enter__(self) -> "Workspace":
        return self

    def __exit__(self, *_: object) -> None:
        self._journal.close()

    @property
    def answers(self) -> int:
        """How many things are known."""
        return len(self._known)

    def path(self, name: str) -> Path:
        """Where a file of that name is, or is going to be."""
        return self.folder / name

    def recall(self, key: str) -> object | None:
        """What was found out under ``key``, where its files are as they were then."""
        row = self._known.get(key)
        if row is None:
            return None
        files = row["files"]
        assert isinstance(files, dict)
        return row["answer"] if all(_size(self.path(name)) == size for name, size in files.items()) else None

    def remember(self, key: str, answer: object, files: tuple[str, ...] = ()) -> None:
        """Keep what was found out, on disk before this returns; ``files`` are the names of those that belong to it."""
        for name in files:
            _sync(self.path(name))
        row = {"key": key, "answer": answer, "files": {name: _size(self.path(name)) for name in files}}
        self._journal.write(json.dumps(row, separators=(",", ":")).encode() + b"\n")
        self._journal.flush()
        os.fsync(self._journal.fileno())
        self._known[key] = row


def place(models: Path, space: Workspace, room: Path, name: str) -> Path:
    """Move ``room``, a finished folder inside ``space``, to ``models/NAME`` in one step; returns where it lies.

    Before that the journal tells where it is going to be: see ``placed``.
    """
    for file in room.iterdir():
        _sync(file)
    sync_folder(room)
    for number in range(1, 100):
        folder = models / (name if number == 1 else f"{name}-{number}")
        if not folder.exists():
            space.remember(_PLACED, folder.name)
            room.rename(folder)
            sync_folder(models)
            return folder
    raise UsageError(f"there are 100 folders for {name}", "remove some: nanolocal models remove BUILD")


def placed(models: Path, space: Workspace) -> Path | None:
    """Where this run has put its folder already, if it was ended between that and its end."""
    known = space.recall(_PLACED)
    folder = models / known if isinstance(known, str) else None
    return folder if folder is not None and folder.is_dir() else None


def _read(path: Path) -> dict[str, dict[str, object]]:
    """The lines that make sense, the last one of each key; one that a kill tore is passed over, and ended."""
    try:
        content = path.read_bytes() if path.stat().st_size <= _MOST_BYTES else b""
    except FileNotFoundError:
        return {}
    known: dict[str, dict[str, object]] = {}
    for line in content.split(b"\n"):
        with suppress(ValueError, RecursionError):
            row = json.loads(line)
            if isinstance(row, dict) and isinstance(row.get("files"), dict) and "answer" in row:
                known[str(row.get("key"))] = row
    if content and not content.endswith(b"\n"):
        with path.open("ab") as file:
            file.write(b"\n")
    return known


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


if sys.platform == "win32":

    def _hold(folder: Path) -> int | None:
        """Folders cannot be locked here."""
        return None
else:
    import fcntl

    def _hold(folder: Path) -> int | None:
        descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise UsageError("another nanolocal is at this already", "wait for it, or stop it") from error
        return descriptor
