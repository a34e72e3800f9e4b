#!/usr/bin/env python3
"""How well the router chooses from somebody else's table of qualities, against the best candidate and perfect labels.

    scripts/eval_tables.py [--prompts FILE] [--tables 40] [--simulated 0.8]

Tables of several kinds, some made to mislead, meet labelled prompts (JSON lines with ``text`` and ``label``). A prompt
that goes to a candidate earns what the table's maker knows of that candidate at the prompt's label. ``single`` is the
candidate that is best for all prompts together, ``perfect`` the choice when every label is known. With ``--simulated``
the labels come from a made-up classifier instead, whose confidence is as good as its word.
"""

import argparse
import json
import math
import random
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from nanolocal.chat.routes import Task
from nanolocal.library.catalogue import shelf
from nanolocal.routing.labels import LABELS
from nanolocal.routing.quality import lookup
from nanolocal.routing.tables import Row, choose, named
from nanolocal.routing.tasks import Guess, guess_task

PROMPTS = Path(__file__).parents[1] / "tests" / "data" / "router_heldout.jsonl"
PUBLISHED = {
    "MMLU": "chat/exam", "GSM8K": "math/word_problem", "HumanEval": "code/write", "IFEval": "writing/constrained",
    "MATH": "math/competition",
}  # fmt: skip
BENCHMARKS = (
    *PUBLISHED.values(), "chat/science", "chat/commonsense", "chat/expert", "chat/short_fact", "math/logic",
    "multilingual/exam", "summarize", "translate",
)  # fmt: skip
Quality = dict[str, float]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text and what it really asks for."""

    text: str
    label: str


@dataclass(frozen=True, slots=True)
class Table:
    """What is shown of each candidate, and what it really is at each label; some labels may not be covered."""

    kind: str
    rows: Sequence[Row]
    truth: Mapping[str, Quality]
    labels: Sequence[str]


@dataclass(slots=True)
class Score:
    """Sums over the tables of one kind."""

    tables: int = 0
    below: int = 0
    worst: float = 0.0
    gained: float = 0.0
    possible: float = 0.0
    left: list[float] = field(default_factory=list)


def main() -> int:
    """Print one line for each kind of table; end with 1 when a table comes out below its best candidate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--prompts", type=Path, default=PROMPTS)
    parser.add_argument("--tables", type=int, default=40, help="of each kind")
    parser.add_argument("--simulated", type=float, metavar="SHARE", help="a classifier that is right this often")
    args = parser.parse_args()
    chance = random.Random(args.seed)
    prompts = read(args.prompts)
    guesses = guessed(prompts, args.simulated, chance)
    tables = made(sorted({prompt.label for prompt in prompts}), args.tables, chance)
    scores = scored(tables, prompts, guesses)
    right = statistics.fmean(p.label in (guess.subtask, guess.task) for p, guess in guesses)
    coarse = statistics.fmean(guess.task is LABELS[p.label] for p, guess in guesses)
    print(f"{len(prompts)} prompts, task right {coarse:.1%}, sub-task right {right:.1%}")
    for kind, score in scores.items():
        share = score.gained / score.possible if score.possible > 1e-9 else math.nan
        left = statistics.fmean(score.left)
        print(
            f"{kind:15} {score.tables:3} tables, {score.below:3} below the best candidate (worst {score.worst:+.4f}), "
            f"{share:6.1%} of {100 * score.possible / score.tables:4.1f} points, leaves it {left:.0%}"
        )
    whole = sum(score.gained for score in scores.values()) / sum(score.possible for score in scores.values())
    below = sum(score.below for score in scores.values())
    print(f"all: {whole:.1%} of what perfect labels gain, {below} tables below their best candidate")
    return int(below > 0)


def read(path: Path) -> list[Prompt]:
    """Those that text answers."""
    found = (json.loads(line) for line in path.read_text("utf-8").splitlines())
    prompts = [Prompt(each["text"], each["label"]) for each in found if not each.get("earlier")]
    return [prompt for prompt in prompts if not prompt.label.startswith("image")]


def guessed(prompts: Sequence[Prompt], simulated: float | None, chance: random.Random) -> list[tuple[Prompt, Guess]]:
    """Each prompt with what the classifier, or a made-up one, takes it for."""
    if simulated is None:
        return [(prompt, guess_task(prompt.text)) for prompt in prompts]
    labels = sorted({prompt.label for prompt in prompts})
    return [(prompt, _made_up(prompt, labels, simulated, chance)) for prompt in prompts]


