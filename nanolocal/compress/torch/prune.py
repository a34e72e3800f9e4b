"""Smaller models by leaving parts out: whole layers, channels of the feed-forward parts, heads.

Layers are chosen by what the model loses without each (KL from the original), channels by the size of their activation
times that of their column (Minitron, arXiv 2407.14679, section 2.2), heads by what they add to the output of attention.
What stays of a matrix that lost columns is refitted by least squares, so that its output stays as it was on the text.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nanolocal.compress.torch.divergence import batches, divergences
from nanolocal.compress.torch.model import Model
from nanolocal.compress.torch.shape import Shape
from nanolocal.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

_RIDGES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""How firmly fitted columns are held to what they were, as shares of the mean of the activations' squares."""

_GRAMS_BYTES = 2**30
"""Of ``grams`` that are held at once; those of more layers are summed up in further passes over the text."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What is left after pruning; 0 leaves a part as it is. ``heads`` are those that ask, in all."""

    layers: int = 0
    hidden: int = 0
    heads: int = 0
    kv_heads: int = 0

    def of(self, shape: Shape) -> Goal:
        """The goal in numbers; raises ``UsageError`` for one that ``shape`` cannot be brought to."""
        goal = Goal(
            self.layers or shape.layers,
            self.hidden or shape.hidden,
            self.heads or shape.heads * (self.kv_heads or shape.kv_heads) // shape.kv_heads,
            self.kv_heads or shape.kv_heads,
        )
        now = (shape.layers, shape.hidden, shape.heads, shape.kv_heads)
        if any(not 0 < wanted <= there for wanted, there in zip(dataclasses.astuple(goal), now, strict=True)):
            raise UsageError(f"a model of {shape.layers} layers, {shape.hidden} channels and {shape.heads} heads for "
                             f"{shape.kv_heads} of keys cannot be pruned to {dataclasses.astuple(goal)}",
                             "ask for less than there is, and for at least one of each")  # fmt: skip
        if goal.heads % goal.kv_heads or goal.heads // goal.kv_heads > shape.heads // shape.kv_heads:
            raise UsageError(f"{goal.heads} heads cannot share {goal.kv_heads} heads of keys", "ask for a multiple")
        if shape.architecture == "qwen2" and goal.heads != shape.heads:
            raise UsageError("qwen2 models need all their heads", "prune layers or channels")
        return goal

    def towards(self, shape: Shape, share: float) -> Goal:
        """The goal of a part of the way from ``shape``, channels rounded to 32; all of it at a share of 1."""
        goal = self.of(shape)
        if share >= 1:
            return goal
        layers = shape.layers - int((shape.layers - goal.layers) * share)
        hidden = shape.hidden - int((shape.hidden - goal.hidden) * share) // 32 * 32
        kv_heads = shape.kv_heads - int((shape.kv_heads - goal.kv_heads) * share)
        group = shape.heads // shape.kv_heads
        each = group - int((group - goal.heads // goal.kv_heads) * share)
        return Goal(layers, hidden, each * kv_heads, kv_heads)


def prune(
    model: Model,
    goal: Goal,
    tokens: np.ndarray,
    *,
    teacher: Model | None = None,
    refits: bool = True,
    tell: Callable[[float], None] = lambda _: None,
) -> Model:
    """A smaller model with weights of its own, chosen on ``tokens`` (rows, length).

    ``teacher`` is what leaving out a layer is measured against, the model itself if none. ``refits`` fits what stays.
    """
    goal = goal.of(model.shape)
    if goal.layers < model.shape.layers:
        model = fewer_layers(model, goal.layers, tokens, teacher=teacher, tell=tell)
    if goal.hidden < model.shape.hidden:
        model = narrower(model, goal.hidden, tokens, refits=refits)
    if goal.heads < model.shape.heads:
        model = fewer_heads(model, goal.heads, goal.kv_heads, tokens, refits=refits)
    return model.copy()


def fewer_layers(
    model: Model,
    count: int,
    tokens: np.ndarray,
    *,
    teacher: Model | None = None,
    tell: Callable[[float], None] = lambda _: None,
) -> Model:
    """``model`` with ``count`` layers left: again and again the one goes whose loss costs least."""
    original, total = teacher or model, model.shape.layers - count
    for done in range(total):
        damage = leave_one_out(model, tokens, teacher=original)
        model = without_layers(model, {int(np.argmin(damage))})
        tell((done + 1) / total)
    return model


def leave_one_out(model: Model, tokens: np.ndarray, *, teacher: Model | None = None) -> list[float]:
    """For each layer the mean KL in nats from ``teacher`` (else the model) of the model without it."""
    import torch

    original, shape = teacher or model, model.shape
    sums = np.zeros(shape.layers)
    with torch.inference_mode():
        for rows in batches(tokens, shape.vocabulary):
            wanted = original.logits(rows)
            states = model.embed(rows)
            for layer in range(shape.layers):
                left = states
                for later in range(layer + 1, shape.layers):
                    left = model.layer(left, later)
                sums[layer] += float(divergences(wanted, model.head(model.finish(left))).sum())
                states = model.layer(states, layer)
    return [float(value) for value in sums / tokens.size]


def without_layers(model: Model, layers: Collection[int]) -> Model:
    """``model`` without these layers; the others are numbered anew and keep their weights and windows."""
    shape = model.shape
    kept = [layer for layer in range(shape.layers) if layer not in layers]
    if not kept:
        raise UsageError("a model needs a layer", "leave at least one")
    windowed = tuple(shape.windowed[layer] for layer in kept) if shape.windowed else ()
    smaller = dataclasses.replace(shape, layers=len(kept), windowed=windowed)
    renamed = {name: name for name in model.weights if not name.startswith("blk.")}
    for name in (name for name in model.weights if name.startswith("blk.")):
        _, number, part = name.split(".", 2)
        if int(number) in kept:
            renamed[name] = f"blk.{kept.index(int(number))}.{part}"
    weights = {new: model.weights[old] for old, new in renamed.items()}
    kinds = {new: model.kinds[old] for old, new in renamed.items() if old in model.kinds}
    return _rescaled(Model(smaller, weights, kinds), shape.attention_scale)


def _rescaled(model: Model, before: float) -> Model:
    """Put into the queries what llama.cpp no longer does: it tells the 27B models by their number of layers."""
    factor = before / model.shape.attention_scale
    if factor != 1.0:
        part = "attn_q_norm" if "blk.0.attn_q_norm.weight" in model.weights else "attn_q"
        for layer in range(model.shape.layers):
            name = f"blk.{layer}.{part}.weight"
            model.weights[name] = model.weights[name] * factor
    return model


def narrower(model: Model, hidden: int, tokens: np.ndarray, *, refits: bool = True) -> Model:
    """``model`` with ``hidden`` channels in the feed-forward part of each layer."""
    names = [f"blk.{layer}.ffn_down.weight" for layer in range(model.shape.layers)]
    weights = dict(model.weights)
    for layer, (name, halves) in enumerate(_in_turn(model, tokens, names)):
        parts, down = [half[name] for half in halves], weights[name]
        gram = parts[0] + parts[1]
        importance = gram.diagonal().clamp_min(0).sqrt() * down.double().norm(dim=0)
        keep = importance.topk(hidden).indices.sort().values
        weights[name] = _fitted(down, parts, keep) if refits else down[:, keep]
        for part in ("ffn_gate.weight", "ffn_up.weight", "ffn_gate.bias", "ffn_up.bias"):
            _keep_rows(weights, f"blk.{layer}.{part}", keep)
    return Model(dataclasses.replace(model.shape, hidden=hidden), weights, dict(model.kinds))


def fewer_heads(model: Model, heads: int, kv_heads: int, tokens: np.ndarray, *, refits: bool = True) -> Model:
    """``model`` with ``kv_heads`` heads of keys and values and ``heads`` that ask, as many for each of those."""
    shape = model.shape
    Goal(heads=heads, kv_heads=kv_heads).of(shape)
    names = [f"blk.{layer}.attn_output.weight" for layer in range(shape.layers)]
    weights = dict(model.weights)
    for layer, (name, halves) in enumerate(_in_turn(model, tokens, names)):
        parts, output = [half[name] for half in halves], weights[name]
        gram = parts[0] + parts[1]
        importance = gram.diagonal().clamp_min(0) * output.double().square().sum(dim=0)
        each = importance.view(shape.kv_heads, shape.heads // shape.kv_heads, shape.head_size).sum(-1)
        groups = each.sum(-1).topk(kv_heads).indices.sort().values
        chosen = each[groups].topk(heads // kv_heads, dim=1).indices.sort(dim=1).values
        asking = (groups[:, None] * (shape.heads // shape.kv_heads) + chosen).flatten()
        rows, kv_rows = _spread(asking, shape.head_size), _spread(groups, shape.head_size)
        weights[name] = _fitted(output, parts, rows) if refits else output[:, rows]
        for part, keep in (("q", rows), ("k", kv_rows), ("v", kv_rows)):
            _keep_rows(weights, f"blk.{layer}.attn_{part}.weight", keep)
            _keep_rows(weights, f"blk.{layer}.attn_{part}.bias", keep)
    smaller = Model(dataclasses.replace(shape, heads=heads, kv_heads=kv_heads), weights, dict(model.kinds))
    return _rescaled(smaller, shape.attention_scale)


def grams(model: Model, tokens: np.ndarray, names: Sequence[str]) -> dict[str, Tensor]:
    """For each named matrix X^T X (columns, columns), float64, of all inputs X it gets on ``tokens``."""
    import torch

    found = {name: torch.zeros(model.weights[name].shape[1], model.weights[name].shape[1]).double() for name in names}

    def add(name: str, states: Tensor) -> None:
        if name in found:
            flat = states.flatten(0, 1)
            found[name] += (flat.T @ flat).double()

    watched = dataclasses.replace(model, watch=add)
    with torch.no_grad():
        for rows in batches(tokens, model.shape.vocabulary):
            watched.states(rows)
    return found


def grams_bytes(columns: int, layers: int) -> int:
    """Memory for the ``grams`` of both halves of the text, of as many of the layers as are held at once."""
    return 16 * columns**2 * min(layers, _at_once(columns))


def _at_once(columns: int) -> int:
    return max(1, _GRAMS_BYTES // (16 * columns**2))


def _in_turn(
    model: Model, tokens: np.ndarray, names: Sequence[str]
) -> Iterator[tuple[str, tuple[dict[str, Tensor], dict[str, Tensor]]]]:
    """Each name with grams that hold its own, of both halves of the text."""
    count = _at_once(model.weights[names[0]].shape[1])
    for start in range(0, len(names), count):
        halves = _halves(model, tokens, names[start : start + count])
        yield from ((name, halves) for name in names[start : start + count])


def _halves(model: Model, tokens: np.ndarray, names: Sequence[str]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """``grams`` of every other row, and of the rest; both of all where there is but one."""
    return grams(model, tokens[::2], names), grams(model, tokens[1::2] if len(tokens) > 1 else tokens, names)


def _fitted(weight: Tensor, halves: Sequence[Tensor], keep: Tensor) -> Tensor:
    """These columns of ``weight``, fitted so that its output on the text changes least.

    How firmly they are held to what they were is what does best on one half when fitted to the other; where nothing
    does better than to leave them, as on very little text, they stay.
    """
    import torch

    one, other = halves
    plain = weight[:, keep].double()

    def left(columns: Tensor) -> float:
        change = -weight.double()
        change[:, keep] += columns
        return float(((change @ other) * change).sum())

    tried = {ridge: left(_solved(weight, one, keep, ridge)) for ridge in _RIDGES}
    best = min(tried, key=tried.__getitem__)
    found: Tensor = _solved(weight, one + other, keep, best) if tried[best] < left(plain) else plain
    return found.to(torch.float32)


def _solved(weight: Tensor, gram: Tensor, keep: Tensor, share: float) -> Tensor:
    """(W H[:, keep] + r W[:, keep]) (H[keep, keep] + r)^-1 in float64."""
    import torch

    ridge = share * float(gram.diagonal().mean())
    inner = gram[keep][:, keep] + ridge * torch.eye(len(keep), dtype=gram.dtype)
    wanted = weight.double() @ gram[:, keep] + ridge * weight[:, keep].double()
    solved: Tensor = torch.linalg.solve(inner, wanted.T)
    return solved.T


def _keep_rows(weights: dict[str, Tensor], name: str, keep: Tensor) -> None:
    if name in weights:
        weights[name] = weights[name][keep]


def _spread(heads: Tensor, size: int) -> Tensor:
    """The rows of these heads."""
    from torch import arange

    return (heads[:, None] * size + arange(size)).flatten()
