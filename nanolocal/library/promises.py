"""Who says what a file should be: the card beside it, or the name that a store gave it after its content."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nanolocal.errors import Damaged
from nanolocal.formats.splits import stem_of
from nanolocal.library.cards import Card
from nanolocal.library.health import weights_of

_OLLAMA = re.compile(r"sha256-([0-9a-f]{64})", re.IGNORECASE)
_HUB = re.compile(r"[0-9a-f]{64}|[0-9a-f]{40}")
_INDEX = "model_index.json"


@dataclass(frozen=True, slots=True)
class Promise:
    """The digest that a file should have, and who says so. One of 40 digits is git's own: SHA-1 of a blob."""

    digest: str
    by: str

    @property
    def is_git(self) -> bool:
        """Whether it is a git object id, as the hub names its small files."""
        return len(self.digest) == 40


def promise_of(path: Path, card: Card) -> Promise | None:
    """What the card or the store says about ``path``; ``None`` where nobody says anything."""
    if path.is_relative_to(card.folder):
        digest = card.hashes.get(path.relative_to(card.folder).as_posix(), "")
        if digest:
            return Promise(digest.lower(), "its card")
    real = path.resolve()
    if real.parent.name != "blobs":
        return None
    if ollama := _OLLAMA.fullmatch(real.name):
        return Promise(ollama.group(1).lower(), "its name in Ollama's store")
    if real.parent.parent.name.startswith("models--") and _HUB.fullmatch(real.name):
        return Promise(real.name, "its name in the hub's cache")
    return None


def card_of(place: Path) -> Card:
    """The card of the build at ``place``, an empty one where there is none that can be read."""
    folder = place if place.is_dir() else place.parent
    try:
        return Card.beside(folder / _INDEX)
    except (Damaged, OSError):
        return Card(folder)


def files_at(place: Path, card: Card) -> list[Path]:
    """The files of the build at ``place``: its weights, and of a pipeline what its card lists, else all there is."""
    try:
        weights = weights_of(place)
    except Damaged:  # a part is missing: the card may tell which
        weights = [
            place,
            *(place.with_name(Path(name).name) for name in card.hashes if stem_of(Path(name)) == stem_of(place)),
        ]
    if not place.is_dir():
        return sorted(set(weights))
    inside = [name for name in card.hashes if name and not Path(name).is_absolute() and ".." not in Path(name).parts]
    listed = {place / name for name in inside}
    return sorted({*weights, *(listed or _visible(place))})


def _visible(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and path.name != "card.json" and path.is_file():
            yield path
