"""Split GGUF files: ``NAME-00001-of-00003.gguf`` and its fellows, as llama.cpp's gguf-split writes them."""

import re
from collections.abc import Iterable
from pathlib import Path, PurePath

from nanolocal.errors import Damaged

MAX_PARTS = 1000
SPLIT = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<total>\d{5})$")


def stem_of(path: PurePath) -> str:
    """The name without suffix and, in a split file, without the number of the part."""
    match = SPLIT.match(path.stem)
    return match["stem"] if match else path.stem


def parts_of(path: Path) -> list[Path]:
    """All files of the GGUF that begins with ``path``; raises ``Damaged`` when one is missing."""
    match = SPLIT.match(path.stem)
    if not match:
        return [path]
    parts = [path.with_name(name) for name in _names(match, path.suffix)]
    missing = [part.name for part in parts if not part.is_file()]
    if missing:
        raise Damaged(f"{path.name} lacks {len(missing)} of its {len(parts)} parts, first {missing[0]}", "get them all")
    return parts


def firsts(paths: Iterable[Path]) -> list[Path]:
    """Of the GGUF files of one folder those that begin a build: whole ones, and one for each split one.

    For a split one without its first part that is the part's name all the same, so that ``parts_of`` can tell.
    """
    found: dict[Path, None] = {}
    for path in paths:
        match = SPLIT.match(path.stem)
        if match and not 1 <= int(match["total"]) <= MAX_PARTS:
            match = None
        found[path.with_name(_names(match, path.suffix)[0]) if match else path] = None
    return list(found)


def _names(match: "re.Match[str]", suffix: str) -> list[str]:
    total = min(max(int(match["total"]), 1), MAX_PARTS)
    return [f"{match['stem']}-{number:05d}-of-{match['total']}{suffix}" for number in range(1, total + 1)]
