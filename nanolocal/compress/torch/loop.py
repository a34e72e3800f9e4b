"""One training loop for training, distilling and adapters: a budget of steps or seconds, progress, stop, resume.

The rate rises for some steps, stays, and falls to zero over the last part of all steps. How many steps there are is
settled where the fall begins: a run with a budget of seconds can be repeated to the byte with that many ``steps``.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, cast

import numpy as np

from nanolocal.compress.torch.checkpoints import Checkpoint
from nanolocal.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

WARM_UP = 20
"""Steps in which the rate rises."""
STEADY = 0.6
"""The share of all steps before the rate falls."""
_OVERTIME = 1.2
"""How much longer than its budget a run may take, where the machine has slowed down since its steps were counted."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to train. Of ``steps`` and ``seconds`` one is given; each step reads ``rows`` rows of tokens.

    ``rate`` is the highest one of AdamW, 0 where the work chooses it; matrices of layers are trained with Muon and its
    ``matrix_rate`` where that is not 0. With ``checkpoint``, a file, a run of the same ``identity`` goes on where it
    was cut off.
    """

    steps: int | None = None
    seconds: float | None = None
    rows: int = 12
    rate: float = 0.0
    matrix_rate: float = 0.0
    seed: int = 0
    checkpoint: Path | None = None
    identity: str = ""
    save_every_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands: ``share`` of the whole, a running mean of the loss, seconds left."""

    share: float
    step: int
    loss: float
    left_s: float


@dataclass(frozen=True, slots=True)
class Trained:
    """How a run ended. ``is_whole`` is false when it was stopped, or cut off for lasting too long."""

    steps: int
    seconds: float
    cpu_seconds: float
    loss: float
    is_whole: bool


class _State(TypedDict):
    weights: dict[str, Tensor]
    optimizers: list[dict[str, object]]
    counts: list[int]
    numbers: list[float]


Tell = Callable[[Progress], None]
Stop = Callable[[], bool]


def no_telling(_: Progress) -> None:
    """For who does not want to know."""


def never() -> bool:
    """For who does not stop."""
    return False


def train(
    parameters: Mapping[str, Tensor],
    loss: Callable[[Tensor], Tensor],
    tokens: np.ndarray,
    plan: Plan,
    tell: Tell = no_telling,
    stop: Stop = never,
) -> Trained:
    """Change ``parameters`` so that ``loss`` of rows (batch, length) of ``tokens`` (rows, length) falls.

    Raises ``UsageError`` when there is nothing to train on, ``Damaged`` for a checkpoint of something else.
    """
    if (plan.steps is None) == (plan.seconds is None):
        raise UsageError("a training needs either a number of steps or a time", "give one of both")
    if not plan.rate:
        raise UsageError("a training needs a rate", "give one")
    if tokens.ndim != 2 or not tokens.size or tokens.shape[1] < 2:
        raise UsageError("there is no text to train on", "give more text")
    return _Run(parameters, loss, tokens, plan).run(tell, stop)


