"""The training loop: two phases on one time or token budget, checkpoints, a moving average of the weights."""

from __future__ import annotations

import csv
import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TextIO

import numpy as np
import torch
from torch import nn

from starter_text.data import Corpus, fill_rows
from starter_text.model import Llama
from starter_text.sources import Phase

WARM_UP, SECOND_PHASE, LONG_ROWS = 0.02, 0.35, 0.9  # shares of the budget
EMA_DECAY = 0.98


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how to train; the budget is minutes of work or a number of tokens.

    A further run begins with trained weights: it practises at ``peak`` times the usual rate, which falls all the time.
    """

    minutes: float
    tokens: int
    rows: int
    micro_rows: int
    length: int
    device: str
    optimizer: str
    seed: int
    compiled: bool = False
    is_further: bool = False
    is_full: bool = False
    peak: float = 1.0
    save_every_s: float = 180.0


@dataclass(slots=True)
class Progress:
    """Where a run stands; kept in the checkpoint."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    first_loss: float = math.nan
    loss: float = math.nan


def done_share(plan: Plan, at: Progress) -> float:
    """The share of the budget that is used, 0 to 1."""
    share = at.tokens / plan.tokens if plan.tokens else at.seconds / (plan.minutes * 60)
    return min(1.0, share)


def rate(plan: Plan, share: float) -> float:
    """Warm-up, then flat, then linear to zero over the second phase; a further run has no flat part."""
    if share < WARM_UP:
        return plan.peak * max(0.05, share / WARM_UP)
    falls_from = WARM_UP if plan.is_further else SECOND_PHASE
    return plan.peak * min(1.0, (1 - share) / (1 - falls_from))


def phase_of(plan: Plan, share: float) -> Phase:
    """Which mix of sources is read."""
    if plan.is_further:
        return "further"
    if plan.is_full:
        return "full second" if share >= SECOND_PHASE else "full first"
    return "second" if share >= SECOND_PHASE else "first"


