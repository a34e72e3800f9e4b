"""How good weights are on rows with known labels, and the temperature that makes their confidence honest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nanolocal.routing.labels import LABELS
from router_tasks.corpus import family
from router_tasks.learn import COLUMN, Floats, Learned, examples_of, known_features, softmax
from router_tasks.rows import Row

TASKS = list(dict.fromkeys(LABELS.values()))
_TASK_OF = np.array([[LABELS[label] is task for task in TASKS] for label in COLUMN], dtype=np.float64)
_TEMPERATURES = np.arange(0.3, 2.01, 0.02)

SURE, RIGHT = 0.7, 0.92
"""What is at least so confident is to be right at least so often, on sources that were left out of training."""


def scores_of(learned: Learned, rows: Sequence[Row]) -> Floats:
    """Raw scores, one row a prompt, one column a label."""
    known = (known_features(example, learned.keys) for example in examples_of(rows))
    return np.array([np.einsum("i,ij->j", values, learned.weights[places]) for places, values in known])


def chances(scores: Floats, temperature: float) -> Floats:
    """Chances by task, one row a prompt."""
    return np.array([np.einsum("i,ij->j", softmax(row / temperature), _TASK_OF) for row in scores])


def is_right(rows: Sequence[Row]) -> Floats:
    """One where a task is right for a prompt, by prompt and task."""
    return np.array([[float(task in {LABELS[label] for label in row.labels}) for task in TASKS] for row in rows])


def figures(scores: Floats, rows: Sequence[Row], temperature: float) -> dict[str, float]:
    """Accuracy by task, and where it is sure the share of prompts and the accuracy on them."""
    shares = chances(scores, temperature)
    right = is_right(rows)[np.arange(len(rows)), shares.argmax(axis=1)]
    sure = shares.max(axis=1) >= SURE
    found = {
        "prompts": len(rows),
        "accuracy": right.mean(),
        "sure": sure.mean(),
        "accuracy where sure": right[sure].mean(),
    }
    return {name: round(float(value), 3) for name, value in found.items()}


def best_temperature(scores: Floats, rows: Sequence[Row]) -> float:
    """The temperature under which the right tasks are likeliest, each source counting alike."""
    right, sources = is_right(rows), np.array([family(row) for row in rows])

    def loss(temperature: float) -> float:
        found = -np.log((chances(scores, temperature) * right).sum(axis=1) + 1e-9)
        return float(np.mean([found[sources == source].mean() for source in sorted(set(sources))]))

    return float(_TEMPERATURES[int(np.argmin([loss(float(t)) for t in _TEMPERATURES]))])


def careful_temperature(scores: Floats, rows: Sequence[Row]) -> float:
    """The least temperature under which a confidence of ``SURE`` is right in ``RIGHT`` of the prompts."""
    right = is_right(rows)

    def is_careful(temperature: float) -> bool:
        shares = chances(scores, temperature)
        sure = shares.max(axis=1) >= SURE
        return float(right[sure, shares[sure].argmax(axis=1)].mean()) >= RIGHT

    return next((float(t) for t in _TEMPERATURES if is_careful(float(t))), float(_TEMPERATURES[-1]))
