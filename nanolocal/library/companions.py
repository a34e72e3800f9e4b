"""Which projector belongs to which model, told by their folder and names."""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePath

from nanolocal.chat.routes import Build, Kind
from nanolocal.formats.splits import stem_of
from nanolocal.library.found import Part, Role

_WORDS = re.compile(r"[a-z0-9]+(?:\.[0-9]+)?")
_SAYS_NOTHING = re.compile(
    r"^(?:mmproj|model|gguf|vision|audio|projector|clip|f16|f32|bf16|fp16|i?q\d+|[k0-9sml]|ud|xl|xs|xxs|it)$"
)


def projectors_of(builds: Sequence[Build], parts: Sequence[Part]) -> dict[Path, Path]:
    """The projector for each text build that has one in its own folder, as model path to projector path.

    A projector whose name shares words with some models belongs to those with which it shares the most, and of several
    the one that sees and hears; one whose name says nothing, such as ``mmproj-F16.gguf``, belongs to every model of its
    folder if they are builds of one model.
    """
    projectors: dict[Path, list[Part]] = defaultdict(list)
    for part in parts:
        if part.role is Role.PROJECTOR:
            projectors[part.path.parent].append(part)
    if not projectors:
        return {}
    models: dict[Path, list[Path]] = defaultdict(list)
    for build in builds:
        if build.kind is Kind.TEXT and build.path.parent in projectors:
            models[build.path.parent].append(build.path)
    return {path: chosen for folder, paths in models.items() for path in paths
            if (chosen := _choose(path, projectors[folder], paths)) is not None}  # fmt: skip


def _choose(model: Path, projectors: Sequence[Part], beside: Sequence[Path]) -> Path | None:
    words = words_of(model)
    best: tuple[int, int, int, str] | None = None
    chosen: Path | None = None
    for part in projectors:
        named = words_of(part.path)
        shared = len(words & named)
        if named and (named - words or not shared):
            continue
        if not named and len({frozenset(words_of(path)) for path in beside}) > 1:
            continue
        rank = (shared, len(part.senses), precision_of(part.path.name), part.path.name)
        if best is None or rank > best:
            best, chosen = rank, part.path
    return chosen


def words_of(path: PurePath) -> set[str]:
    """The words of a file's name that say which model it is."""
    return {word for word in _WORDS.findall(stem_of(path).lower()) if not _SAYS_NOTHING.match(word)}


def precision_of(name: str) -> int:
    """16 bits before 8, and both before 32: as good, and half the memory."""
    name = name.lower()
    return 3 if "bf16" not in name and "f16" in name else 2 if "bf16" in name else 1 if "q8" in name else 0
