"""Which settings of an engine are faster here: one setting after the other is tried against the best so far, in turn.

Machines are noisy, and a setting that is no faster must not be taken for one that is: the two run right after each
other in every round, their ratio counts, and the middle of the ratios has to say so, as do most of the rounds.
"""

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from nanolocal.chat.tuning import USUAL, Tuning, in_words

WORTH = 1.03
"""So many times as fast a setting has to be to be taken."""
_ROUNDS, _FEW = 7, 3
_MOST_OF = 0.8

Race = Callable[[Tuning, Tuning], Iterator[float]]
"""Runs the first against the second: in each round, how many times as fast the second is."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A setting that was tried against the best so far: how many times as fast it is, and whether it was taken."""

    what: str
    ratio: float
    is_taken: bool


def search(candidates: Sequence[Sequence[Tuning]], race: Race, tell: Callable[[Tried], None]) -> tuple[Tuning, float]:
    """The best of all and its gain over the usual settings; those, and 1, where nothing is certainly faster.

    ``candidates`` differ from the usual settings in one thing each, those of a group in the same thing.
    """
    best = USUAL
    for group in candidates:
        taken = best
        for candidate in group:
            tried = _with(best, candidate)
            ratios = _ratios(race, taken, tried)
            is_taken = verdict(ratios) is True
            tell(Tried(in_words(candidate), statistics.median(ratios), is_taken))
            taken = tried if is_taken else taken
        best = taken
    if best == USUAL:
        return USUAL, 1.0
    ratios = _ratios(race, USUAL, best)
    return (best, statistics.median(ratios)) if verdict(ratios) else (USUAL, 1.0)


def verdict(ratios: Sequence[float]) -> bool | None:
    """Whether the second of two won; ``None`` where more rounds have to tell."""
    middle = statistics.median(ratios) if ratios else 1.0
    if len(ratios) >= _FEW and middle < 1.0:
        return False
    if len(ratios) < _ROUNDS:
        return None
    return middle >= WORTH and sum(ratio > 1.0 for ratio in ratios) >= _MOST_OF * len(ratios)


def _ratios(race: Race, one: Tuning, other: Tuning) -> list[float]:
    ratios: list[float] = []
    for ratio in race(one, other):
        ratios.append(ratio)
        if verdict(ratios) is not None:
            break
    return ratios


def _with(best: Tuning, candidate: Tuning) -> Tuning:
    """``best`` with what is not as usual in ``candidate``."""
    fields = ("threads", "batch", "flash", "maps", "gpu_layers")
    return replace(
        best, **{name: getattr(candidate, name) for name in fields if getattr(candidate, name) != getattr(USUAL, name)}
    )
