"""Children that do the lab's tasks: real ones, over real builds."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from nanolocal.compress.native.quantizer import dry_run
from nanolocal.compress.work.tasks import (
    Base,
    Capture,
    Chunks,
    Divergence,
    DryRun,
    Measure,
    Plan,
    Probe,
    Quantize,
    Quantized,
    Source,
    perform,
)
from nanolocal.compress.work.workers import Workers
from nanolocal.engines import isolation
from nanolocal.errors import Damaged, EngineFailed, UsageError
from tests.fakes.lab_gguf import write_lab_gguf
from tests.fakes.small_models import write_ending
from tests.unit.compress.conftest import Bench, say_nothing

T = TypeVar("T")


def with_workers(
    folder: Path, use: Callable[[Workers], Awaitable[T]], *, children: int = 1, memory_bytes: int = 0
) -> T:
    async def run() -> T:
        workers = Workers(folder, children=children, threads=1, memory_bytes=memory_bytes)
        try:
            return await use(workers)
        finally:
            workers.close()

    return asyncio.run(run())


def children() -> list[psutil.Process]:
    """The lab's children that are alive."""
    found = []
    for child in psutil.Process().children():
        try:
            if "nanolocal.compress.work.child" in child.cmdline():
                found.append(child)
        except psutil.Error:  # gone, or not yet buried
            continue
    return found


async def until(is_so: Callable[[], object]) -> None:
    while not is_so():
        await asyncio.sleep(0.01)


def long_task(bench: Bench, out: Path) -> Capture:
    """One that does not end by itself while the test looks at it."""
    return Capture(bench.source, Chunks(bench.chunks.tokens * 500), str(out))


def test_children_find_what_the_same_tasks_find_here(bench: Bench, tmp_path: Path) -> None:
    steps: list[float] = []

    async def use(workers: Workers) -> None:
        plan = await workers.run(DryRun(bench.source, "Q4_K_M"))
        assert isinstance(plan, Plan)
        assert plan.types == dry_run(Path(bench.source.path), "Q4_K_M")
        out = tmp_path / "q.gguf"
        written = await workers.run(Quantize(bench.source, str(out), plan.types, bench.statistics, metadata={"a": "b"}))
        assert written == Quantized(out.stat().st_size, ("token_embd.weight",))
        measure = Measure(str(out), bench.base, bench.chunks, str(tmp_path / "m.npy"))
        measured = await workers.run(measure, steps.append)
        assert isinstance(measured, Divergence)
        here = perform(measure, say_nothing, 1)
        assert isinstance(here, Divergence)
        assert measured.mean == pytest.approx(here.mean, rel=1e-6)

    with_workers(tmp_path, use)
    assert steps == sorted(steps)
    assert steps[-1] == 1
    assert {path.name for path in tmp_path.iterdir()} == {"q.gguf", "m.npy"}


def test_probes_of_one_build_are_done_by_one_child(bench: Bench, tmp_path: Path) -> None:
    async def use(workers: Workers) -> None:
        tasks = [
            Probe(bench.source, name, kind, bench.chunks, bench.base, bench.statistics)
            for name, kind in (
                ("blk.0.attn_q.weight", "Q4_K"),
                ("output.weight", "Q3_K"),
                ("blk.0.attn_q.weight", "Q4_K"),
            )
        ]
        found = []
        pids = set()
        for task in tasks:
            found.append(await workers.run(task))
            pids |= {child.pid for child in children()}
        assert len(pids) == 1
        assert found[0] == found[2]
        assert found[:2] == [pytest.approx(perform(task, say_nothing, 1), rel=1e-6) for task in tasks[:2]]

    with_workers(tmp_path, use)


def test_several_children_work_at_the_same_time_and_no_more_than_there_may_be(bench: Bench, tmp_path: Path) -> None:
    most = 0

    async def use(workers: Workers) -> None:
        nonlocal most

        def count(done: float) -> None:
            nonlocal most
            most = max(most, len(children()))

        names = ("attn_q", "attn_k", "attn_v", "ffn_up", "ffn_down", "ffn_gate")
        tasks = [Probe(bench.source, f"blk.0.{n}.weight", "Q3_K", bench.chunks, bench.base) for n in names]
        costs = await asyncio.gather(*(workers.run(task, count) for task in tasks))
        assert all(isinstance(cost, float) and cost > 0 for cost in costs)

    with_workers(tmp_path, use, children=2)
    assert most == 2


