"""A small model of any family from text, with the vocabulary of a build that is there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nanolocal.compress.torch.files import tensors_of
from nanolocal.compress.torch.loop import Plan, Stop, Tell, Trained, never, no_telling, train
from nanolocal.compress.torch.model import OUTPUT, Model
from nanolocal.compress.torch.shape import Shape
from nanolocal.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

_SPREAD = 0.02
_USUAL_RATE = 3e-3


def fresh(shape: Shape, seed: int = 0, *, has_own_output: bool = False) -> Model:
    """A model of random weights. ``has_own_output`` gives it an output matrix beside its embeddings, where it may."""
    import torch

    if has_own_output and shape.architecture in ("gemma", "gemma2"):
        raise UsageError(f"{shape.architecture} has no output matrix of its own", "leave it out")
    random = torch.Generator().manual_seed(seed)
    wanted = [OUTPUT] if has_own_output else []
    if shape.architecture == "qwen2":
        wanted += [f"blk.{layer}.attn_{part}.bias" for layer in range(shape.layers) for part in "qkv"]
    weights = {}
    for name, size in tensors_of(shape, wanted).items():
        if name.endswith("norm.weight"):
            weights[name] = torch.ones(size)
        elif len(size) == 1:
            weights[name] = torch.zeros(size)
        else:
            is_last = name.endswith(("attn_output.weight", "ffn_down.weight"))
            spread = _SPREAD / (2 * shape.layers) ** 0.5 if is_last else _SPREAD
            weights[name] = torch.randn(size, generator=random) * spread
    return Model(shape, weights)


def learn(model: Model, tokens: np.ndarray, plan: Plan, tell: Tell = no_telling, stop: Stop = never) -> Trained:
    """Teach ``model`` to continue ``tokens`` (rows, length), each row a text or a piece of one.

    A ``rate`` of 0 in ``plan`` is one for a small model that begins as noise.
    """
    if not plan.rate:
        plan = replace(plan, rate=_USUAL_RATE)

    def loss(rows: Tensor) -> Tensor:
        return cross_entropy(model, rows)

    return train(dict(model.parameters()), loss, tokens, plan, tell, stop)


def cross_entropy(model: Model, rows: Tensor) -> Tensor:
    """Mean negative log-likelihood, in nats, of each token of ``rows`` (batch, length) after those before it."""
    from torch.nn import functional

    logits = model.logits(rows[:, :-1])
    return functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