class _Run:
    def __init__(
        self, parameters: Mapping[str, Tensor], loss: Callable[[Tensor], Tensor], tokens: np.ndarray, plan: Plan
    ) -> None:
        self._parameters = parameters
        self._loss = loss
        self._tokens = tokens
        self._plan = plan
        for weight in parameters.values():
            weight.requires_grad_(True)
        self._optimizers = _optimizers(parameters, plan)
        self._step, self._steps = 0, plan.steps or 0
        self._seconds = self._cpu = 0.0
        self._mean = math.nan
        self._checkpoint = Checkpoint(plan.checkpoint, self._key())

    def run(self, tell: Tell, stop: Stop) -> Trained:
        self._resume()
        began = saved = time.monotonic()
        began_cpu = time.process_time()
        before, before_cpu = self._seconds, self._cpu
        try:
            while not self._is_done() and not stop():
                self._advance()
                now = time.monotonic()
                self._seconds, self._cpu = before + now - began, before_cpu + time.process_time() - began_cpu
                self._settle()
                tell(self._progress())
                if now - saved > self._plan.save_every_s:
                    saved = now
                    self._save()
        finally:
            for weight in self._parameters.values():
                weight.requires_grad_(False)
        is_whole = bool(self._steps) and self._step >= self._steps
        if is_whole:
            self._checkpoint.clear()
        else:
            self._save()
        return Trained(self._step, self._seconds, self._cpu, self._mean, is_whole)

    def _advance(self) -> None:
        from torch import from_numpy
        from torch.nn.utils import clip_grad_norm_

        factor = rate(self._step, self._steps)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * factor
        rows = self._tokens[picked(self._step, self._plan.rows, len(self._tokens), self._plan.seed)]
        device = next(iter(self._parameters.values())).device
        loss = self._loss(from_numpy(rows.astype(np.int64)).to(device))
        loss.backward()  # type: ignore[no-untyped-call]
        clip_grad_norm_(self._parameters.values(), 1.0)
        for optimizer in self._optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        value = float(loss.detach())
        self._mean = value if math.isnan(self._mean) else self._mean + 0.05 * (value - self._mean)
        self._step += 1

    def _settle(self) -> None:
        """Count the steps once that share of the time is used."""
        if not self._steps and self._seconds >= STEADY * (self._plan.seconds or 0.0):
            self._steps = max(math.ceil(self._step / STEADY), self._step)

    def _is_done(self) -> bool:
        is_late = self._plan.seconds is not None and self._seconds > _OVERTIME * self._plan.seconds
        return is_late or (bool(self._steps) and self._step >= self._steps)

    def _progress(self) -> Progress:
        share = self._step / self._steps if self._steps else self._seconds / (self._plan.seconds or math.inf)
        left = self._seconds / max(share, 1e-9) * (1 - share)
        return Progress(min(share, 1.0), self._step, self._mean, max(left, 0.0))

    def _key(self) -> str:
        """What a checkpoint must agree with."""
        shapes = {name: tuple(weight.shape) for name, weight in self._parameters.items()}
        plan = self._plan
        settings = (plan.steps, plan.rows, plan.rate, plan.matrix_rate, plan.seed, plan.identity)
        text = repr((shapes, settings, self._tokens.shape)).encode()
        return hashlib.sha256(text + np.ascontiguousarray(self._tokens).tobytes()).hexdigest()

    def _save(self) -> None:
        self._checkpoint.save(
            {
                "weights": {name: weight.detach() for name, weight in self._parameters.items()},
                "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
                "counts": [self._step, self._steps],
                "numbers": [self._seconds, self._cpu, self._mean],
            }
        )

    def _resume(self) -> None:
        import torch

        state = cast("_State | None", self._checkpoint.load())
        if state is None:
            return
        with torch.no_grad():
            for name, weight in self._parameters.items():
                weight.copy_(state["weights"][name])
        for optimizer, kept in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        self._step, self._steps = state["counts"]
        self._seconds, self._cpu, self._mean = state["numbers"]


def rate(step: int, steps: int) -> float:
    """The share of the highest rate at ``step``; ``steps`` is 0 while it is not known how many there will be."""
    rising = min(1.0, (step + 1) / WARM_UP)
    fall = int(STEADY * steps)
    if not steps or step < fall:
        return rising
    return rising * (steps - step) / (steps - fall)


def picked(step: int, rows: int, count: int, seed: int) -> list[int]:
    """The rows of a step: all ``count`` in an order drawn from the seed, then in another one, and so on."""
    places = [divmod(number, count) for number in range(step * rows, (step + 1) * rows)]
    orders = {epoch: np.random.default_rng((seed, epoch)).permutation(count) for epoch, _ in places}
    return [int(orders[epoch][place]) for epoch, place in places]


def _optimizers(parameters: Mapping[str, Tensor], plan: Plan) -> Sequence[Optimizer]:
    from torch.optim import AdamW, Muon

    is_turned = {
        name: bool(plan.matrix_rate) and weight.dim() == 2 and name.startswith("blk.")
        for name, weight in parameters.items()
    }
    rest = [weight for name, weight in parameters.items() if not is_turned[name]]
    matrices = [weight for name, weight in parameters.items() if is_turned[name]]
    found: list[Optimizer] = [AdamW(rest, lr=plan.rate, betas=(0.9, 0.95), weight_decay=0.0)]
    if matrices:
        found.append(Muon(matrices, lr=plan.matrix_rate, momentum=0.95, nesterov=True, weight_decay=0.0))
    for group in (group for optimizer in found for group in optimizer.param_groups):
        group["peak"] = group["lr"]
    return found