def optimizers(model: Llama, kind: str) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices with AdamW for the rest, or AdamW alone; "peak" keeps each group's top rate."""
    matrices = [weight for weight in model.blk.parameters() if weight.dim() == 2]
    norms = [weight for weight in model.parameters() if weight.dim() < 2]
    table = [model.token_embd.weight]
    plain = [{"params": norms, "weight_decay": 0.0}, {"params": table, "weight_decay": 0.01}]
    found: list[torch.optim.Optimizer] = []
    if kind == "muon":
        found.append(torch.optim.Muon(matrices, lr=0.02, momentum=0.95, nesterov=True, weight_decay=0.1))
    else:
        plain.append({"params": matrices, "weight_decay": 0.1})
    found.append(torch.optim.AdamW(plain, lr=3e-3, betas=(0.9, 0.95)))
    for group in (group for one in found for group in one.param_groups):
        group["peak"] = group["lr"]
    return found


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """A list that gets the signal's number when Ctrl+C or a termination asks the loop to stop after its step."""
    asked: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        asked.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Trainer:
    """One run: model, average, optimizers and progress, saved as a whole in `work`/checkpoint.pt."""

    def __init__(self, model: Llama, corpora: dict[str, Corpus], plan: Plan, work: Path) -> None:
        self.model = model.to(plan.device)
        self.corpora = corpora
        self.plan = plan
        self.work = work
        self.progress = Progress()
        self.optimizers = optimizers(model, plan.optimizer)
        self.average = {name: weight.detach().clone() for name, weight in model.named_parameters()}
        self.loss = torch.compile(model.loss) if plan.compiled else model.loss

    def save(self) -> None:
        """Write the checkpoint; a cut-off write leaves the old one whole."""
        state = {"model": self.model.state_dict(), "average": self.average, "progress": vars_of(self.progress),
                 "optimizers": [one.state_dict() for one in self.optimizers]}  # fmt: skip
        fresh = self.work / "checkpoint.new"
        torch.save(state, fresh)
        fresh.replace(self.work / "checkpoint.pt")

    def resume(self) -> None:
        """Go on from the checkpoint."""
        state = torch.load(self.work / "checkpoint.pt", map_location=self.plan.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average = state["average"]
        self.progress = Progress(**state["progress"])
        for one, kept in zip(self.optimizers, state["optimizers"], strict=True):
            one.load_state_dict(kept)

    def batch(self, share: float) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The rows of this step in micro-batches; what they hold follows from the seed and the step alone."""
        rng = np.random.default_rng((self.plan.seed, self.progress.step))
        length = self.model.shape.context if share >= LONG_ROWS else self.plan.length
        rows = max(1, self.plan.rows * self.plan.length // length)
        micro = max(1, self.plan.micro_rows * self.plan.length // length)
        inputs, targets = fill_rows(self.corpora, phase_of(self.plan, share), rows, length, rng)
        for start in range(0, rows, micro):
            part = slice(start, start + micro)
            yield (
                torch.from_numpy(inputs[part]).to(self.plan.device),
                torch.from_numpy(targets[part]).to(self.plan.device),
            )

    def step(self) -> float:
        """One update of the weights; returns the loss."""
        share = done_share(self.plan, self.progress)
        parts = list(self.batch(share))
        learned = sum(int((targets >= 0).sum()) for _, targets in parts)
        total = 0.0
        for inputs, targets in parts:
            with torch.autocast(self.plan.device, dtype=torch.bfloat16):
                loss = self.loss(inputs, targets) * (int((targets >= 0).sum()) / learned)
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
            self.progress.tokens += inputs.numel()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for one in self.optimizers:
            for group in one.param_groups:
                group["lr"] = group["peak"] * rate(self.plan, share)
            one.step()
            one.zero_grad(set_to_none=True)
        decay = min(EMA_DECAY, (1 + self.progress.step) / (10 + self.progress.step))
        with torch.no_grad():
            for name, weight in self.model.named_parameters():
                self.average[name].lerp_(weight, 1 - decay)
        self.progress.step += 1
        return total

    def run(self) -> bool:
        """Train to the end of the budget; False when a signal stopped it before. Either way a checkpoint is written."""
        clock = saved = shown = time.monotonic()
        with stop_signals() as asked, (self.work / "curve.csv").open("a", newline="") as curve:
            while done_share(self.plan, self.progress) < 1 and not asked:
                loss = self.step()
                now = time.monotonic()
                self.progress.seconds += now - clock
                clock = now
                self.note(loss)
                if now - shown > 10:
                    shown = now
                    self.show(curve)
                if now - saved > self.plan.save_every_s:
                    saved = now
                    self.save()
            self.show(curve)
            self.save()
        return not asked

    def note(self, loss: float) -> None:
        """Keep the first loss and a running mean of the loss."""
        at = self.progress
        if math.isnan(at.first_loss):
            at.first_loss = at.loss = loss
        at.loss += 0.02 * (loss - at.loss)

    def show(self, curve: TextIO) -> None:
        """One progress line, and one row of the curve."""
        at = self.progress
        share = done_share(self.plan, at)
        left = at.seconds / max(share, 1e-9) * (1 - share)
        speed = at.tokens / max(at.seconds, 1e-9)
        print(f"step {at.step}  {share:6.1%}  loss {at.loss:.3f}  {at.tokens / 1e6:.2f} M tokens  {speed:,.0f} tok/s  "
              f"{left / 60:.1f} min left", flush=True)  # fmt: skip
        csv.writer(curve).writerow(
            [at.step, at.tokens, round(at.seconds, 1), round(at.loss, 4), round(rate(self.plan, share), 4)]
        )


def vars_of(progress: Progress) -> dict[str, float]:
    """The progress as plain numbers."""
    return {name: getattr(progress, name) for name in Progress.__slots__}
