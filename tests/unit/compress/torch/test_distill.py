"""Distilling: predictions come back, the same each time, and a run that was cut off goes on where it was."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nanolocal.compress.torch import loop
from nanolocal.compress.torch.checkpoints import Checkpoint, slots
from nanolocal.compress.torch.distill import distill, rate_for, shrink
from nanolocal.compress.torch.divergence import measured, transfer_loss
from nanolocal.compress.torch.loop import Plan, Progress, rate, train
from nanolocal.compress.torch.model import Model
from nanolocal.compress.torch.prune import Goal, prune
from nanolocal.compress.torch.train import cross_entropy, fresh, learn
from nanolocal.errors import Damaged, UsageError
from tests.fakes.small_torch import VOCABULARY, small_shape, some_tokens

TEXT, OTHER = some_tokens(48, 32), some_tokens(8, 32, seed=5)
PLAN = Plan(steps=30, rows=8, rate=3e-3, seed=3)


@pytest.fixture(scope="module")
def teacher() -> Model:
    model = fresh(small_shape())
    learn(model, TEXT, Plan(steps=60, rows=8, rate=5e-3, matrix_rate=0.02))
    return model


@pytest.fixture
def pruned(teacher: Model) -> Model:
    return prune(teacher, Goal(layers=2, hidden=48), TEXT)


def stop_after(steps: int) -> Callable[[], bool]:
    counted = itertools.count()
    return lambda: next(counted) >= steps


def loss_of(model: Model) -> float:
    with torch.no_grad():
        return float(cross_entropy(model, torch.from_numpy(TEXT.astype(np.int64))))


def distance(teacher: Model, student: Model) -> float:
    return float(measured(teacher, student, OTHER).mean())


def equal(one: Model, other: Model) -> bool:
    return all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)


def test_a_model_learns_its_text(teacher: Model) -> None:
    assert loss_of(teacher) < 0.5 * loss_of(fresh(small_shape()))


@pytest.mark.parametrize("family", ["qwen2", "qwen3", "gemma3"])
def test_all_families_learn(family: str) -> None:
    model = fresh(small_shape(family))
    before = loss_of(model)

    learn(model, TEXT, Plan(steps=25, rows=8, rate=1e-2))

    assert loss_of(model) < 0.9 * before


@pytest.mark.parametrize("matrix_rate", [0.0, 0.01])
def test_distilling_brings_back_what_pruning_took(teacher: Model, pruned: Model, matrix_rate: float) -> None:
    before = distance(teacher, pruned)

    trained = distill(teacher, pruned, TEXT, replace(PLAN, matrix_rate=matrix_rate))

    assert distance(teacher, pruned) < 0.5 * before
    assert trained.is_whole
    assert trained.steps == 30


def test_a_student_of_another_size_and_family_learns(teacher: Model) -> None:
    student = fresh(small_shape("qwen3", layers=2, width=32, hidden=64))
    before = distance(teacher, student)

    distill(teacher, student, TEXT, replace(PLAN, steps=60, rate=1e-2))

    assert distance(teacher, student) < 0.7 * before


def test_a_student_needs_the_same_vocabulary(teacher: Model) -> None:
    student = fresh(replace(small_shape(), vocabulary=100))
    with pytest.raises(UsageError, match="267 tokens"):
        distill(teacher, student, TEXT, PLAN)


def test_the_teacher_stays_as_it_was(teacher: Model, pruned: Model) -> None:
    before = teacher.copy()
    distill(teacher, pruned, TEXT, replace(PLAN, steps=3))
    assert equal(before, teacher)


def test_the_same_seed_gives_the_same_model_and_another_another(teacher: Model, pruned: Model) -> None:
    models = [pruned.copy() for _ in range(3)]
    for model, seed in zip(models, (3, 3, 4), strict=True):
        distill(teacher, model, TEXT, replace(PLAN, steps=5, seed=seed))
    assert equal(models[0], models[1])
    assert not equal(models[0], models[2])


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not(teacher: Model, pruned: Model, tmp_path: Path) -> None:
    whole = pruned.copy()
    distill(teacher, whole, TEXT, replace(PLAN, steps=9))
    plan = replace(PLAN, steps=9, checkpoint=tmp_path / "kept", save_every_s=0.0)

    first = distill(teacher, pruned.copy(), TEXT, plan, stop=stop_after(4))
    resumed = pruned.copy()
    second = distill(teacher, resumed, TEXT, plan)

    assert (first.steps, first.is_whole, second.steps, second.is_whole) == (4, False, 9, True)
    assert equal(whole, resumed)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_that_was_being_written_is_passed_over(teacher: Model, pruned: Model, tmp_path: Path) -> None:
    plan = replace(PLAN, steps=9, checkpoint=tmp_path / "kept", save_every_s=0.0)
    distill(teacher, pruned.copy(), TEXT, plan, stop=stop_after(4))
    newest = max(slots(tmp_path / "kept"), key=lambda slot: slot.stat().st_mtime_ns)
    newest.write_bytes(newest.read_bytes()[:1000])
    whole = pruned.copy()
    distill(teacher, whole, TEXT, replace(PLAN, steps=9))

    trained = distill(teacher, pruned, TEXT, plan)

    assert trained.is_whole
    assert equal(whole, pruned)


def test_a_checkpoint_of_other_work_is_not_used(teacher: Model, pruned: Model, tmp_path: Path) -> None:
    plan = replace(PLAN, checkpoint=tmp_path / "kept", identity="one")
    distill(teacher, pruned.copy(), TEXT, plan, stop=stop_after(2))
    with pytest.raises(Damaged, match="other work"):
        distill(teacher, pruned, TEXT, replace(plan, identity="other"))


def test_where_files_cannot_be_removed_a_checkpoint_is_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Checkpoint(tmp_path / "kept", "key")
    kept.save({"number": 1})

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "unlink", refuse)
    kept.clear()

    assert Checkpoint(tmp_path / "kept", "another key").load() is None


class Clock:
    """A second goes by with each look at it."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 1.0
        return self.now

    def process_time(self) -> float:
        return self.now


