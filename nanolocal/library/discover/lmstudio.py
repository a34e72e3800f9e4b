"""LM Studio: plain files as publisher/model/file.

Layout (https://lmstudio.ai/docs/app/basics/import-model; the home as in lmstudio-ai/lmstudio-js, findLMStudioHome.ts)::

    ~/.lmstudio/models/<publisher>/<model>/<file>.gguf        older: ~/.cache/lm-studio/models

``~/.lmstudio-home-pointer`` names another home; ``downloadsFolder`` in its settings.json another models folder.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from nanolocal.errors import Damaged
from nanolocal.library.discover import folder
from nanolocal.library.discover.system import System
from nanolocal.library.found import Found, Problem
from nanolocal.library.jsonfiles import read_object, read_text

NAME = "LM Studio"


def places(system: System) -> list[Path]:
    """Where LM Studio keeps models on ``system``."""
    homes = [system.home / ".lmstudio", system.home / ".cache" / "lm-studio"]
    try:
        pointed = read_text(system.home / ".lmstudio-home-pointer", 4096).strip()
        homes = [system.expand(pointed), *homes] if pointed else homes
    except (OSError, Damaged):
        pass
    return [place for home in homes for place in (_chosen(system, home), home / "models") if place is not None]


def _chosen(system: System, home: Path) -> Path | None:
    try:
        chosen = read_object(home / "settings.json").get("downloadsFolder")
    except (OSError, Damaged):
        return None
    return system.expand(chosen) if isinstance(chosen, str) and chosen else None


def read(root: Path, tell: Callable[[str], None]) -> Iterator[Found | Problem]:
    """Every model file, called as LM Studio lists it."""
    for found in folder.read(root, tell):
        if isinstance(found, Found) and not found.known_as and found.path.is_relative_to(root):
            yield replace(found, known_as=found.path.relative_to(root).as_posix())
        else:
            yield found
