"""Adapters for a quantized build: computed from its error, and trained on what its original predicts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nanolocal.compress.adapters import Pair, low_rank
from nanolocal.compress.torch.distill import rate_for
from nanolocal.compress.torch.divergence import check_same_words, transfer_loss
from nanolocal.compress.torch.loop import Plan, Stop, Tell, Trained, never, no_telling, train
from nanolocal.compress.torch.model import Model
from nanolocal.compress.torch.prune import grams
from nanolocal.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

_SPREAD = 0.02


def compensation(original: Model, quantized: Model, rank: int, tokens: np.ndarray | None = None) -> dict[str, Pair]:
    """Pairs of at most ``rank`` for all matrices of layers that quantizing changed.

    With ``tokens`` (rows, length) errors count as the inputs on that text see them (EoRA), without all alike (LQER).
    Raises ``UsageError`` when the two models are not of one shape.
    """
    if original.shape != quantized.shape:
        raise UsageError("the two builds are not of one model", "give the build that the other was made from")
    names = [name for name in original.matrices() if not _is_equal(original, quantized, name)]
    if not names:
        raise UsageError("the two builds do not differ", "give a quantized build")
    products = {} if tokens is None else grams(quantized, tokens, names)
    found = {}
    for name in names:
        error = (original.weights[name] - quantized.weights[name]).numpy()
        gram = products[name].numpy() if name in products else None
        found[name] = low_rank(error, min(rank, *error.shape), gram)
    return found


def _is_equal(one: Model, other: Model, name: str) -> bool:
    return bool((one.weights[name] == other.weights[name]).all())


def fresh_pairs(model: Model, rank: int, seed: int = 0) -> dict[str, Pair]:
    """Pairs that change nothing yet, for all matrices of layers."""
    random = np.random.default_rng(seed)
    found = {}
    for name in model.matrices():
        rows, columns = model.weights[name].shape
        size = min(rank, rows, columns)
        first = (random.standard_normal((size, columns)) * _SPREAD).astype(np.float32)
        found[name] = Pair(first, np.zeros((rows, size), np.float32))
    return found


def with_pairs(model: Model, pairs: dict[str, Pair]) -> Model:
    """The same model, computing with adapters; its own weights are shared."""
    import torch

    adapters = {
        name: (torch.from_numpy(pair.first.copy()), torch.from_numpy(pair.second.copy()))
        for name, pair in pairs.items()
    }
    return Model(model.shape, model.weights, dict(model.kinds), adapters)


def recover(
    teacher: Model,
    quantized: Model,
    pairs: dict[str, Pair],
    tokens: np.ndarray,
    plan: Plan,
    tell: Tell = no_telling,
    stop: Stop = never,
) -> tuple[dict[str, Pair], Trained]:
    """Train ``pairs`` so that ``quantized`` with them predicts what ``teacher`` does on ``tokens`` (rows, length).

    A ``rate`` of 0 in ``plan`` is chosen as for ``distill``.
    """
    check_same_words(teacher, quantized)
    student = with_pairs(quantized, pairs)
    if not plan.rate:
        plan = replace(plan, rate=rate_for(teacher, student, tokens))

    def loss(rows: Tensor) -> Tensor:
        return transfer_loss(teacher, student, rows)

    parameters = {
        f"{name}.lora_{letter}": weight
        for name, pair in student.adapters.items()
        for letter, weight in zip("ab", pair, strict=True)
    }
    trained = train(parameters, loss, tokens, plan, tell, stop)
    return {name: Pair(a.detach().numpy(), b.detach().numpy()) for name, (a, b) in student.adapters.items()}, trained
