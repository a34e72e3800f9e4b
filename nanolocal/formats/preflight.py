"""The headers of all files of a build, checked before anything native opens one of them.

What was checked has to be what is opened: ``Checked.confirm``, called right before the native loader, compares inode,
size and time of change with those from before the header was read. Between that and the loader's own ``open`` some
microseconds are left; who can write there can change the weights while they are used, too.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from nanolocal.errors import Damaged
from nanolocal.formats.gguf import GGUFFacts, read_facts
from nanolocal.formats.safetensors_header import read_header
from nanolocal.formats.splits import parts_of


@dataclass(frozen=True, slots=True)
class Checked:
    """Files whose headers add up, as they were then; ``facts`` of each GGUF file."""

    files: tuple[Path, ...]
    stamps: tuple[tuple[int, ...], ...]
    facts: tuple[GGUFFacts, ...] = ()

    def confirm(self) -> None:
        """Raise ``Damaged`` when one of the files is no longer the one that was checked."""
        for file, stamp in zip(self.files, self.stamps, strict=True):
            if not file.is_file() or _stamp(file) != stamp:
                raise Damaged(f"{file.name} changed while it was being loaded", "try again when nothing writes to it")


def check_model(path: Path, *, with_layout: bool = False) -> Checked:
    """Check a GGUF file (a model, a projector, an adapter), or all parts of the split one that begins with ``path``.

    ``with_layout`` keeps the list of tensors in the facts. Raises ``Damaged`` with the reason, ``OSError`` when a part
    cannot be read.
    """
    files = tuple(parts_of(path))
    stamps = tuple(_stamp(file) for file in files)
    facts = tuple(read_facts(file, is_first=not number, with_layout=with_layout) for number, file in enumerate(files))
    for number, (file, part) in enumerate(zip(files, facts, strict=True)):
        # gguf-split leaves a count of 0 in a file that it merged.
        if (part.metadata.get("split.count", len(files)) or 1) != len(files):
            raise Damaged(f"{file.name} has another number of parts by its header", "get all parts again")
        if part.metadata.get("split.no", number) != number:
            raise Damaged(f"{file.name} is another part than its name says", "get it again")
    return Checked(files, stamps, facts)


def check_weights(folder: Path) -> Checked:
    """Check every safetensors file below ``folder``, a picture pipeline; remember its other files too.

    Raises ``Damaged`` with the reason, ``OSError`` when a file cannot be read.
    """
    files = tuple(sorted(path for path in folder.rglob("*") if path.is_file()))
    stamps = tuple(_stamp(file) for file in files)
    for file in files:
        if file.suffix.lower() == ".safetensors":
            read_header(file)
    return Checked(files, stamps)


def _stamp(file: Path) -> tuple[int, ...]:
    found = os.stat(file)  # noqa: PTH116 (follows links, as the loaders do)
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