def _made_up(prompt: Prompt, labels: Sequence[str], share: float, chance: random.Random) -> Guess:
    """Each label gets noise, the right one a signal on top; what follows from that by Bayes is the guess."""
    signal = 1.2 + 3.0 * share
    seen = {label: chance.gauss(signal if label == prompt.label else 0.0, 1.0) for label in labels}
    weighed = {label: math.exp(signal * value) for label, value in seen.items()}
    total = sum(weighed.values())
    likely = {label: value / total for label, value in weighed.items()}
    tasks: dict[Task, float] = defaultdict(float)
    for label, value in likely.items():
        tasks[LABELS[label]] += value
    task = max(tasks, key=lambda each: tasks[each])
    subtask = max((each for each in likely if LABELS[each] is task), key=lambda each: likely[each])
    return Guess(task, tasks[task], "", subtask if "/" in subtask else "", likely)


def scored(
    tables: Sequence[Table], prompts: Sequence[Prompt], guesses: Sequence[tuple[Prompt, Guess]]
) -> dict[str, Score]:
    """By kind: how often a table comes out below its best candidate, and how much of the possible gain is had."""
    scores: dict[str, Score] = defaultdict(Score)
    for table in tables:
        asked = [(prompt, guess) for prompt, guess in guesses if prompt.label in table.labels]
        if not asked:
            continue
        shown = {row.id: row.quality for row in table.rows}
        single = max(shown, key=lambda each: statistics.fmean(table.truth[each][p.label] for p, _ in asked))
        alone = statistics.fmean(table.truth[single][prompt.label] for prompt, _ in asked)
        best = {label: _best_at(label, table) for label in table.labels}
        perfect = statistics.fmean(table.truth[best[prompt.label]][prompt.label] for prompt, _ in asked)
        picks = [(prompt, choose(guess, table.rows).id) for prompt, guess in asked]
        had = statistics.fmean(table.truth[pick][prompt.label] for prompt, pick in picks)
        score = scores[table.kind]
        score.tables += 1
        score.below += had < alone - 1e-9
        score.worst = min(score.worst, had - alone)
        score.gained += had - alone
        score.possible += perfect - alone
        score.left.append(statistics.fmean(pick != single for _, pick in picks))
    return scores


def _best_at(label: str, table: Table) -> str:
    """What perfect labels choose from what is shown."""
    return min(table.rows, key=lambda row: (-(lookup(named(row.quality), label) or 0.0), row.params_b, row.id)).id


def made(labels: Sequence[str], number: int, chance: random.Random) -> list[Table]:
    """So many tables of each kind."""
    tables = [kind(labels, chance) for kind in KINDS for _ in range(number)]
    return tables + [table for _ in range(number) if (table := published(chance))]


def _table(kind: str, truth: Mapping[str, Quality], show: Callable[[Quality], Quality], chance: random.Random) -> Table:
    rows = [Row(name, chance.choice((0, 3, 8, 70)), show(quality)) for name, quality in truth.items()]
    labels = sorted(next(iter(truth.values())))
    return Table(kind, rows, truth, labels)


def _drawn(labels: Sequence[str], chance: random.Random, of_task: float, of_label: float) -> dict[str, Quality]:
    """Candidates with a level of their own, another for each task, another for each label."""
    found = dict[str, Quality]()
    for n in range(chance.randrange(2, 12)):
        level, tasks = chance.gauss(0.55, 0.05), dict[str, float]()
        quality = dict[str, float]()
        for label in labels:
            task = tasks.setdefault(label.partition("/")[0], chance.gauss(0, of_task))
            quality[label] = min(max(level + task + chance.gauss(0, of_label), 0.0), 1.0)
        found[f"m{n}"] = quality
    return found


def _with_mean(quality: Quality) -> Quality:
    return quality | {"*": statistics.fmean(quality.values())}


def _coarsely(quality: Quality) -> Quality:
    tasks: dict[str, list[float]] = defaultdict(list)
    for label, value in quality.items():
        tasks[label.partition("/")[0]].append(value)
    return {task: statistics.fmean(values) for task, values in tasks.items()}


def mixed(labels: Sequence[str], chance: random.Random) -> Table:
    """Each differs by task and by label; every label is shown, and the mean."""
    return _table("mixed", _drawn(labels, chance, 0.12, 0.08), _with_mean, chance)


