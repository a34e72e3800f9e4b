"""Taking a build away: nanolocal's own files are deleted, what others own is only forgotten."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from nanolocal.chat.routes import Build
from nanolocal.errors import UsageError
from nanolocal.formats.splits import parts_of
from nanolocal.library.adopted import Entry
from nanolocal.library.library import Library


@dataclass(frozen=True, slots=True)
class Removal:
    """What taking ``build`` away does: ``own`` are deleted, ``entries`` forgotten, ``others`` stay as they are."""

    build: Build
    own: tuple[Path, ...]
    size_bytes: int
    entries: tuple[Entry, ...]
    others: tuple[Path, ...]


def plan(library: Library, name: str, models: Path) -> Removal:
    """What removing the build of that name means; raises ``UsageError`` when it is none, several or not ours.

    ``models`` is the folder that nanolocal owns.
    """
    build = _only(library, name)
    origin = library.origin(build)
    adopted = {Path(entry.path) for entry in origin.entries}
    ours = [place for place in origin.places if owns(models, place)]
    others = tuple(place for place in origin.places if place not in ours)
    own = tuple(file for place in ours for file in _files(library, build, place, models))
    if own:
        return Removal(build, own, sum(_size(path) for path in own), (), others)
    if not adopted >= set(others):
        raise UsageError(
            f"{build.id} lies in {build.path.parent}, which is not nanolocal's own", "remove it from there yourself"
        )
    return Removal(build, (), 0, origin.entries, others)


def carry_out(removal: Removal, library: Library, models: Path) -> None:
    """Delete and forget as planned. A file that has left nanolocal's own folder since is not touched."""
    for path in removal.own:
        if not owns(models, path):
            raise UsageError(f"{path} does not lie in {models} any more", "nothing more was deleted")
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for path in removal.own:
        _tidy(path.parent, models)
    if removal.entries and library.adopted is not None:
        gone = set(removal.entries)
        library.adopted.keep(entry for entry in library.adopted.entries() if entry not in gone)
    library.forget()


def owns(models: Path, path: Path) -> bool:
    """Whether ``path`` itself, not what it may lead to, lies in the folder ``models``."""
    base = os.path.realpath(models)
    parent = os.path.realpath(path.parent)
    return path.is_relative_to(models) and path != models and os.path.commonpath((base, parent)) == base


def _only(library: Library, name: str) -> Build:
    matches = [build for build in library.builds() if build.answers_to(name)]
    exact = [build for build in matches if build.id == name]
    if len(exact or matches) > 1:
        raise UsageError(f"{name!r} is more than one build", f"say which: {', '.join(build.id for build in matches)}")
    return (exact or matches)[0] if matches else library.get(name)


def _files(library: Library, build: Build, place: Path, models: Path) -> list[Path]:
    """The files of a build at one of its places, and a projector of ours that no other build uses."""
    if place.is_dir():
        return [place]
    files = parts_of(place)
    projector = build.projector
    shared = any(other.projector == projector for other in library.builds() if other.id != build.id)
    if projector is not None and projector.parent == place.parent and owns(models, projector) and not shared:
        files.append(projector)
    return files


def _size(path: Path) -> int:
    """Bytes that come free: none for a link, whose file stays."""
    if path.is_symlink():
        return 0
    if not path.is_dir():
        return path.stat().st_size
    return sum(file.lstat().st_size for file in path.rglob("*") if file.is_file() and not file.is_symlink())


def _tidy(folder: Path, models: Path) -> None:
    """Remove folders of ours that hold nothing any more, or the card of a build that is gone alone."""
    while owns(models, folder) and folder.is_dir() and not folder.is_symlink():
        left = list(folder.iterdir())
        if [path.name for path in left] == ["card.json"]:
            left.pop().unlink()
        if left:
            return
        folder.rmdir()
        folder = folder.parent
