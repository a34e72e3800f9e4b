"""What is to be fetched, what was, and how it goes meanwhile."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

SHA256 = re.compile(r"[0-9a-f]{64}")
"""A SHA-256 as it is kept and compared."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One file to fetch from ``url``.

    ``name`` is its checked path inside the folder of its build, with ``/`` between the parts. ``size`` in bytes and
    ``sha256`` are what the hub says, ``None`` and ``""`` where nobody says it.
    """

    url: str
    name: str
    size: int | None = None
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that is complete and was checked. ``chunks`` are the SHA-256 of each ``chunk_bytes`` of it, in order."""

    name: str
    size: int
    sha256: str
    chunk_bytes: int
    chunks: tuple[bytes, ...]


class Stage(StrEnum):
    """What is being done."""

    FETCHING = "fetching"
    CHECKING = "checking"
    REPAIRING = "repairing"
    WAITING = "waiting"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class Progress:
    """How one file goes: bytes there of ``total`` (``None`` if unknown), bytes a second of late, seconds left.

    ``says`` is why it waits.
    """

    stage: Stage
    name: str
    done: int
    total: int | None
    per_second: float = 0.0
    seconds_left: float | None = None
    says: str = ""


Tell = Callable[[Progress], None]