def test_a_cancelled_task_leaves_no_child_and_no_file(bench: Bench, tmp_path: Path) -> None:
    async def use(workers: Workers) -> None:
        begun = asyncio.Event()
        running = asyncio.create_task(workers.run(long_task(bench, tmp_path / "s.npz"), lambda done: begun.set()))
        await begun.wait()
        assert children()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert not children()
        assert list(tmp_path.iterdir()) == []
        assert isinstance(await workers.run(DryRun(bench.source, "Q8_0")), Plan)

    with_workers(tmp_path, use)


def test_a_child_that_is_killed_is_an_error_and_the_next_one_works(bench: Bench, tmp_path: Path) -> None:
    async def use(workers: Workers) -> None:
        running = asyncio.create_task(workers.run(long_task(bench, tmp_path / "s.npz")))
        await until(children)
        children()[0].kill()
        with pytest.raises(EngineFailed, match=r"gave up over the capture of dense\.gguf"):
            await running
        assert list(tmp_path.iterdir()) == []
        await workers.run(DryRun(bench.source, "Q8_0"))
        idle = children()[0]
        idle.kill()
        await asyncio.to_thread(idle.wait, 10)
        assert isinstance(await workers.run(DryRun(bench.source, "Q8_0")), Plan)

    with_workers(tmp_path, use)


def test_a_build_that_ends_llama_cpp_is_an_error(tmp_path: Path) -> None:
    source = Source(str(write_ending(tmp_path / "ending.gguf")))
    task = Base(source, Chunks((tuple(range(1, 33)),)), str(tmp_path / "b"))
    with pytest.raises(EngineFailed, match="gave up over the base"):
        with_workers(tmp_path, lambda workers: workers.run(task))
    assert {path.name for path in tmp_path.iterdir()} == {"ending.gguf"}


def test_errors_of_a_task_come_back_as_they_are(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no tensor 'nothing'") as caught:
        with_workers(
            tmp_path, lambda workers: workers.run(Quantize(bench.source, str(tmp_path / "q"), {"nothing": "Q4_K"}))
        )
    assert caught.value.hint
    (tmp_path / "cut.gguf").write_bytes(Path(bench.source.path).read_bytes()[:5000])
    with pytest.raises(Damaged):
        with_workers(tmp_path, lambda workers: workers.run(DryRun(Source(str(tmp_path / "cut.gguf")), "Q8_0")))


def test_nothing_is_written_outside_the_work_folder(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    task = Quantize(bench.source, str(tmp_path / "q.gguf"), {})
    with pytest.raises(UsageError, match="work folder"):
        with_workers(tmp_path / "work", lambda workers: workers.run(task))


def test_a_child_has_no_more_memory_than_it_is_given(bench: Bench, tmp_path: Path) -> None:
    source = Source(str(write_lab_gguf(tmp_path / "large.gguf", width=1024, layers=3)))
    task = Base(source, bench.chunks, str(tmp_path / "b"))
    with pytest.raises(EngineFailed):
        with_workers(
            tmp_path,
            lambda workers: workers.run(Capture(source, bench.chunks, str(tmp_path / "s.npz"))),
            memory_bytes=2**25,
        )
    assert {path.name for path in tmp_path.iterdir()} == {"large.gguf"}
    with_workers(tmp_path, lambda workers: workers.run(task), memory_bytes=2**31)


def test_a_child_is_isolated_as_far_as_this_system_can(bench: Bench, tmp_path: Path) -> None:
    if not isolation.ask().has_filter:
        pytest.skip("this system filters no system calls")

    async def use(workers: Workers) -> None:
        await workers.run(DryRun(bench.source, "Q8_0"))
        status = Path(f"/proc/{children()[0].pid}/status").read_text("ascii")
        assert "Seccomp:\t2" in status

    with_workers(tmp_path, use)
