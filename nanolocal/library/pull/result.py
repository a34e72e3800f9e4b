"""What a pull came to: the build that is in the library now."""

from collections.abc import Sequence
from pathlib import Path

from nanolocal.chat.routes import Build
from nanolocal.errors import Damaged
from nanolocal.library.library import Library
from nanolocal.library.pull.choosing import Shape
from nanolocal.library.pull.grouping import PROJECTOR
from nanolocal.library.pull.plan import Fetched, Wanted
from nanolocal.library.pull.running import Prepared


def stored_copy(library: Library, files: Sequence[Wanted] | Sequence[Fetched]) -> Build | None:
    """The build of these very files where it lies already, perhaps another program's; ``None`` where none is known.

    A build that lacks the projector, which the files have, does not count.
    """
    models = [file for file in files if PROJECTOR not in file.name.lower()]
    if len(models) != 1 or not models[0].sha256:
        return None
    has_projector = len(files) > 1
    same = (build for build in library.builds() if build.sha256 == models[0].sha256)
    return next((build for build in same if build.projector is not None or not has_projector), None)


def take_in(library: Library, prepared: Prepared, fetched: Sequence[Fetched]) -> Build | None:
    """The build that was pulled; ``None`` for a file that is a part of one, such as a projector.

    The hashes of large files are told to the library, which would not read them through just to list them. Raises
    ``Damaged`` with the reason where the files are not what a build is made of.
    """
    folder = prepared.spot.folder
    for file in fetched:
        library.descriptions.fingerprints.learn(folder / file.name, file.sha256)
    library.forget()
    first = folder if prepared.plan.shape is Shape.PIPELINE else folder / prepared.plan.files[0].name
    found = next((build for build in library.builds() if first in library.origin(build).places), None)
    if found is None:
        _complain(library, first)
    return found


def _complain(library: Library, first: Path) -> None:
    for problem in library.problems():
        if problem.path in (first, first.parent):
            raise Damaged(f"what came is not usable: {problem.reason}", f"it lies in {first.parent}")
