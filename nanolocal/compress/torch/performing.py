"""How the tasks of the training half are done: only in a child, as torch never comes into the parent.

Written are files that are there, the one given and those of the checkpoint; an isolated child can make none.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nanolocal.compress.adapters import adapter_bytes, write_adapter
from nanolocal.compress.torch.distill import Round, distill, shrink
from nanolocal.compress.torch.divergence import measured
from nanolocal.compress.torch.loop import Progress
from nanolocal.compress.torch.prune import Goal
from nanolocal.compress.torch.tasks import (
    Compensate,
    Compensated,
    Distill,
    Distilled,
    Prune,
    Pruned,
    Result,
    Task,
    Taught,
    Train,
)
from nanolocal.compress.work.values import Chunks, Source
from nanolocal.errors import UsageError

if TYPE_CHECKING:
    from nanolocal.compress.torch.model import Model

Tell = Callable[[float], None]


def perform(task: Task, out: Path, tell: Tell, threads: int = 0) -> Result:
    """Do ``task`` with so many threads (0: torch's own choice), its file written to ``out``.

    ``tell`` gets how much is done, 0..1. Raises ``UsageError`` and ``Damaged`` as reading, pruning and training do.
    """
    import torch

    if threads:
        torch.set_num_threads(threads)
    return _do(task, out, tell)


@singledispatch
def _do(task: Task, out: Path, tell: Tell) -> Result:
    raise UsageError(f"the compression lab has no task {type(task).__name__}", "")


@_do.register
def _(task: Prune, out: Path, tell: Tell) -> Pruned:
    teacher = _read(task.source)
    goal = Goal(task.layers, task.hidden, task.heads, task.kv_heads)
    plan = task.budget.plan(task.checkpoint, task.source.sha256)
    text, held_out = _array(task.text), _array(task.held_out)
    model, rounds = shrink(teacher, goal, text, held_out, plan, rounds=task.rounds, tell=_told(tell))
    return Pruned(tuple(rounds), _write(task, model, task.source, out))


@_do.register
def _(task: Distill, out: Path, tell: Tell) -> Distilled:
    teacher, student = _read(task.source), _read(task.student)
    held_out = _array(task.held_out)
    before = float(measured(teacher, student, held_out).mean())
    plan = task.budget.plan(task.checkpoint, f"{task.source.sha256} {task.student.sha256}")
    trained = distill(teacher, student, _array(task.text), plan, _told(tell))
    after = float(measured(teacher, student, held_out).mean())
    return Distilled(Round(before, after, trained), _write(task, student, task.student, out))


@_do.register
def _(task: Train, out: Path, tell: Tell) -> Taught:
    from nanolocal.compress.torch.train import fresh, learn

    model = fresh(task.shape, task.budget.seed)
    trained = learn(model, _array(task.text), task.budget.plan(task.checkpoint), _told(tell))
    return Taught(trained, _write(task, model, task.source, out))


@_do.register
def _(task: Compensate, out: Path, tell: Tell) -> Compensated:
    from nanolocal.compress.torch.compensate import compensation, fresh_pairs, recover, with_pairs

    original, quantized = _read(task.source), _read(task.quantized)
    text, held_out = _array(task.text), _array(task.held_out)
    is_one_model = original.shape == quantized.shape
    if is_one_model:
        pairs = compensation(original, quantized, task.rank, text if task.by_text else None)
    else:
        pairs = fresh_pairs(quantized, task.rank, task.budget.seed)
    if task.budget.steps or task.budget.seconds or not is_one_model:
        plan = task.budget.plan(task.checkpoint, f"{task.source.sha256} {task.quantized.sha256}")
        pairs, _ = recover(original, quantized, pairs, text, plan, _told(tell))
    write_adapter(pairs, out, quantized.shape.architecture)
    before = float(measured(original, quantized, held_out).mean())
    after = float(measured(original, with_pairs(quantized, pairs), held_out).mean())
    return Compensated(adapter_bytes(pairs), before, after)


def _read(source: Source) -> Model:
    from nanolocal.compress.torch.files import read

    return read(Path(source.path))


def _write(task: Prune | Distill | Train, model: Model, like: Source, out: Path) -> int:
    from nanolocal.compress.torch.files import write_in_place

    write_in_place(model, out, Path(like.path), kind=task.encoding or None, facts=task.metadata)
    return out.stat().st_size


def _array(chunks: Chunks) -> np.ndarray:
    """The tokens as (chunks, length); raises ``UsageError`` where there are none."""
    return np.asarray(chunks.tokens, np.int32).reshape(-1, chunks.length)


def _told(tell: Tell) -> Callable[[Progress], None]:
    return lambda at: tell(at.share)
