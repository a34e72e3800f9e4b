"""The last step: a measured file gets its name, its card, and its place among the models, all at once."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from nanolocal.chat.routes import Build
from nanolocal.compress import workspace
from nanolocal.compress.workspace import Workspace
from nanolocal.errors import Damaged, UsageError
from nanolocal.library.cards import CARD, REPORT
from nanolocal.library.jsonfiles import read_object, write_object
from nanolocal.library.library import Library
from nanolocal.library.naming import slug

_COPIED = ("name", "family", "licence", "tiny", "defaults", "quality", "data", "limits", "parameters", "context")
"""What the card of the source says that holds for a smaller build of it too."""
_LABEL = re.compile(r"I?Q\d\w{0,30}", re.ASCII)


def label_for(build: Build, wanted: str, stock: str, bits: float, library: Library) -> str:
    """The quantization in the name of the new build: the stock recipe's, or ``Q4_LAB`` by its bits a weight.

    Raises ``UsageError`` for a ``wanted`` one that is none.
    """
    if wanted and not _LABEL.fullmatch(wanted):
        raise UsageError(f"{wanted[:40]!r} cannot name a quantization", "begin with Q and a digit, such as Q4_MINE")
    label = (wanted or stock).upper() or f"Q{max(1, min(9, int(bits)))}_LAB"
    taken = {each.id.partition("#")[0] for each in library.builds()}
    model = model_of(build)
    if f"{model}:{label}" not in taken:
        return label
    return next(f"{label}_{n}" for n in range(2, len(taken) + 3) if f"{model}:{label}_{n}" not in taken)


def model_of(build: Build) -> str:
    """The model that ``build`` is one of, as ids begin."""
    return slug(build.id.partition(":")[0])


def install(space: Workspace, models: Path, file: Path, build: Build, label: str, report: Mapping[str, object]) -> Path:
    """Move ``file`` to where the library finds it, with its card; returns its path there.

    ``report`` is all of the card's own; its file and hash are those of the new name.
    """
    name = f"{model_of(build)}-{label}"
    room = space.path("room")
    room.mkdir(mode=0o700, exist_ok=True)
    target = room / f"{name}.gguf"
    file.replace(target)
    sha256 = hash_of(target)
    card = {key: value for key, value in _card_of(build).items() if key in _COPIED}
    card |= {"id": model_of(build), "quantization": label}
    card.setdefault("name", build.name)
    card.setdefault("licence", build.licence)
    card["files"] = [{"path": target.name, "sha256": sha256, "bytes": target.stat().st_size}]
    card[REPORT] = {**report, "file": target.name, "sha256": sha256}
    write_object(room / CARD, card, durably=True)
    return workspace.place(models, space, room, name) / target.name


def hash_of(path: Path) -> str:
    """The SHA-256 of a whole file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _card_of(build: Build) -> dict[str, object]:
    try:
        return read_object(build.path.parent / CARD)
    except (Damaged, OSError):
        return {}
