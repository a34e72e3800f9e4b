"""What a search turns up, before and after it was described."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from nanolocal.chat.routes import Sense

UNREADABLE = "cannot be read: "
"""How the reason of a problem begins when the system did not let us look."""


class Role(StrEnum):
    """What a file is that is no build of its own."""

    ADAPTER = "adapter"
    PROJECTOR = "projector"
    CONTROLNET = "controlnet"
    COMPONENT = "component"


@dataclass(frozen=True, slots=True)
class Found:
    """A file or pipeline folder, not opened yet, and what its store says about it.

    ``known_as`` is what people call it there; ``model`` what its id is made of where the file's name says nothing.
    """

    path: Path
    known_as: str = ""
    model: str = ""
    projector: Path | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that looks like a build but cannot be used, why, and where that is known what to do about it."""

    path: Path
    reason: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A file, or the folder of a ControlNet, that is used together with a build: what it is, for which, and in words.

    ``architecture`` of an adapter or a ControlNet for pictures is the family that it seems to be for, in words.
    ``memory`` is what a projector, a ControlNet or a picture's adapter takes beside its model, in bytes, and ``senses``
    what a projector gives it.
    """

    path: Path
    role: Role
    name: str
    what: str
    architecture: str
    size_bytes: int
    sha256: str
    memory: int = 0
    senses: tuple[Sense, ...] = ()