def unmeaned(labels: Sequence[str], chance: random.Random) -> Table:
    """The same without a mean."""
    return _table("without a mean", _drawn(labels, chance, 0.12, 0.08), dict, chance)


def coarse(labels: Sequence[str], chance: random.Random) -> Table:
    """Only tasks are shown, and labels do not differ within them."""
    return _table("coarse", _drawn(labels, chance, 0.15, 0.0), lambda q: _with_mean(_coarsely(q)), chance)


def specialists(labels: Sequence[str], chance: random.Random) -> Table:
    """Each is very good at one task and awful at the others, beside one that is fair at all."""
    truth = {"fair": dict.fromkeys(labels, 0.55)}
    for task in sorted({label.partition("/")[0] for label in labels}):
        truth[task] = {label: 0.9 if label.partition("/")[0] == task else 0.15 for label in labels}
    return _table("specialists", truth, _with_mean, chance)


def traps(labels: Sequence[str], chance: random.Random) -> Table:
    """Each is only a little better at one task, and very much worse at the others."""
    truth = {"fair": dict.fromkeys(labels, 0.60)}
    for task in sorted({label.partition("/")[0] for label in labels}):
        truth[task] = {label: 0.63 if label.partition("/")[0] == task else 0.05 for label in labels}
    return _table("traps", truth, _with_mean, chance)


def dominated(labels: Sequence[str], chance: random.Random) -> Table:
    """One is better than all the others at everything, by a hair."""
    truth = _drawn(labels, chance, 0.12, 0.08)
    truth["top"] = {label: max(quality[label] for quality in truth.values()) + 0.001 for label in labels}
    return _table("one dominates", truth, _with_mean, chance)


def nearly_equal(labels: Sequence[str], chance: random.Random) -> Table:
    """They differ by a point or so."""
    return _table("nearly equal", _drawn(labels, chance, 0.008, 0.006), _with_mean, chance)


def two_sides(labels: Sequence[str], chance: random.Random) -> Table:
    """Two that are alike on the whole, each the best at half of the labels."""
    half = set(chance.sample(list(labels), len(labels) // 2))
    truth = {
        name: {label: 0.75 if (label in half) is side else 0.45 for label in labels}
        for name, side in (("a", True), ("b", False))
    }
    return _table("two sides", truth, _with_mean, chance)


def partly_shown(labels: Sequence[str], chance: random.Random) -> Table:
    """Of each only some labels are shown, and the mean of all."""

    def some(quality: Quality) -> Quality:
        shown = {label: value for label, value in quality.items() if chance.random() < 0.5}
        return shown | {"*": statistics.fmean(quality.values())}

    return _table("partly shown", _drawn(labels, chance, 0.12, 0.08), some, chance)


def benchmarks(labels: Sequence[str], chance: random.Random) -> Table:
    """What public tables look like: benchmarks as keys, and candidates that differ most by level and by task."""
    truth = _drawn([label for label in labels if label in BENCHMARKS], chance, 0.10, 0.04)
    names = {label: name for name, label in PUBLISHED.items()}
    return _table(
        "benchmarks", truth, lambda q: _with_mean({names.get(key, key): value for key, value in q.items()}), chance
    )


def strange_keys(labels: Sequence[str], chance: random.Random) -> Table:
    """Nothing that is shown is about any label."""
    truth = _drawn(labels, chance, 0.0, 0.0)

    def strange(quality: Quality) -> Quality:
        return {"falconry": chance.random(), "legal": chance.random(), "*": statistics.fmean(quality.values())}

    return _table("strange keys", truth, strange, chance)


def published(chance: random.Random) -> Table | None:
    """Models of the catalogue with their makers' scores, under the names of the benchmarks."""
    models = [
        (model, scores)
        for model in shelf.load().models
        if set(PUBLISHED) <= set(scores := {s.name: s.score / 100 for s in model.scores if s.scale is None})
    ]
    chosen = chance.sample(models, min(len(models), chance.randrange(2, 8)))
    if len(chosen) < 2:
        return None
    rows = [
        Row(model.id, (model.parameters or 0) / 1e9, _with_mean({key: scores[key] for key in PUBLISHED}))
        for model, scores in chosen
    ]
    truth = {model.id: {label: scores[key] for key, label in PUBLISHED.items()} for model, scores in chosen}
    return Table("published", rows, truth, sorted(PUBLISHED.values()))


KINDS = (
    mixed, unmeaned, coarse, specialists, traps, dominated, nearly_equal, two_sides, partly_shown, benchmarks,
    strange_keys,
)  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
