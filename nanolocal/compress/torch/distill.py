"""What a smaller model lost comes back by learning the predictions of the original: distillation of all its scores."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, cast

import numpy as np

from nanolocal.compress.torch.checkpoints import Checkpoint
from nanolocal.compress.torch.divergence import check_same_words, measured, transfer_loss
from nanolocal.compress.torch.loop import Plan, Progress, Stop, Tell, Trained, never, no_telling, train
from nanolocal.compress.torch.model import Model
from nanolocal.compress.torch.prune import Goal, prune
from nanolocal.compress.torch.shape import Shape

if TYPE_CHECKING:
    from torch import Tensor

_CHOOSING, _SAMPLE = 8192, 2048
"""Tokens on which it is decided what to leave out, and how fast to learn."""
_LOWEST_RATE, _HIGHEST_RATE, _RATE_BY_DISTANCE = 1e-5, 1e-3, 1.5e-3
"""1e-3 suits a model that lost a layer (KL 0.4), for one that lost channels (KL 0.03) it does more harm than good."""


class _State(TypedDict):
    weights: dict[str, Tensor]
    shape: dict[str, Any]
    rounds: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Round:
    """One turn of pruning and recovering: mean held-out KL in nats from the original, and how it was trained."""

    pruned: float
    recovered: float
    trained: Trained

    @property
    def share_recovered(self) -> float:
        """How much of the damage is undone, 0 to 1 (below 0 if it grew)."""
        return 1 - self.recovered / self.pruned if self.pruned else 0.0


def distill(
    teacher: Model, student: Model, tokens: np.ndarray, plan: Plan, tell: Tell = no_telling, stop: Stop = never
) -> Trained:
    """Change ``student`` so that it predicts what ``teacher`` does on ``tokens`` (rows, length).

    The two may differ in all sizes and in architecture. A ``rate`` of 0 in ``plan`` is chosen by how far they are
    apart. Raises ``UsageError`` for different vocabularies.
    """
    check_same_words(teacher, student)
    if not plan.rate:
        plan = dataclasses.replace(plan, rate=rate_for(teacher, student, tokens))

    def loss(rows: Tensor) -> Tensor:
        return transfer_loss(teacher, student, rows)

    return train(dict(student.parameters()), loss, tokens, plan, tell, stop)


def rate_for(teacher: Model, student: Model, tokens: np.ndarray) -> float:
    """The highest rate of AdamW that does not undo what the student can do already.

    What training shakes weights by costs a KL that grows with the square of the rate: for a student that is close to
    its teacher it has to be small beside what there is to win.
    """
    sample = tokens[: max(1, _SAMPLE // tokens.shape[1])]
    distance = float(measured(teacher, student, sample).mean())
    return min(_HIGHEST_RATE, max(_LOWEST_RATE, _RATE_BY_DISTANCE * math.sqrt(distance)))


def shrink(
    teacher: Model,
    goal: Goal,
    tokens: np.ndarray,
    held_out: np.ndarray,
    plan: Plan,
    *,
    rounds: int = 1,
    tell: Tell = no_telling,
    stop: Stop = never,
) -> tuple[Model, list[Round]]:
    """Bring ``teacher`` to ``goal``: prune a little, recover, measure, again, ``rounds`` times on one budget.

    Pruning is decided on the first rows of ``tokens``. Training that does not help is undone. After a stop the model
    is what had been reached.
    """
    goal = goal.of(teacher.shape)
    chosen = tokens[: max(1, _CHOOSING // tokens.shape[1])]
    place = plan.checkpoint and rounds_of(plan.checkpoint)
    kept = Checkpoint(place, repr((goal, rounds, plan.identity, plan.seed)))
    model, done = _kept_rounds(kept, teacher)
    for number in range(len(done), rounds):
        smaller = prune(model, goal.towards(teacher.shape, (number + 1) / rounds), chosen, teacher=teacher)
        before = float(measured(teacher, smaller, held_out).mean())
        told = _share(tell, number, rounds)
        unlearned = smaller.copy()
        trained = distill(teacher, smaller, tokens, _part(plan, number, rounds), told, stop)
        after = float(measured(teacher, smaller, held_out).mean())
        model, after = (smaller, after) if after < before else (unlearned, before)
        done.append(Round(before, after, trained))
        if not trained.is_whole and stop():
            return model, done
        kept.save({"weights": model.weights, "shape": asdict(model.shape), "rounds": [asdict(one) for one in done]})
    kept.clear()
    return model, done


def _kept_rounds(kept: Checkpoint, teacher: Model) -> tuple[Model, list[Round]]:
    """Where the rounds before this one ended, or the beginning."""
    state = cast("_State | None", kept.load())
    if state is None:
        return teacher, []
    shape = Shape(**{**state["shape"], "windowed": tuple(state["shape"]["windowed"])})
    rounds = [Round(one["pruned"], one["recovered"], Trained(**one["trained"])) for one in state["rounds"]]
    return Model(shape, state["weights"], dict(teacher.kinds)), rounds


def rounds_of(checkpoint: Path) -> Path:
    """Where what rounds have reached is kept, beside the checkpoint of the one that runs."""
    return checkpoint.with_name(f"{checkpoint.name}.rounds")


def _part(plan: Plan, number: int, rounds: int) -> Plan:
    """The plan of one round, with a seed and an identity of its own."""
    return dataclasses.replace(
        plan,
        steps=None if plan.steps is None else max(1, plan.steps // rounds),
        seconds=None if plan.seconds is None else plan.seconds / rounds,
        seed=plan.seed + number,
        identity=f"{plan.identity} {number}",
    )


def _share(tell: Tell, number: int, rounds: int) -> Callable[[Progress], None]:
    """Progress of one round as that of the whole."""

    def told(at: Progress) -> None:
        whole = at.left_s / max(1 - at.share, 1e-9) if at.share < 1 else 0.0
        left = at.left_s + whole * (rounds - 1 - number)
        tell(dataclasses.replace(at, share=(number + at.share) / rounds, left_s=left))

    return told
