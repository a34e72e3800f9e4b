"""How good a build is expected to be at a task, 0 to 1: its card, else published scores, else its size; then evidence.

A score is what a model has above chance, so that is what quantization takes its share of. What was seen on this device
moves it like a Beta posterior: the expectation counts as much as some tries, as many as ``trust`` finds.
"""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from nanolocal.chat.routes import Build, Tally
from nanolocal.library.retention import retained

EVERYTHING = "*"
PRIOR_TRIES = 20.0
_OPTIONS = 0.25
_CHANCE = {
    "chat/exam": _OPTIONS, "chat/science": _OPTIONS, "chat/commonsense": _OPTIONS, "chat/expert": _OPTIONS,
    "extract/exam_choice": _OPTIONS, "multilingual/exam": _OPTIONS,
}  # fmt: skip
_MILLION = 1e6
_LEAST, _MOST = 0.02, 0.95


class Expected(NamedTuple):
    """A quality and where it comes from, in words."""

    value: float
    known: str


def expected_quality(build: Build, task: str, seen: Tally | None = None, prior: float = PRIOR_TRIES) -> Expected:
    """How good ``build`` is at ``task`` (a sub-task, a task or ``*``), given what was ``seen`` of it there.

    ``prior`` is the number of tries that the expectation before them counts as.
    """
    scored = lookup(build.quality, task)
    gained = lookup(build.strengths, task)
    if scored is not None:
        full, known = scored, "its card"
    elif gained is not None:
        full, known = _prior(build.parameters) + gained, "published scores"
    else:
        full, known = _prior(build.parameters), "its size"
    chance = _CHANCE.get(task, 0.0)
    kept = build.retained or retained(build.quantization, build.parameters)
    known += ", its loss measured" if build.retained else ""
    value = chance + (full - chance) * kept if full > chance else full
    value = min(max(value, _LEAST), _MOST)
    if seen is None or not seen.tries:
        return Expected(value, known)
    moved = (prior * value + seen.wins) / (prior + seen.tries)
    return Expected(moved, f"{known} and {seen.tries:.0f} tries here" if seen.tries >= 1 else known)


def lookup(table: Mapping[str, float], task: str) -> float | None:
    """What a table says about a task: itself, the task above, the mean of its kin, everything."""
    if not table:
        return None
    coarse = task.partition("/")[0]
    for key in (task, coarse):
        if key in table:
            return table[key]
    kin = [value for key, value in table.items() if key.startswith(f"{coarse}/")]
    if kin:
        return math.fsum(kin) / len(kin)
    return table.get(EVERYTHING)


@lru_cache(maxsize=1024)
def _prior(parameters: int) -> float:
    """A line through published averages: 1 B about 0.40, 8 B about 0.58, 70 B about 0.75; never above 0.9."""
    if parameters < _MILLION:
        return _LEAST
    return min(0.9, max(_LEAST, 0.19 * math.log10(parameters / _MILLION) - 0.16))
