"""What a Dask worker does for the lab: keep the files it was sent, each under its SHA-256, and perform tasks with them.

These functions travel by name: a worker runs them from its own nanolocal, which has to be the same as ours. Only
``cluster`` sends for them.
"""

from __future__ import annotations

import hashlib
import os
import platform
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from nanolocal.compress.work.tasks import Probe
from nanolocal.errors import Damaged, EngineFailed
from nanolocal.paths import Paths, make_private

if TYPE_CHECKING:
    from nanolocal.compress.work.doing import Keeper

T = TypeVar("T")

_ALONE = threading.Lock()
"""One task at a time, whatever Dask gives a worker: llama.cpp has threads of its own."""

PLACE = "nanolocal-file:"
"""How a path begins that stands for a file in the cache of whoever reads it: its key and its name follow."""
_STALE_S = 86_400


@dataclass(frozen=True, slots=True)
class Greeting:
    """Who a worker is: the ``host`` and folder of its cache, and the ``code`` and llama.cpp that it would run."""

    host: str
    cache: str
    code: str
    llama: str


@dataclass(frozen=True, slots=True)
class Cached:
    """A file of a parcel: where it lies below the cache, what it must be, and its bytes."""

    key: str
    name: str
    sha256: str
    size: int

    @property
    def place(self) -> str:
        """What stands for it in a task that travels."""
        return f"{PLACE}{self.key}/{self.name}"


def greet() -> Greeting:
    """Who answers; no folder is made yet."""
    return Greeting(platform.node(), str(_root()), own_code(), version("llama-cpp-python"))


@cache
def own_code() -> str:
    """A hash over the lab's own modules: two machines make the same plan when they run the same ones."""
    folder = Path(__file__).parents[1]
    found = hashlib.sha256()
    for module in sorted(folder.rglob("*.py")):
        found.update(module.relative_to(folder).as_posix().encode() + b"\0" + module.read_bytes())
    return found.hexdigest()


def lacks(wanted: tuple[Cached, ...]) -> tuple[Cached, ...]:
    """Which of these files are not here whole and unchanged. It reads every one of them once in this process."""
    return tuple(file for file in wanted if not _is_whole(file))


def receive(file: Cached, token: str, offset: int, data: bytes) -> None:
    """Take one piece of a file; ``token`` is the sender's, so that two never write into one file.

    Raises ``EngineFailed`` where it cannot be stored, or does not follow what is there.
    """
    part = _part(file, token)
    try:
        make_private(_root())
        make_private(part.parent)
        if offset == 0:
            _sweep(part.parent)
        with os.fdopen(os.open(part, os.O_CREAT | os.O_RDWR, 0o600), "r+b") as stream:
            if stream.seek(0, os.SEEK_END) < offset:
                raise EngineFailed(f"{platform.node()} lost a piece of {file.name}", "start again")
            stream.truncate(offset)
            stream.seek(offset)
            stream.write(data)
    except OSError as error:
        raise EngineFailed(f"{platform.node()} cannot store {file.name}: {error.strerror}") from error


def keep(file: Cached, token: str) -> None:
    """All of a file has come: give it its name if it is what it should be, else ``Damaged``."""
    part = _part(file, token)
    if digest(part) != file.sha256:
        part.unlink(missing_ok=True)
        raise Damaged(f"{file.name} did not arrive at {platform.node()} as it was sent", "start again")
    part.replace(_path(file.key, file.name))


def perform_here(task: Probe, wanted: tuple[Cached, ...], threads: int) -> float:
    """Do a task whose files are here, with so many threads; the model stays loaded for the next one.

    Raises ``Damaged`` where a file is not here, and what the task raises.
    """
    if missing := lacks(wanted):
        raise Damaged(f"{platform.node()} no longer has {missing[0].name}", "start again")
    places = {file.place: str(_path(file.key, file.name)) for file in wanted}
    with _ALONE:
        result = _keeper().do(relocated(task, places), lambda fraction: None, threads)
    assert isinstance(result, float)
    return result


@cache
def _keeper() -> Keeper:
    """What this process keeps loaded; made when the first task comes."""
    from nanolocal.compress.work.doing import Keeper

    return Keeper()


def relocated(value: T, places: Mapping[str, str]) -> T:
    """A copy of a dataclass in which every text that is a key of ``places`` is what that says, however deep."""
    if isinstance(value, str):
        return places.get(value, value)  # type: ignore[return-value]
    if not is_dataclass(value) or isinstance(value, type):
        return value
    return replace(value, **{field.name: relocated(getattr(value, field.name), places) for field in fields(value)})


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _root() -> Path:
    return Paths.choose().cache / "cluster"


def _path(key: str, name: str) -> Path:
    """Where a file lies; both parts are plain names, whatever somebody sent."""
    if {Path(key).name, Path(name).name} != {key, name} or {key, name} & {"", ".", ".."}:
        raise EngineFailed(f"{name[:80]!r} is no name of a file")
    return _root() / key / name


def _part(file: Cached, token: str) -> Path:
    return _path(file.key, f".{file.name}.{token}.part")


def _is_whole(file: Cached) -> bool:
    path = _path(file.key, file.name)
    try:
        found = path.stat()
    except OSError:
        return False
    return found.st_size == file.size and _known_digest(str(path), found.st_mtime_ns) == file.sha256


@cache
def _known_digest(path: str, mtime_ns: int) -> str:
    """The SHA-256 of a file that was last changed at ``mtime_ns``, read once."""
    return digest(Path(path))


def _sweep(folder: Path) -> None:
    """Remove pieces that somebody began to send, and did not go on with for a day."""
    for part in folder.glob(".*.part"):
        if time.time() - part.stat().st_mtime > _STALE_S:
            part.unlink(missing_ok=True)
