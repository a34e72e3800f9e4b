#!/usr/bin/env python3
"""What learning on the device is worth: points of quality against published scores alone, over simulated users.

    scripts/simulate_learning.py [--seeds 25] [--turns 1500] [--mood grumpy]

Builds have a true quality at each task; what is expected of them is off by an error of a given size. Each turn is of
some task, a few of them often and most seldom; the router's own rule picks, the answer is good as often as its build
is, and a quarter of the answers gets a thumb, of which some are wrong. An exam has items like the use, so its figures
are the best that exams can do.
"""

import argparse
import random
import statistics
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from nanolocal.chat.routes import Build, Kind, Tally
from nanolocal.routing import preferences
from nanolocal.routing.case import Candidate, Case
from nanolocal.routing.quality import EVERYTHING, expected_quality
from nanolocal.routing.trust import prior_tries
from nanolocal.vault.experience import WEIGHTS, tallied

TASKS = (
    "chat/short_fact", "chat/explain", "chat/commonsense", "math/word_problem", "math/logic", "code/write",
    "code/debug", "writing/letter", "writing/constrained", "summarize", "translate", "data/table",
)  # fmt: skip
TURNS_A_CHAT, TURNS_A_DAY = 6, 20
DAY = 86_400.0
ERRORS = (0.05, 0.10, 0.20, 0.30)
WAYS = {"thumbs": (True, 0), "exam": (False, 20), "both": (True, 20)}
"""By name: whether there are thumbs, and how many items an exam has."""
MOODS = {"even": (0.25, 0.25), "grumpy": (0.08, 0.35), "kind": (0.30, 0.08)}
"""How many of the answers that seem good, and of those that seem bad, get a thumb."""


@dataclass(frozen=True, slots=True)
class User:
    """The builds as they really are, what is expected of them, how often feedback is wrong and each task comes."""

    truth: Mapping[tuple[str, str], float]
    builds: Sequence[Build]
    wrong: float
    use: Sequence[float]


def main() -> int:
    """Print a table: error of the expectations by way of learning, all turns and the last third."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=25)
    parser.add_argument("--turns", type=int, default=1500)
    parser.add_argument("--builds", type=int, default=8)
    parser.add_argument("--wrong", type=float, default=0.15, help="share of the thumbs that are wrong")
    parser.add_argument("--use", choices=("skewed", "even"), default="skewed", help="how often each task comes")
    parser.add_argument("--mood", choices=MOODS, default="even", help="what gets a thumb")
    args = parser.parse_args()
    print(f"points against expectations alone, {args.seeds} seeds, {args.turns} turns: mean (lowest), last third")
    with ProcessPoolExecutor() as workers:
        for error in ERRORS:
            gains = list(workers.map(partial(gains_of, error=error, args=args), range(args.seeds)))
            cells = []
            for number, name in enumerate(WAYS):
                whole, end = [each[number][0] for each in gains], [each[number][1] for each in gains]
                cells.append(f"{name} {statistics.fmean(whole):+.2f} ({min(whole):+.2f}), {statistics.fmean(end):+.2f}")
            print(f"error {error:.2f}: {'   '.join(cells)}", flush=True)
    return 0


def user(seed: int, error: float, args: argparse.Namespace) -> User:
    """Builds that differ as a whole and by task, and expectations that are off by ``error`` (a standard deviation)."""
    chance = random.Random(f"user {seed}")
    hardness = {task: chance.gauss(0.55, 0.12) for task in TASKS}
    truth, builds = dict[tuple[str, str], float](), list[Build]()
    for n in range(args.builds):
        level, sha256 = chance.gauss(0, 0.06), f"{n:064x}"
        for task in TASKS:
            truth[sha256, task] = _share(hardness[task] + level + chance.gauss(0, 0.08))
        expected = {task: _share(truth[sha256, task] + chance.gauss(0, error)) for task in TASKS}
        builds.append(
            Build(f"m{n}:F16", f"M{n}", Kind.TEXT, Path(f"{n}"), "F16", 10**9, sha256, 10**9, quality=expected)
        )
    use = [1 / rank for rank in range(1, len(TASKS) + 1)] if args.use == "skewed" else [1.0] * len(TASKS)
    return User(truth, builds, args.wrong, chance.sample(use, len(use)))


def gains_of(seed: int, error: float, args: argparse.Namespace) -> list[tuple[float, float]]:
    """For each way of learning, the points that it gains over all turns, and over the last third."""
    of, told = user(seed, error, args), MOODS[args.mood]
    alone = _lived(of, seed, args.turns, told=(0.0, 0.0), items=0)
    gained = list[tuple[float, float]]()
    for thumbs, items in WAYS.values():
        learnt = _lived(of, seed, args.turns, told=told if thumbs else (0.0, 0.0), items=items)
        differences = [100 * (after - before) for before, after in zip(alone, learnt, strict=True)]
        gained.append((statistics.fmean(differences), statistics.fmean(differences[-args.turns // 3 :])))
    return gained


def _lived(of: User, seed: int, turns: int, *, told: tuple[float, float], items: int) -> list[float]:
    """The true quality of every pick."""
    chance = random.Random(f"life {seed}")
    exams = [
        (build.sha256, task, sum(chance.random() < of.truth[build.sha256, task] for _ in range(items)), items)
        for build in of.builds
        for task in TASKS
        if items
    ]
    signals, kept = list[tuple[str, str, str, float, float]](), dict[str, Build]()
    seen = tallied(exams, signals, 0.0)
    had = list[float]()
    for turn in range(turns):
        task = chance.choices(TASKS, of.use)[0]
        heard, luck, mistake = chance.random(), chance.random(), chance.random()
        build = kept.get(task) or kept.setdefault(task, _picked(of.builds, task, seen))
        had.append(of.truth[build.sha256, task])
        is_good = (luck < had[-1]) is not (mistake < of.wrong)
        if heard < told[not is_good]:
            now = turn / TURNS_A_DAY * DAY
            weight = WEIGHTS["good" if is_good else "bad"]
            signals.insert(0, (f"{turn // TURNS_A_CHAT}", build.sha256, task, weight, now))
            seen = tallied(exams, signals, now)
            kept.clear()
    return had


def _picked(builds: Sequence[Build], task: str, seen: Mapping[tuple[str, str], Tally]) -> Build:
    """As the router does, among builds that are equally quick."""
    tasks, prior = {task: 0.9, EVERYTHING: 0.1}, prior_tries(builds, seen)
    candidates = tuple(
        Candidate(
            each.id, {key: expected_quality(each, key, seen.get((each.sha256, key)), prior).value for key in tasks}
        )
        for each in builds
    )
    best = Case(tasks, preferences.weights("balanced", task, holds=False), candidates).ranking()[0]
    return next(each for each in builds if each.id == best.build_id)


def _share(value: float) -> float:
    return min(max(value, 0.02), 0.98)


if __name__ == "__main__":
    sys.exit(main())
