"""The training loop of both stages: a time budget, Muon and AdamW, a moving average, checkpoints and a curve."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from starter_text.train import stop_signals
from torch import Tensor, nn

WARM_UP, FALL = 0.03, 0.5
"""Shares of the budget: the rate rises in the first, and falls to zero in the last."""
EMA_DECAY = 0.99
SAVE_EVERY_S, SHOW_EVERY_S = 120.0, 10.0
LONGEST_STEP_S = 10.0
"""What a step counts for at most, so that a paused process uses up no budget."""
Step = Callable[[int], tuple[Tensor, Tensor]]
"""The loss of step n, and the share of right answers in it."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How long a stage trains (minutes of work, or steps where that is not 0) and how fast it learns."""

    minutes: float
    steps: int = 0
    muon: float = 0.02
    adam: float = 2e-3


@dataclass(slots=True)
class Progress:
    """Where a stage stands; kept in its checkpoint."""

    step: int = 0
    pictures: int = 0
    seconds: float = 0.0
    loss: float = 0.0
    right: float = 0.0


class Stage:
    """One stage: modules, their average, optimizers and progress, saved as a whole in `work`/`name`.pt."""

    def __init__(self, name: str, modules: dict[str, nn.Module], budget: Budget, work: Path) -> None:
        self.name = name
        self.modules = nn.ModuleDict(modules)
        self.budget = budget
        self.path = work / f"{name}.pt"
        self.curve = work / f"{name}.csv"
        self.progress = Progress()
        self.optimizers = self._optimizers()
        self.average = {name: weight.detach().clone() for name, weight in self.modules.named_parameters()}

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        """Muon for the blocks' matrices, AdamW for the rest; "peak" keeps each group's top rate."""
        named = dict(self.modules.named_parameters())
        matrices = [weight for name, weight in named.items() if weight.dim() == 2 and ".blk." in name]
        others = [weight for name, weight in named.items() if weight.dim() != 2 or ".blk." not in name]
        found: list[torch.optim.Optimizer] = [
            torch.optim.Muon(matrices, lr=self.budget.muon, momentum=0.95, nesterov=True, weight_decay=0.02),
            torch.optim.AdamW(others, lr=self.budget.adam, betas=(0.9, 0.98), weight_decay=0.0),
        ]
        for group in (group for one in found for group in one.param_groups):
            group["peak"] = group["lr"]
        return found

    @property
    def done(self) -> float:
        """The share of the budget that is used, 0 to 1."""
        at, budget = self.progress, self.budget
        share = at.step / budget.steps if budget.steps else at.seconds / (budget.minutes * 60)
        return min(1.0, share)

    def rate(self) -> float:
        """The share of the top rate that is learned with now."""
        return min(1.0, max(0.05, self.done / WARM_UP), max(0.0, (1 - self.done) / FALL))

    def save(self) -> None:
        """Write the checkpoint; a cut-off write leaves the old one whole."""
        state = {"weights": self.modules.state_dict(), "average": self.average, "progress": asdict(self.progress),
                 "optimizers": [one.state_dict() for one in self.optimizers]}  # fmt: skip
        fresh = self.path.with_suffix(".new")
        torch.save(state, fresh)
        fresh.replace(self.path)

    def resume(self) -> bool:
        """Go on from the checkpoint, if there is one."""
        if not self.path.exists():
            return False
        state = torch.load(self.path, map_location="cpu", weights_only=True)
        self.modules.load_state_dict(state["weights"])
        self.average = state["average"]
        self.progress = Progress(**state["progress"])
        for one, kept in zip(self.optimizers, state["optimizers"], strict=True):
            one.load_state_dict(kept)
        return True

    def settle(self) -> None:
        """Give the modules their averaged weights."""
        with torch.no_grad():
            for name, weight in self.modules.named_parameters():
                weight.copy_(self.average[name])

    def learn(self, step: Step, pictures: int) -> None:
        """One update from the loss of `pictures` pictures."""
        loss, right = step(self.progress.step)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.modules.parameters(), 1.0)
        for one in self.optimizers:
            for group in one.param_groups:
                group["lr"] = group["peak"] * self.rate()
            one.step()
            one.zero_grad(set_to_none=True)
        at = self.progress
        decay = min(EMA_DECAY, (1 + at.step) / (10 + at.step))
        with torch.no_grad():
            for name, weight in self.modules.named_parameters():
                self.average[name].lerp_(weight, 1 - decay)
        share = 1.0 if at.step == 0 else 0.03
        at.loss += share * (float(loss.detach()) - at.loss)
        at.right += share * (float(right) - at.right)
        at.step += 1
        at.pictures += pictures

    def run(self, step: Step, pictures: int) -> bool:
        """Train to the end of the budget; False when a signal stopped it before. A checkpoint is written either way."""
        clock = saved = shown = time.monotonic()
        with stop_signals() as asked, self.curve.open("a", newline="") as curve:
            while self.done < 1 and not asked:
                self.learn(step, pictures)
                now = time.monotonic()
                self.progress.seconds += min(now - clock, LONGEST_STEP_S)
                clock = now
                if now - shown > SHOW_EVERY_S or self.done >= 1:
                    shown = now
                    self.show()
                    at = self.progress
                    csv.writer(curve).writerow([at.step, at.pictures, round(at.seconds, 1), round(at.loss, 4),
                                                round(at.right, 4)])  # fmt: skip
                    curve.flush()
                if now - saved > SAVE_EVERY_S:
                    saved = now
                    self.save()
            self.save()
        return not asked

    def show(self) -> None:
        """One line of progress."""
        at = self.progress
        speed = at.pictures / max(at.seconds, 1e-9)
        print(f"{self.name} {at.step}  {self.done:6.1%}  loss {at.loss:.3f}  right {at.right:.3f}  "
              f"{at.pictures:,} pictures  {speed:.1f}/s", flush=True)  # fmt: skip
