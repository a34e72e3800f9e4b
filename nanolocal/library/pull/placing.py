"""Where fetched files lie: ``models/OWNER--NAME/`` with a card; what they were when they came, in ``models/.pulled``.

Files are plain ones under their own names, so that any other program can use them too.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nanolocal.chat.amounts import format_bytes
from nanolocal.errors import UsageError
from nanolocal.library.naming import slug
from nanolocal.library.pull import pulledcard
from nanolocal.library.pull.choosing import Shape
from nanolocal.library.pull.partfile import RESERVE
from nanolocal.library.pull.plan import Fetched, Wanted
from nanolocal.library.pull.planned import Plan
from nanolocal.library.pull.staging import Staged

_MOST_FOLDERS = 100


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a build is going to lie, and which of its files are there already, whole."""

    folder: Path
    present: tuple[Wanted, ...]

    def is_complete(self, plan: Plan) -> bool:
        """Whether nothing is left to fetch."""
        return len(self.present) == len(plan.files)


def find_spot(models: Path, plan: Plan) -> Spot:
    """Where ``plan`` is to lie: builds of one repository share a folder, a pipeline has one of its own."""
    for number in range(1, _MOST_FOLDERS):
        folder = models / (plan.folder if number == 1 else f"{plan.folder}--{_suffix(plan, number)}")
        present = tuple(file for file in plan.files if _is_present(folder, file))
        if not folder.exists() or len(present) == len(plan.files) or _is_shared(folder, plan):
            return Spot(folder, present)
    raise UsageError(f"there are {_MOST_FOLDERS} folders for {plan.folder}", "remove some: nanolocal models remove")


def check_free(models: Path, needed: int, after: str) -> int:
    """Free bytes where the models lie; raises ``UsageError`` where ``needed`` more of them would fill the disk.

    ``after`` tells what becomes of what there is.
    """
    there = next(folder for folder in (models, *models.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if needed and needed + RESERVE > free:
        raise UsageError(
            f"{format_bytes(needed)} are needed in {models}, and {format_bytes(free)} are free",
            f"free some space, {format_bytes(RESERVE)} more than that; {after}",
        )
    return free


def place(staged: Staged, folder: Path, fetched: Sequence[Fetched]) -> None:
    """Make what has arrived appear in ``folder`` with its card: at once where it is new, else file by file.

    Raises ``UsageError`` where the disk does not allow it; then the next attempt goes on.
    """
    try:
        if folder.exists():
            pulledcard.write(folder, staged.plan, fetched)
            _move_into(staged.files, folder, [file.name for file in fetched])
        else:
            pulledcard.write(staged.files, staged.plan, fetched)
            sync_folder(staged.files)
            staged.files.rename(folder)
        sync_folder(folder.parent)
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror}", "the same command goes on") from error
    staged.discard()


def _is_shared(folder: Path, plan: Plan) -> bool:
    """Whether a build may come into a folder that is there: no pipeline, and over no file that was not pulled."""
    if plan.shape is Shape.PIPELINE or (folder / "model_index.json").exists():
        return False
    return all(pulledcard.hash_in(folder, file.name) for file in plan.files if (folder / file.name).exists())


def _suffix(plan: Plan, number: int) -> str:
    label = slug(plan.label)
    return label if number == 2 else f"{label}-{number}"


def _is_present(folder: Path, file: Wanted) -> bool:
    """Whether the file was pulled there before: its size is right, and the card knows it by the hash that is wanted."""
    path = folder / file.name
    try:
        size = path.stat().st_size if path.is_file() and not path.is_symlink() else -1
    except OSError:
        return False
    if size < 0 or (file.size is not None and size != file.size):
        return False
    known = pulledcard.hash_in(folder, file.name)
    return bool(known) and (known == file.sha256 or (not file.sha256 and pulledcard.came_from(folder, file)))


def _move_into(source: Path, folder: Path, names: Sequence[str]) -> None:
    """The first file last: a split build is listed by it."""
    for name in reversed(names):
        if (source / name).exists():
            (folder / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            (source / name).replace(folder / name)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Make renames in ``folder`` survive a power cut, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