def test_a_run_by_time_can_be_repeated_by_its_steps(
    teacher: Model, pruned: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed, counted = pruned.copy(), pruned.copy()
    with monkeypatch.context() as patched:
        patched.setattr(loop, "time", Clock())
        trained = distill(teacher, timed, TEXT, replace(PLAN, steps=None, seconds=12.0))

    distill(teacher, counted, TEXT, replace(PLAN, steps=trained.steps))

    assert trained.is_whole
    assert 10 <= trained.steps <= 14
    assert equal(timed, counted)


def test_a_machine_that_slows_down_does_not_hold_the_run_forever(
    teacher: Model, pruned: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slowing(Clock):
        def monotonic(self) -> float:
            self.now += 1.0 if self.now < 9 else 5.0
            return self.now

    monkeypatch.setattr(loop, "time", Slowing())
    trained = distill(teacher, pruned, TEXT, replace(PLAN, steps=None, seconds=12.0))

    assert not trained.is_whole
    assert trained.seconds <= 12.0 * 1.2 + 5.0


def test_progress_rises_to_the_end(teacher: Model, pruned: Model) -> None:
    told: list[Progress] = []
    distill(teacher, pruned, TEXT, replace(PLAN, steps=6), told.append)
    assert [at.share for at in told] == pytest.approx([number / 6 for number in range(1, 7)])
    assert told[-1].left_s == 0.0
    assert all(at.left_s > 0 for at in told[:-1])


def test_rates_rise_stay_and_fall() -> None:
    rates = [rate(step, 100) for step in range(100)]
    assert rates[0] < rates[10] < rates[19] == rates[59] == 1.0
    assert rates[60] > rates[80] > rates[99] > 0
    assert rate(500, 0) == 1.0


@pytest.mark.parametrize("plan", [Plan(), Plan(steps=1, seconds=1.0), Plan(steps=1)])
def test_a_training_has_one_budget_and_a_rate(plan: Plan) -> None:
    with pytest.raises(UsageError, match=r"either|rate"):
        train({"w": torch.zeros(1)}, lambda rows: rows.sum(), TEXT, plan)


def test_without_text_nothing_is_trained() -> None:
    with pytest.raises(UsageError, match="no text"):
        train({"w": torch.zeros(1)}, lambda rows: rows.sum(), TEXT[:0], PLAN)


def test_a_wide_vocabulary_is_compared_in_parts(teacher: Model, pruned: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.from_numpy(OTHER.astype(np.int64))
    losses, gradients = [], []
    for scores in (2**24, VOCABULARY * 50):
        monkeypatch.setattr("nanolocal.compress.torch.divergence.SCORES", scores)
        student = pruned.copy()
        weight = student.weights["blk.0.ffn_up.weight"].requires_grad_(True)
        loss = transfer_loss(teacher, student, rows)
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(float(loss.detach()))
        assert weight.grad is not None
        gradients.append(weight.grad)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert torch.allclose(gradients[0], gradients[1], atol=1e-6)


def test_who_is_close_learns_slowly(teacher: Model, pruned: Model) -> None:
    close = pruned.copy()
    distill(teacher, close, TEXT, replace(PLAN, steps=60))

    assert rate_for(teacher, close, TEXT) < rate_for(teacher, pruned, TEXT) <= 1e-3

    trained = distill(teacher, close, TEXT, replace(PLAN, steps=2, rate=0.0))
    assert trained.is_whole


def test_training_that_does_harm_is_undone(teacher: Model) -> None:
    goal, harmful = Goal(hidden=80), replace(PLAN, steps=8, rate=1.0)

    model, rounds = shrink(teacher, goal, TEXT, OTHER, harmful)

    assert rounds[0].recovered == rounds[0].pruned
    assert equal(model, prune(teacher, goal, TEXT))


def test_gradual_pruning_reaches_its_goal_and_measures_each_turn(teacher: Model) -> None:
    told: list[Progress] = []
    model, rounds = shrink(
        teacher, Goal(layers=1, hidden=32), TEXT, OTHER, replace(PLAN, steps=20), rounds=2, tell=told.append
    )
    assert (model.shape.layers, model.shape.hidden) == (1, 32)
    assert len(rounds) == 2
    assert all(0 < one.recovered < one.pruned and 0 < one.share_recovered < 1 for one in rounds)
    assert rounds[-1].recovered == pytest.approx(distance(teacher, model))
    assert [at.share for at in told] == sorted(at.share for at in told)
    assert told[-1].share == 1.0


def test_gradual_pruning_goes_on_where_it_was_stopped(teacher: Model, tmp_path: Path) -> None:
    goal, plan = Goal(layers=1, hidden=32), replace(PLAN, steps=8)
    whole, _ = shrink(teacher, goal, TEXT, OTHER, plan, rounds=2)
    kept = replace(plan, checkpoint=tmp_path / "kept", save_every_s=0.0)

    # One question before each of the four steps of the first round, one at its end, then two steps.
    _, cut = shrink(teacher, goal, TEXT, OTHER, kept, rounds=2, stop=stop_after(6))
    resumed, rounds = shrink(teacher, goal, TEXT, OTHER, kept, rounds=2)

    assert not cut[-1].trained.is_whole
    assert [one.trained.steps for one in rounds] == [4, 4]
    assert equal(whole, resumed)
    assert not list(tmp_path.iterdir())
