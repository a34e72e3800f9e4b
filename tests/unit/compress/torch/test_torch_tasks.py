"""The tasks of the training half: what they write is a build or an adapter, also in an isolated child."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from nanolocal.compress.torch.files import read
from nanolocal.compress.torch.performing import perform as train
from nanolocal.compress.torch.tasks import (
    Budget,
    Compensate,
    Compensated,
    Distill,
    Distilled,
    Prune,
    Pruned,
    Taught,
    Train,
)
from nanolocal.compress.work.tasks import checkpoints_of, draft_of, perform, prepare, task_from_json, to_json
from nanolocal.compress.work.values import Chunks, Source
from nanolocal.compress.work.workers import Workers
from nanolocal.errors import Damaged, UsageError
from tests.fakes.small_torch import small_shape, some_tokens, words

SHORT = Budget(steps=6, rows=8, rate=5e-3)
SHAPE = small_shape("qwen3", head_size=32)


def chunks(rows: int, seed: int) -> Chunks:
    return Chunks(tuple(tuple(row) for row in some_tokens(rows, 32, seed).tolist()))


TEXT, HELD_OUT = chunks(24, 0), chunks(6, 5)


def silent(_: float) -> None:
    pass


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """A model made by ``Train``."""
    folder = tmp_path_factory.mktemp("build")
    out = folder / "build.gguf"
    task = Train(Source(str(words(folder))), SHAPE, str(out), TEXT, Budget(steps=40, rows=8, rate=5e-3))
    made = perform(task, silent, threads=1)
    assert isinstance(made, Taught)
    assert made.bytes == out.stat().st_size
    return Source(str(out), "5eed")


def pruning(build: Source, folder: Path) -> Prune:
    return Prune(
        build, str(folder / "out.gguf"), TEXT, HELD_OUT, SHORT, layers=2, hidden=64, rounds=2, encoding="F16",
        checkpoint=str(folder / "kept"), metadata={"nanolocal.compress.seed": 0},
    )  # fmt: skip


def test_training_makes_a_build_that_learned(build: Source) -> None:
    assert read(Path(build.path)).shape == SHAPE


def test_tasks_and_results_travel_as_json(build: Source, tmp_path: Path) -> None:
    out = str(tmp_path / "out.gguf")
    for task in (
        pruning(build, tmp_path),
        Distill(build, build, out, TEXT, HELD_OUT, SHORT),
        Train(build, small_shape("gemma3"), out, TEXT, Budget(seconds=2.5)),
        Compensate(build, build, out, 4, TEXT, HELD_OUT),
    ):
        assert task_from_json(to_json(task)) == task


def test_a_child_prunes_and_recovers(build: Source, tmp_path: Path) -> None:
    task, told = pruning(build, tmp_path), list[float]()
    workers = Workers(tmp_path, threads=1)

    try:
        done = asyncio.run(workers.run(task, told.append))
    finally:
        workers.close()

    assert isinstance(done, Pruned)
    assert [path.name for path in tmp_path.iterdir()] == ["out.gguf"]
    assert [one.trained.steps for one in done.rounds] == [3, 3]
    assert done.rounds[-1].recovered < done.rounds[-1].pruned
    assert told == sorted(told)
    assert told[-1] == 1.0
    found = read(Path(task.out))
    assert (found.shape.layers, found.shape.hidden) == (2, 64)
    assert found.kinds["blk.0.ffn_up.weight"] == "F16"
    assert done.bytes == Path(task.out).stat().st_size


def test_the_same_task_makes_the_same_file(build: Source, tmp_path: Path) -> None:
    files = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        task = pruning(build, tmp_path / name)
        perform(task, silent, threads=1)
        files.append(Path(task.out).read_bytes())
    assert files[0] == files[1]


def test_a_task_that_was_cut_off_goes_on(build: Source, tmp_path: Path) -> None:
    task = pruning(build, tmp_path)
    prepare(task)

    def cut_off(done: float) -> None:
        if done > 0.8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(task, draft_of(Path(task.out)), cut_off, 1)
    assert any(place.exists() and place.stat().st_size for place in checkpoints_of(task))
    told: list[float] = []

    perform(task, told.append, threads=1)

    assert told[0] > 0.5
    assert not any(place.exists() for place in checkpoints_of(task))


def test_distilling_into_a_student(build: Source, tmp_path: Path) -> None:
    student = Source(str(tmp_path / "student.gguf"))
    shape = small_shape("llama", layers=2, width=32, hidden=64)
    perform(Train(build, shape, student.path, TEXT, Budget(steps=1)), silent, threads=1)
    out = tmp_path / "out.gguf"

    done = perform(Distill(build, student, str(out), TEXT, HELD_OUT, SHORT), silent, threads=1)

    assert isinstance(done, Distilled)
    assert done.round.recovered < done.round.pruned
    assert read(out).shape == shape


@pytest.mark.parametrize("budget", [Budget(), SHORT])
@pytest.mark.parametrize("by_text", [True, False])
def test_compensating(build: Source, tmp_path: Path, budget: Budget, by_text: bool) -> None:
    other = Source(str(tmp_path / "other.gguf"))
    perform(Distill(build, build, other.path, HELD_OUT, HELD_OUT, Budget(steps=2, rate=0.1)), silent, threads=1)
    out = tmp_path / "adapter.gguf"

    done = perform(Compensate(build, other, str(out), 8, TEXT, HELD_OUT, budget, by_text), silent, threads=1)

    assert isinstance(done, Compensated)
    assert 0 < done.bytes < out.stat().st_size
    assert budget.steps or 0 < done.after < done.before


def test_a_pruned_build_gets_an_adapter_by_training(build: Source, tmp_path: Path) -> None:
    pruned = Source(str(tmp_path / "pruned.gguf"))
    perform(Prune(build, pruned.path, TEXT, HELD_OUT, Budget(steps=1), layers=2), silent, threads=1)
    task = Compensate(build, pruned, str(tmp_path / "adapter.gguf"), 4, TEXT, HELD_OUT, Budget(steps=20, rate=1e-3))

    done = perform(task, silent, threads=1)

    assert isinstance(done, Compensated)
    assert done.after < done.before
    with pytest.raises(UsageError, match="a number of steps or a time"):
        perform(replace(task, budget=Budget()), silent, threads=1)


def test_a_training_without_a_budget_is_refused_and_leaves_nothing(build: Source, tmp_path: Path) -> None:
    task = Prune(build, str(tmp_path / "out.gguf"), TEXT, HELD_OUT, Budget(), layers=2)
    with pytest.raises(UsageError, match="a number of steps or a time"):
        perform(task, silent, threads=1)
    assert not list(tmp_path.iterdir())


def test_a_broken_build_is_damaged(build: Source, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(Path(build.path).read_bytes()[:5000])
    with pytest.raises(Damaged):
        perform(Distill(Source(str(broken)), build, str(tmp_path / "out.gguf"), TEXT, HELD_OUT, SHORT), silent)
