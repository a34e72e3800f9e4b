"""Real engines, watched: failures of a build's files count, nothing else does, and licences are told once."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar

import pytest

from nanolocal.chat.events import EngineEvent, FirstUse, Loading, TextDelta
from nanolocal.chat.messages import Message, Role
from nanolocal.chat.ports import TextJob
from nanolocal.chat.routes import Build, Kind
from nanolocal.engines.pool import EnginePool
from nanolocal.errors import BuildFailed, EngineFailed
from nanolocal.library.catalogue import shelf, stored
from nanolocal.library.library import Library
from nanolocal.library.watched import WatchedEngines
from tests.fakes.small_models import write_ending
from tests.fakes.stores import write_pipeline
from tests.fakes.tiny_gguf import write_tiny_gguf
from tests.unit.engines.helpers import children

T = TypeVar("T")


def library(root: Path) -> Library:
    return Library([root], root / "index.json")


def run(known: Library, work: Callable[[WatchedEngines, EnginePool], Coroutine[object, object, T]], **how: bool) -> T:
    async def with_pool() -> T:
        pool = EnginePool(10**10, threads=1)
        try:
            return await work(WatchedEngines(pool, known, Path("/the/program"), **how), pool)
        finally:
            await pool.close()

    return asyncio.run(with_pool())


async def answer(
    engines: WatchedEngines, build: Build, on_event: Callable[[EngineEvent], None] = lambda event: None
) -> list[EngineEvent]:
    job = TextJob((Message(Role.USER, "hello"),), 1024, 500, temperature=0.0)
    events = []
    async with aclosing(engines.run(build, job, asyncio.Event())) as stream:
        async for event in stream:
            events.append(event)
            on_event(event)
    return events


def test_two_failures_set_a_build_aside_and_the_second_says_so(tmp_path: Path) -> None:
    write_ending(tmp_path / "bad-F32.gguf")
    known = library(tmp_path)
    (build,) = known.builds()

    async def fail(engines: WatchedEngines, _: EnginePool) -> BuildFailed:
        with pytest.raises(BuildFailed, match="SIGABRT") as failed:
            await answer(engines, build)
        return failed.value

    assert "set aside" not in run(known, fail).hint
    assert known.builds()[0].set_aside == ""
    assert "nanolocal models verify bad:F32, or models release bad:F32" in run(known, fail).hint
    assert "before its first word: its engine ended by signal SIGABRT" in known.builds()[0].set_aside


def test_what_an_engine_says_after_it_has_seen_the_prompt_is_not_kept_on_the_disk(tmp_path: Path) -> None:
    template = "{{ raise_exception('I was asked: ' + messages[0]['content']) }}"
    write_tiny_gguf(tmp_path / "m-F32.gguf", template=template)
    known = library(tmp_path)
    (build,) = known.builds()

    async def fail(engines: WatchedEngines, _: EnginePool) -> BuildFailed:
        with pytest.raises(BuildFailed) as failed:
            await answer(engines, build)
        return failed.value

    assert "I was asked" in run(known, fail).message
    ((_, words),) = known.records.of(build.sha256).failures
    assert words == "its engine failed"
    assert b"asked" not in (tmp_path / "records.json").read_bytes()


def test_a_file_that_llama_cpp_refuses_counts(tmp_path: Path) -> None:
    whole = write_tiny_gguf(tmp_path / "m-F32.gguf").read_bytes()
    known = library(tmp_path)
    (build,) = known.builds()
    build.path.write_bytes(whole[: len(whole) // 2])

    async def fail(engines: WatchedEngines, _: EnginePool) -> None:
        with pytest.raises(BuildFailed, match="shorter than its tensors"):
            await answer(engines, build)

    run(known, fail)
    ((_, words),) = known.records.of(build.sha256).failures
    assert words.startswith("its engine failed: m-F32.gguf is not a usable GGUF file: ")


def test_an_answer_resets_the_count(tmp_path: Path) -> None:
    write_tiny_gguf(tmp_path / "m-F32.gguf", answer="ok!")
    known = library(tmp_path)
    (build,) = known.builds()
    known.health.failed(build, "once")
    run(known, lambda engines, _: answer(engines, build))
    assert known.records.of(build.sha256).failures == ()


def kill(pool: EnginePool, build: Build, kind: type[EngineEvent]) -> Callable[[EngineEvent], None]:
    return lambda event: pool.kill(build.id) if isinstance(event, kind) else None


@pytest.mark.parametrize("moment", [Loading, TextDelta])
def test_an_engine_that_is_ended_from_outside_is_not_the_builds_fault(
    tmp_path: Path, moment: type[EngineEvent]
) -> None:
    write_tiny_gguf(tmp_path / "m-F32.gguf")
    known = library(tmp_path)
    (build,) = known.builds()

    async def end(engines: WatchedEngines, pool: EnginePool) -> None:
        with pytest.raises(EngineFailed):
            await answer(engines, build, kill(pool, build, moment))

    run(known, end)
    assert known.records.of(build.sha256).failures == ()


@pytest.mark.parametrize(("number", "counted"), [(signal.SIGKILL, 0), (signal.SIGTERM, 0), (signal.SIGSEGV, 1)])
def test_a_crash_counts_and_the_systems_memory_killer_does_not(
    tmp_path: Path, number: signal.Signals, counted: int
) -> None:
    write_tiny_gguf(tmp_path / "m-F32.gguf")
    known = library(tmp_path)
    (build,) = known.builds()

    def strike(event: EngineEvent) -> None:
        if event == Loading(build.id, 0.0):
            os.kill(children()[0].pid, number)

    async def die(engines: WatchedEngines, _: EnginePool) -> None:
        with pytest.raises(EngineFailed, match=number.name):
            await answer(engines, build, strike)

    run(known, die)
    assert len(known.records.of(build.sha256).failures) == counted


def test_a_crash_in_the_middle_of_an_answer_does_not_count(tmp_path: Path) -> None:
    write_tiny_gguf(tmp_path / "m-F32.gguf")
    known = library(tmp_path)
    (build,) = known.builds()

    pieces: list[EngineEvent] = []

    def strike(event: EngineEvent) -> None:
        if isinstance(event, TextDelta):
            pieces.append(event)
            if len(pieces) == 1:
                os.kill(children()[0].pid, signal.SIGSEGV)

    async def die(engines: WatchedEngines, _: EnginePool) -> None:
        with pytest.raises(EngineFailed, match="SIGSEGV"):
            await answer(engines, build, strike)

    run(known, die)
    assert known.records.of(build.sha256).failures == ()


def test_a_file_that_is_gone_is_not_the_builds_fault(tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "m-F32.gguf")
    known = library(tmp_path)
    (build,) = known.builds()
    path.unlink()

    async def fail(engines: WatchedEngines, _: EnginePool) -> None:
        with pytest.raises(EngineFailed, match="missing"):
            await answer(engines, build)

    run(known, fail)
    assert known.records.of(build.sha256).failures == ()


def test_a_licence_is_told_once_before_the_first_answer(tmp_path: Path) -> None:
    write_tiny_gguf(tmp_path / "m-F32.gguf", answer="ok!")
    known = library(tmp_path)
    (build,) = known.builds()

    async def twice(engines: WatchedEngines, _: EnginePool) -> tuple[list[EngineEvent], list[EngineEvent]]:
        return await answer(engines, build), await answer(engines, build)

    unseen, _ = run(known, twice, tells_licences=False)
    assert not any(isinstance(event, FirstUse) for event in unseen)
    first, second = run(known, twice)
    assert isinstance(first[0], FirstUse)
    assert "its file and the catalogue say none" in first[0].licence
    assert not any(isinstance(event, FirstUse) for event in second)
    assert not any(isinstance(event, FirstUse) for event in run(library(tmp_path), twice)[0])


@pytest.mark.parametrize(
    ("path", "kind", "says"),
    [
        ("/m/Qwen3-4B-Q4_K_M.gguf", Kind.TEXT, "Licence: Apache-2.0, https://"),
        ("/m/Qwen2.5-3B-Instruct-Q4_K_M.gguf", Kind.TEXT, "Licence: Qwen Research License (not for commercial use), "),
        ("/m/Llama-3.2-1B-Instruct-Q8_0.gguf", Kind.TEXT, "License (its acceptable-use policy forbids some uses), "),
        ("/m/gemma-3-4b-it-Q4_K_M.gguf", Kind.TEXT, "Use (its prohibited-use policy forbids some uses), https://"),
        ("/m/stable-diffusion-xl-base-1.0", Kind.IMAGE, "RAIL++-M (it forbids the uses that it lists), https://"),
        ("/m/FLUX.1-dev", Kind.IMAGE, "Non-Commercial License (not for commercial use), https://"),
    ],
)
def test_limits_are_said_in_words_and_open_licences_in_one_line(path: str, kind: Kind, says: str) -> None:
    build = Build("x:Q4", "x", kind, Path(path), "Q4", 1, "ab" * 32)
    words = stored.first_words(build, stored.model_of(build, shelf.load()))
    assert says in words
    assert "answers for the first time" in words


def test_a_licence_that_only_the_file_knows_is_told_as_it_is() -> None:
    own = Build("x:Q4", "Mine", Kind.TEXT, Path("/m/mine.gguf"), "Q4", 1, "ab" * 32, licence="cc-by-nc-4.0")
    words = stored.first_words(own, stored.model_of(own, shelf.load()))
    assert words == "Mine answers for the first time. Licence: cc-by-nc-4.0 (not for commercial use)"


def test_every_licence_of_the_catalogue_is_open_or_its_limit_is_said() -> None:
    licences = {model.licence for model in shelf.load().models}
    assert {licence for licence in licences if not stored.limit_of(licence)} == {
        "Apache-2.0", "MIT", "MIT AND Apache-2.0",
    }  # fmt: skip
    for licence in licences:
        if "non-commercial" in licence.lower() or "NC" in licence.replace("-", " ").split():
            assert stored.limit_of(licence) == "not for commercial use", licence


def test_a_file_that_names_no_licence_has_the_catalogues(tmp_path: Path) -> None:
    write_pipeline(tmp_path / "stable-diffusion-xl-base-1.0")
    (build,) = library(tmp_path).builds()
    assert build.licence == "CreativeML Open RAIL++-M"
    (again,) = library(tmp_path).builds()
    assert again.licence == build.licence
