"""How far one model's predictions are from another's: Kullback-Leibler divergence, to measure and to learn by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from nanolocal.compress.torch.model import Model
from nanolocal.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

SCORES = 2**24
"""Scores that are held at once (64 MiB as float32); more rows are taken in parts."""


def transfer_loss(teacher: Model, student: Model, rows: Tensor) -> Tensor:
    """Mean KL(teacher || student) in nats over all tokens of ``rows`` (batch, time); gradients reach the student."""
    import torch
    from torch import split
    from torch.utils.checkpoint import checkpoint

    with torch.no_grad():
        wanted = teacher.states(rows).flatten(0, 1)
    found = student.states(rows).flatten(0, 1)

    def part_loss(wanted: Tensor, found: Tensor) -> Tensor:
        with torch.no_grad():
            scores = teacher.head(wanted)
        return divergences(scores, student.head(found)).sum()

    size = max(1, SCORES // student.shape.vocabulary)
    if len(found) <= size:
        return part_loss(wanted, found) / len(found)
    parts = zip(split(wanted, size), split(found, size), strict=True)
    sums = [checkpoint(part_loss, one, other, use_reentrant=False) for one, other in parts]
    return torch.stack(sums).sum() / len(found)


def divergences(wanted: Tensor, found: Tensor) -> Tensor:
    """KL in nats of each row of scores (..., vocabulary) from ``wanted``."""
    from torch import log_softmax
    from torch.nn.functional import kl_div

    logs = log_softmax(wanted, dim=-1)
    return kl_div(log_softmax(found, dim=-1), logs, reduction="none", log_target=True).sum(-1)


def measured(teacher: Model, student: Model, tokens: np.ndarray) -> np.ndarray:
    """KL in nats of each token in the second half of each row of ``tokens`` (rows, length): (rows, length - half).

    What is scored is what llama-perplexity scores.
    """
    import torch

    found = []
    with torch.inference_mode():
        for rows in batches(tokens, student.shape.vocabulary):
            half = rows.shape[1] // 2
            wanted, got = teacher.states(rows)[:, half:], student.states(rows)[:, half:]
            found.append(divergences(teacher.head(wanted), student.head(got)).numpy())
    return np.concatenate(found)


def batches(tokens: np.ndarray, vocabulary: int) -> Iterator[Tensor]:
    """``tokens`` (rows, length) as tensors of as many rows as their scores have room for."""
    from torch import from_numpy

    if tokens.ndim != 2 or not tokens.size:
        raise UsageError("there is no text to measure with", "give more text")
    size = max(1, SCORES // (vocabulary * tokens.shape[1]))
    for start in range(0, len(tokens), size):
        yield from_numpy(tokens[start : start + size].astype(np.int64))


def check_same_words(teacher: Model, student: Model) -> None:
    """Raise ``UsageError`` unless both models have as many tokens."""
    if teacher.shape.vocabulary != student.shape.vocabulary:
        raise UsageError(
            f"the teacher has {teacher.shape.vocabulary} tokens and the student {student.shape.vocabulary}",
            "a student needs the vocabulary of its teacher",
        )
