"""The training loop that every stage of the starter image pipeline shares: time budget, averages, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import torch
from starter_parts import Plan
from torch import Tensor

SAVE_EVERY_S = 180.0
CURVE_EVERY = 20
DECAY = 0.998


@dataclass(slots=True)
class Run:
    """One training: its options, its seeds and what both stages have in common."""

    plan: Plan
    work: Path
    minutes: float
    device: torch.device
    seed: int
    goes_on: bool = False
    stopped: bool = False

    def stop(self, _number: int, _frame: FrameType | None) -> None:
        """Ask the stage that runs to save and end."""
        self.stopped = True


@dataclass(slots=True)
class Stage:
    """Where a stage stands: steps taken, samples seen, seconds spent, and a running mean of the loss."""

    name: str
    seconds: float
    rate: float
    step: int = 0
    samples: int = 0
    spent: float = 0.0
    loss: float = 0.0
    curve: list[tuple[int, float]] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """Whether the stage's time is used up."""
        return self.spent >= self.seconds

    @property
    def part(self) -> float:
        """How much of the stage's time is used, 0 to 1."""
        return min(1.0, self.spent / self.seconds)

    def note(self, loss: float, count: int, seconds: float) -> None:
        """Count one step."""
        self.step += 1
        self.samples += count
        self.spent += seconds
        self.loss = loss if self.step == 1 else 0.98 * self.loss + 0.02 * loss
        if self.step % CURVE_EVERY == 0:
            self.curve.append((self.samples, self.loss))

    def line(self) -> str:
        """One line of progress."""
        left = max(0.0, self.seconds - self.spent)
        speed = self.samples / max(self.spent, 1e-9)
        return f"{self.name} step {self.step} loss {self.loss:.4f} {speed:.1f} samples/s {left / 60:.1f} min left"


class Average:
    """The exponential moving average of several modules' parameters."""

    def __init__(self, modules: list[torch.nn.Module]) -> None:
        self.modules = modules
        self.values = [parameter.detach().clone() for parameter in self._parameters()]
        self.count = 0

    def _parameters(self) -> list[Tensor]:
        return [parameter for module in self.modules for parameter in module.parameters()]

    def update(self) -> None:
        """Take in the present parameters; early ones are forgotten sooner."""
        self.count += 1
        decay = min(DECAY, (1 + self.count) / (10 + self.count))
        with torch.no_grad():
            torch._foreach_lerp_(self.values, self._parameters(), 1 - decay)

    def copy_into_modules(self) -> None:
        """Replace the modules' parameters by their averages."""
        with torch.no_grad():
            for parameter, value in zip(self._parameters(), self.values, strict=True):
                parameter.copy_(value)


def train_stage(
    run: Run, stage: Stage, modules: list[torch.nn.Module], loss_of: Callable[[int], tuple[Tensor, int]]
) -> None:
    """Run one stage to its time, saving every few minutes; the modules end as their averages when it is done."""
    if run.stopped:
        return
    weights = [parameter for module in modules for parameter in module.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=stage.rate, weight_decay=0.01, fused=True)
    average = Average(modules)
    checkpoint = run.work / f"{stage.name}.pt"
    if checkpoint.exists():
        load_stage(checkpoint, stage, modules, optimizer, average)
    began, saved = stage.step, time.monotonic()
    while not stage.done and not run.stopped:
        started = time.monotonic()
        warm = min(1.0, (stage.step + 1) / 40)
        for group in optimizer.param_groups:
            group["lr"] = stage.rate * warm * (0.02 + 0.98 * min(1.0, 1.6 * (1 - stage.part)))
        loss, count = loss_of(stage.step)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        average.update()
        stage.note(loss.item(), count, time.monotonic() - started)
        if stage.step % 50 == 0:
            print(stage.line(), flush=True)
        if time.monotonic() - saved > SAVE_EVERY_S:
            save_stage(checkpoint, stage, modules, optimizer, average)
            saved = time.monotonic()
    if began != stage.step or not checkpoint.exists():
        save_stage(checkpoint, stage, modules, optimizer, average)
    print(stage.line(), "done" if stage.done else "stopped, resume with --resume", flush=True)
    average.copy_into_modules()


def save_stage(
    path: Path, stage: Stage, modules: list[torch.nn.Module], optimizer: torch.optim.Optimizer, average: Average
) -> None:
    """Write a checkpoint whole or not at all."""
    counts = {
        "step": stage.step,
        "samples": stage.samples,
        "spent": stage.spent,
        "loss": stage.loss,
        "curve": stage.curve,
        "average": average.count,
    }
    state = {
        "counts": counts,
        "modules": [m.state_dict() for m in modules],
        "optimizer": optimizer.state_dict(),
        "values": average.values,
    }
    fresh = path.with_suffix(".new")
    torch.save(state, fresh)
    fresh.replace(path)


def load_stage(
    path: Path, stage: Stage, modules: list[torch.nn.Module], optimizer: torch.optim.Optimizer, average: Average
) -> None:
    """Take up a stage where its checkpoint left it."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    for module, values in zip(modules, state["modules"], strict=True):
        module.load_state_dict(values)
    optimizer.load_state_dict(state["optimizer"])
    with torch.no_grad():
        for mine, value in zip(average.values, state["values"], strict=True):
            mine.copy_(value)
    counts = state["counts"]
    average.count = counts["average"]
    stage.step, stage.samples, stage.spent, stage.loss = (counts[key] for key in ("step", "samples", "spent", "loss"))
    stage.curve = counts["curve"]
