"""Mending a build that was pulled and was damaged since: only what is wrong is fetched again, from where it came."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nanolocal.errors import UsageError
from nanolocal.formats.splits import stem_of
from nanolocal.library.library import Library
from nanolocal.library.naming import QUANTIZATION, slug
from nanolocal.library.pull import hashes, pulledcard
from nanolocal.library.pull.grouping import PROJECTOR
from nanolocal.library.pull.plan import Fetched, Tell, Wanted

if TYPE_CHECKING:
    from nanolocal.library.pull.control import Control
    from nanolocal.library.pull.links import Links

_MOST_WHOLE = 64 * 2**20
"""Bytes of a file that is fetched as one chunk where the hashes of its chunks are not known."""


@dataclass(frozen=True, slots=True)
class Mended:
    """A file of the build: how many chunks were exchanged, and of how many."""

    file: Fetched
    chunks: int


def place_of(library: Library, name: str, models: Path) -> Path:
    """The first file or the folder of the build that ``name`` means, also of one that is refused for being damaged.

    Raises ``UsageError`` where nothing among our own ``models`` is called that.
    """
    places = [place for build in library.builds() if build.answers_to(name) for place in library.origin(build).places]
    places += [problem.path for problem in library.problems() if name in _names_of(problem.path)]
    own = [place for place in places if place.is_relative_to(models)]
    if not own:
        raise UsageError(f"nothing that was pulled is called {name!r}", "nanolocal models list")
    return own[0]


async def mend(
    links: "Links", place: Path, models: Path, library: Library, control: "Control", tell: Tell
) -> list[Mended]:
    """Check every file of the build at ``place`` that was pulled, and exchange the chunks that are wrong.

    Raises ``UsageError`` where its card does not say from where it came, ``TransferFailed`` where that has it no more.
    """
    from nanolocal.library.pull.repair import repair

    folder = place if place.is_dir() else place.parent
    mended = []
    for wanted in _wanted(place, folder):
        fetched = _known(models, wanted)
        path = folder / wanted.name
        chunks = await repair(links, wanted, path, fetched, control, tell)
        library.descriptions.fingerprints.learn(path, fetched.sha256)
        mended.append(Mended(fetched, chunks))
    if not mended:
        raise UsageError(f"the card of {folder.name} does not say where it was pulled from", "get the files again")
    library.forget()
    return mended


def _wanted(place: Path, folder: Path) -> Iterator[Wanted]:
    """The files of one build in a folder that several may share: all parts of a split one, and projectors."""
    for wanted in pulledcard.pulled(folder):
        stem = stem_of(Path(wanted.name))
        if place.is_dir() or stem == stem_of(place) or PROJECTOR in stem.lower():
            yield wanted


def _known(models: Path, wanted: Wanted) -> Fetched:
    """The hashes of its chunks; a small file is one chunk."""
    known = hashes.known(models, wanted.name, wanted.sha256)
    if known is not None:
        return known
    size = wanted.size or 0
    if size > _MOST_WHOLE:
        raise UsageError(f"the hashes of the chunks of {wanted.name} are lost", "remove the build and pull it again")
    return Fetched(wanted.name, size, wanted.sha256, max(size, 1), (bytes.fromhex(wanted.sha256),) if size else ())


def _names_of(path: Path) -> set[str]:
    """What a build at ``path`` may be called while nobody can look into it."""
    stem = stem_of(path)
    model, quantization = slug(QUANTIZATION.sub("", stem)), QUANTIZATION.search(stem)
    named = {f"{model}:{quantization.group(1).upper()}"} if quantization else set()
    return {path.name, stem, model, *named}
