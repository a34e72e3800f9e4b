"""A softmax regression over hashed features, by AdaGrad on single rows: the same rows, the same bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nanolocal.routing.features import features_of
from nanolocal.routing.labels import LABELS
from nanolocal.routing.scoring import MARK, weighed
from router_tasks.rows import Row

Floats = NDArray[np.float64]
COLUMN = {label: at for at, label in enumerate(LABELS)}


@dataclass(frozen=True, slots=True)
class Plan:
    """How to train.

    ``first_epochs`` passes choose the ``kept`` features, ``epochs`` passes train them. ``dropout`` is the share of a
    row's features that is left out at random, ``smoothing`` what a right label gives away to the others. ``wordless``
    is the share of steps that see no n-grams, so that shapes, openings and word lists learn to decide without the words
    of the topics trained on. The weights are the mean of ``runs`` trainings in different orders.
    """

    epochs: int = 5
    first_epochs: int = 3
    rate: float = 0.25
    dropout: float = 0.45
    decay: float = 2e-5
    smoothing: float = 0.01
    wordless: float = 0.25
    runs: int = 4
    kept: int = 26_000
    seen_at_least: int = 2
    seed: int = 7


@dataclass(frozen=True, slots=True)
class Example:
    """A row as the learner sees it: keys of features, their values, and the columns that are right."""

    keys: NDArray[np.uint32]
    values: Floats
    right: NDArray[np.intp]
    weight: float


@dataclass(frozen=True, slots=True)
class Learned:
    """Sorted feature keys and their weights, one column a label."""

    keys: NDArray[np.uint32]
    weights: Floats


def examples_of(rows: Sequence[Row]) -> list[Example]:
    """The rows' features, with rare labels weighing more."""
    counts = Counter(label for row in rows for label in row.labels[:1])
    usual = len(rows) / len(counts)
    return [_example(row, min(3.0, max(0.4, (usual / counts[row.labels[0]]) ** 0.5))) for row in rows]


def _example(row: Row, weight: float) -> Example:
    keys, values = weighed(features_of(row.text))
    right = np.array(sorted(COLUMN[label] for label in row.labels), dtype=np.intp)
    return Example(np.array(keys, dtype=np.uint32), np.array(values), right, weight)


def learn(examples: Sequence[Example], plan: Plan) -> Learned:
    """Train on all features, keep the rows of weights that matter, and train those anew."""
    counts = _counts(examples)
    keys = np.array(sorted(key for key, count in counts.items() if count >= plan.seen_at_least), dtype=np.uint32)
    if len(keys) <= plan.kept:
        return Learned(keys, _mean_of_runs(examples, keys, plan))
    weights = _trained(examples, keys, replace(plan, epochs=plan.first_epochs))
    seen = np.array([counts[int(key)] for key in keys], dtype=np.float64)
    matter = np.sqrt(seen) * (weights.max(axis=1) - weights.min(axis=1))
    kept = np.sort(keys[np.argsort(-matter, kind="stable")[: plan.kept]])
    return Learned(kept, _mean_of_runs(examples, kept, plan))


def _mean_of_runs(examples: Sequence[Example], keys: NDArray[np.uint32], plan: Plan) -> Floats:
    runs = [_trained(examples, keys, replace(plan, seed=plan.seed + run)) for run in range(plan.runs)]
    return np.asarray(np.add.reduce(runs) / plan.runs)


def _counts(examples: Sequence[Example]) -> Counter[int]:
    counts: Counter[int] = Counter()
    for example in examples:
        counts.update(example.keys.tolist())
    return counts


def _trained(examples: Sequence[Example], keys: NDArray[np.uint32], plan: Plan) -> Floats:
    """Weights of ``keys`` (rows) by label (columns), averaged over the last half of the passes."""
    rng = np.random.Generator(np.random.PCG64(plan.seed))
    known = [known_features(example, keys) for example in examples]
    weights = np.zeros((len(keys), len(LABELS)))
    steps = np.full((len(keys), len(LABELS)), 1e-3)
    mean = np.zeros_like(weights)
    summed = 0
    for epoch in range(plan.epochs):
        for at in rng.permutation(len(known)):
            seen = _wordless(known[at]) if rng.random() < plan.wordless else known[at]
            _step(seen, examples[at], weights, steps, plan, rng)
        if epoch >= plan.epochs // 2:
            mean += weights
            summed += 1
    return mean / summed


def known_features(example: Example, keys: NDArray[np.uint32]) -> tuple[NDArray[np.intp], Floats]:
    """The example's features that have weights: rows of the weights, and values."""
    places = np.searchsorted(keys, example.keys)
    places[places == len(keys)] = 0
    there = keys[places] == example.keys
    return places[there], example.values[there]


def _wordless(known: tuple[NDArray[np.intp], Floats]) -> tuple[NDArray[np.intp], Floats]:
    rows, values = known
    is_mark = values == MARK
    return rows[is_mark], values[is_mark]


def _step(
    known: tuple[NDArray[np.intp], Floats],
    example: Example,
    weights: Floats,
    steps: Floats,
    plan: Plan,
    rng: np.random.Generator,
) -> None:
    rows, values = known
    stay = rng.random(len(rows)) >= plan.dropout
    rows, values = rows[stay], values[stay] / (1 - plan.dropout)
    old = weights[rows]
    scores = np.einsum("i,ij->j", values, old)
    error = example.weight * (softmax(scores) - _wanted(scores, example.right, plan.smoothing))
    slope = values[:, None] * error[None, :] + plan.decay * old
    history = steps[rows] + slope * slope
    steps[rows] = history
    weights[rows] = old - plan.rate * slope / np.sqrt(history)


def _wanted(scores: Floats, right: NDArray[np.intp], smoothing: float) -> Floats:
    """All weight on the right label; of several right ones, as the model itself parts it."""
    wanted = np.full(len(scores), smoothing / len(scores))
    wanted[right] += (1 - smoothing) * softmax(scores[right])
    return wanted


def softmax(scores: Floats) -> Floats:
    """Shares that sum to one."""
    grown = np.exp(scores - scores.max())
    return np.asarray(grown / grown.sum())
