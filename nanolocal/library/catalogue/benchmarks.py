"""What published scores say about tasks: how much better a model is than a general one of its size.

Scores of different benchmarks cannot be compared, and few models have the same ones. So each is set against the line
that the Llama 3 family draws over its sizes, 1 B to 405 B (least squares over its scores in ``families/``, July 2024
to December 2024), and what is left is a strength: 0.05 at a task is five points in a hundred more than its size says.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

from nanolocal.library.catalogue.entries import Model, Purpose

EVERYTHING = "*"
_MOST = 0.5
_FAMILY_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Yardstick:
    """The task that a benchmark is about, and the share of it that a general model of 1 B solves, and of 10 B more."""

    task: str
    at_1b: float
    per_decade: float


_MMLU_PRO = Yardstick("chat/exam", 0.332, 0.167)
_GPQA = Yardstick("chat/expert", 0.259, 0.093)
_MATH = Yardstick("math/competition", 0.302, 0.177)
YARDSTICKS: Mapping[str, Yardstick] = {
    "MMLU": Yardstick("chat/exam", 0.538, 0.146),
    "MMLU-Pro": _MMLU_PRO,
    "GPQA": _GPQA,
    "GPQA Diamond": _GPQA,
    "HumanEval": Yardstick("code", 0.548, 0.144),
    "GSM8K": Yardstick("math/word_problem", 0.603, 0.172),
    "MATH": _MATH,
    "MATH-500": _MATH,
    "IFEval": Yardstick("writing/constrained", 0.671, 0.103),
}
_USUAL: Mapping[Purpose, Mapping[str, float]] = {
    Purpose.CODE: {"code": 0.08, EVERYTHING: -0.08},
    Purpose.REASONING: {"math": 0.25, "chat/expert": 0.15, EVERYTHING: 0.0},
}
"""What models of that purpose have where no score is known: about the middle of those in the catalogue that have."""


def strengths(model: Model, catalogue: Iterable[Model] = ()) -> dict[str, float]:
    """By task, and ``*`` for all others: from the scores of ``model``, else half of its family's, else its purpose."""
    own = _from_scores(model)
    if own:
        return own
    relatives = [scores for other in catalogue if other.family == model.family and (scores := _from_scores(other))]
    if relatives:
        tasks = sorted({task for scores in relatives for task in scores})
        return {task: _FAMILY_SHARE * fmean(s[task] for s in relatives if task in s) for task in tasks}
    return {task: gain for purpose in model.purposes for task, gain in _USUAL.get(purpose, {}).items()}


def _from_scores(model: Model) -> dict[str, float]:
    if not model.parameters or not model.scores:
        return {}
    decades = math.log10(model.parameters / 1e9)
    gains: dict[str, list[float]] = defaultdict(list)
    for score in model.scores:
        yardstick = YARDSTICKS.get(score.name)
        if yardstick is not None and score.scale is None:
            usual = min(yardstick.at_1b + yardstick.per_decade * decades, 1.0)
            gains[yardstick.task].append(score.score / 100 - usual)
    found = {task: max(-_MOST, min(fmean(values), _MOST)) for task, values in sorted(gains.items())}
    return found | {EVERYTHING: fmean(found.values())} if found else {}
