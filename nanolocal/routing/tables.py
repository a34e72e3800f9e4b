"""Choosing among candidates whose quality somebody else's table gives, by task.

The best all-round candidate is left only for one that is expected to be clearly better at what the prompt asks for: a
wrong label costs as much as a right one gains.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nanolocal.routing.quality import EVERYTHING, lookup
from nanolocal.routing.router import shares
from nanolocal.routing.tasks import Guess

MARGIN = 0.005
"""How much better than the best all-round candidate another has to promise to be."""
_EVERYTHING_COUNTS = 0.5
"""How many of a task's kin the mean of everything counts as, where the task itself is not shown."""
_CALLED = {
    "coding": "code", "programming": "code", "humaneval": "code/complete", "mbpp": "code/write",
    "livecodebench": "code/write", "gsm8k": "math/word_problem", "math_500": "math/competition",
    "aime": "math/competition", "bbh": "math/logic", "logic": "math/logic", "reasoning": "math/logic",
    "mmlu": "chat/exam", "mmlu_pro": "chat/exam", "knowledge": "chat/exam", "arc": "chat/science",
    "arc_challenge": "chat/science", "science": "chat/science", "hellaswag": "chat/commonsense",
    "winogrande": "chat/commonsense", "commonsense": "chat/commonsense", "gpqa": "chat/expert",
    "gpqa_diamond": "chat/expert", "ifeval": "writing/constrained", "instruction_following": "writing/constrained",
    "mgsm": "multilingual/exam", "qa": "chat/short_fact", "triviaqa": "chat/short_fact",
    "creative_writing": "writing/story", "summarization": "summarize", "translation": "translate",
    "extraction": "extract", "conversation": "chat", "image": "image_gen",
}  # fmt: skip
"""What others call our tasks."""


@dataclass(frozen=True, slots=True)
class Row:
    """A candidate: its id, its size in billions of parameters (0 unknown), its quality 0 to 1 by task."""

    id: str
    params_b: float
    quality: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which one, and why in words."""

    id: str
    why: tuple[str, ...]


def choose(guess: Guess, rows: Sequence[Row]) -> Choice:
    """The candidate to ask; equally good ones by size, the smaller first, then by id."""
    tables = {row.id: named(row.quality) for row in rows}
    counted = shares(guess)

    def expected(row: Row, tasks: Mapping[str, float]) -> float:
        return sum(share * _shown(tables[row.id], task) for task, share in tasks.items())

    def best_at(tasks: Mapping[str, float]) -> Row:
        return min(rows, key=lambda row: (-round(expected(row, tasks), 6), row.params_b, row.id))

    round_best, task_best = best_at({EVERYTHING: 1.0}), best_at(counted)
    gain = expected(task_best, counted) - expected(round_best, counted)
    task = guess.subtask or str(guess.task)
    seen = f"{task}, {guess.confidence:.0%} sure" + (f" ({guess.evidence!r})" if guess.evidence else "")
    if task_best.id == round_best.id:
        return Choice(round_best.id, (seen, "best all round, and at this"))
    if gain < MARGIN:
        return Choice(round_best.id, (seen, f"best all round; {task_best.id} promises only {gain:.3f} more"))
    return Choice(task_best.id, (seen, f"{gain:.3f} better at this than {round_best.id}, the best all round"))


def _shown(table: Mapping[str, float], task: str) -> float:
    """What a table says about a task; its kin alone are drawn towards everything, the fewer the more.

    How tasks differ tells more than how sub-tasks of one do, so a single one of the kin counts for two thirds.
    """
    value = lookup(table, task) or 0.0
    coarse = task.partition("/")[0]
    if task in table or coarse in table or EVERYTHING not in table:
        return value
    kin = sum(key.startswith(f"{coarse}/") for key in table)
    return (kin * value + _EVERYTHING_COUNTS * table[EVERYTHING]) / (kin + _EVERYTHING_COUNTS)


def named(quality: Mapping[str, float]) -> dict[str, float]:
    """A table under our names for the tasks, however they are written; what means the same task is averaged."""
    found: dict[str, list[float]] = {}
    for key, value in quality.items():
        plain = key.strip().lower().replace(" ", "_").replace("-", "_")
        found.setdefault(_CALLED.get(plain, plain), []).append(value)
    return {task: math.fsum(values) / len(values) for task, values in found.items()}
