"""The pool as the governor's hand: real children come, make do, and go."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from nanolocal.chat.events import EngineEvent, Loading, MadeDo, Reading, TextDelta
from nanolocal.chat.routes import Build, Footprint
from nanolocal.engines.governor import Stay
from nanolocal.engines.pool import EnginePool
from nanolocal.errors import EngineFailed, OutOfMemory
from tests.fakes.blank_gguf import Shape, write_blank_gguf
from tests.unit.engines.helpers import Heard, asking, build_of, children, listen, with_pool

MIB = 2**20
FOOTPRINT = Footprint(file=MIB, mapped=MIB, used=MIB, held=10 * MIB, loading=0, per_token=2048)
TIGHT = 100 * MIB
"""Room for one tiny build, and not for two."""


@dataclass
class Meter:
    """A gauge that a test sets."""

    available: int = sys.maxsize
    kills: int | None = 0

    def free(self) -> int:
        return self.available

    def oom_kills(self) -> int | None:
        return self.kills


def known(build: Build) -> Build:
    """With a footprint of 11 MiB and 2 KiB for each token of context."""
    return replace(build, footprint=FOOTPRINT, kv_bytes_per_token=2048)


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Its keys and values can be kept in fewer bits, which those of the others cannot."""
    return build_of(write_blank_gguf(tmp_path_factory.mktemp("builds") / "blank.gguf", Shape("llama")))


def when_reading(act: Callable[[], None]) -> Callable[[EngineEvent], None]:
    """Do it once, as the first part of the prompt is read."""
    done: list[bool] = []

    def watch(event: EngineEvent) -> None:
        if isinstance(event, Reading) and not done:
            done.append(True)
            act()

    return watch


def kill_children() -> None:
    for child in children():
        os.kill(child.pid, signal.SIGKILL)


def test_where_little_is_free_it_makes_do_says_so_once_and_remembers(blank: Build) -> None:
    meter = Meter(
        available=11 * MIB + 5 * MIB
    )  # the rest is the context's: 2 KiB for each of 8,192 tokens are too much
    long = "x" * 3000

    async def ask(pool: EnginePool) -> list[Heard]:
        return [await listen(pool, known(blank), asking(text, n_ctx=8192)) for text in ("hi", "again", long)]

    first, again, longer = with_pool(ask, gauge=meter)
    assert ["reads at most 4,096 tokens at once and keeps" in event.what for event in first.of(MadeDo)] == [True]
    assert (again.of(MadeDo), longer.of(MadeDo)) == ([], [])
    assert first.done.usage.completion_tokens == longer.done.usage.completion_tokens == 40


def test_a_model_with_other_keys_has_half_the_context_instead(endless: Build) -> None:
    meter = Meter(available=11 * MIB + 9 * MIB)
    heard = with_pool(lambda pool: listen(pool, known(endless), asking("hi", n_ctx=8192)), gauge=meter)
    assert ["reads at most 4,096 tokens at once." in event.what for event in heard.of(MadeDo)] == [True]


def test_a_prompt_that_is_longer_than_it_looks_gets_the_whole_context(endless: Build) -> None:
    meter = Meter(available=11 * MIB + 9 * MIB)

    async def ask(pool: EnginePool) -> Heard:
        await listen(pool, known(endless), asking("hi", n_ctx=8192))
        meter.available = sys.maxsize
        return await listen(pool, known(endless), asking("x" * 6000, n_ctx=8192))

    assert with_pool(ask, gauge=meter).done.usage.prompt_tokens > 6000


def test_a_prompt_that_no_smaller_context_holds_is_refused_whole(answering: Build) -> None:
    meter = Meter(available=11 * MIB + 5 * MIB)
    job = asking("x" * 18_000, n_ctx=8192)
    with pytest.raises(OutOfMemory, match=r"needs .* of memory and 17 MB are free"):
        with_pool(lambda pool: listen(pool, known(answering), job), gauge=meter)
    assert children() == []


def test_a_child_that_the_system_ends_for_its_memory_is_loaded_anew_with_less(blank: Build) -> None:
    meter = Meter()

    def end() -> None:
        meter.kills = 1
        kill_children()

    async def ask(pool: EnginePool) -> Heard:
        return await listen(pool, blank, asking("x" * 3000, n_ctx=8192), on_event=when_reading(end))

    heard = with_pool(ask, gauge=meter)
    assert ["fewer bits" in event.what for event in heard.of(MadeDo)] == [True]
    assert heard.done.usage.completion_tokens == 40


@pytest.mark.parametrize(("kills", "is_memory"), [(0, False), (None, True)])
def test_a_kill_from_elsewhere_is_no_lack_of_memory_unless_nobody_counts(
    answering: Build, kills: int | None, is_memory: bool
) -> None:
    seen = Heard()

    async def ask(pool: EnginePool) -> None:
        await listen(pool, answering, asking("x" * 3000), on_event=keep)

    def keep(event: EngineEvent) -> None:
        seen.events.append(event)
        if isinstance(event, TextDelta):
            kill_children()

    with pytest.raises(EngineFailed, match="SIGKILL") as failed:
        with_pool(ask, gauge=Meter(kills=kills))
    assert isinstance(failed.value, OutOfMemory) == is_memory


def test_others_leave_before_quality_does(endless: Build, answering: Build) -> None:
    meter = Meter()

    def end() -> None:
        meter.kills = 1
        kill_children()

    async def ask(pool: EnginePool) -> tuple[Heard, tuple[str, ...]]:
        await listen(pool, endless, asking("hi", max_tokens=2))
        heard = await listen(pool, answering, asking("x" * 3000), on_event=when_reading(end))
        return heard, pool.resident()

    heard, resident = with_pool(ask, gauge=meter)
    assert heard.of(MadeDo) == []
    assert resident == (answering.id,)


def test_a_pinned_build_stays_while_the_others_go(endless: Build, answering: Build) -> None:
    async def ask(pool: EnginePool) -> tuple[str, ...]:
        for build in (endless, answering):
            await listen(pool, build, asking("hi", max_tokens=2))
        await listen(pool, replace(answering, id="third:f32"), asking("hi", max_tokens=2))
        return pool.resident()

    room_for_two = 150 * MIB
    assert with_pool(ask, memory=room_for_two, stay=Stay(("endless*",))) == (endless.id, "third:f32")


def test_an_idle_build_leaves_after_its_time_and_a_pinned_one_never(endless: Build, answering: Build) -> None:
    async def wait(pool: EnginePool) -> tuple[str, ...]:
        for build in (endless, answering):
            await listen(pool, build, asking("hi", max_tokens=2))
        while answering.id in pool.resident() or pool.status()[-1].state == "leaving":
            await asyncio.sleep(0.02)
        return pool.resident()

    assert with_pool(wait, stay=Stay(("endless*",), 0.2)) == (endless.id,)


def test_the_next_load_waits_until_the_memory_of_the_last_is_free(
    endless: Build, answering: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nanolocal.engines.pool._GRACE_S", 1.0)
    alive: list[int] = []

    async def swap(pool: EnginePool) -> None:
        await listen(pool, endless, asking("hi", max_tokens=2))
        os.kill(children()[0].pid, signal.SIGSTOP)  # so that it does not leave by itself

        def count(event: EngineEvent) -> None:
            if isinstance(event, Loading):
                alive.append(len(children()))

        await listen(pool, answering, asking("hi"), on_event=count)

    with_pool(swap, memory=TIGHT)
    assert max(alive) == 1  # none yet where the new one does not show its name at once


def test_one_build_loads_at_a_time(endless: Build, answering: Build) -> None:
    order: list[str] = []

    def keep(event: EngineEvent) -> None:
        if isinstance(event, Loading):
            order.append(event.build_id)

    async def together(pool: EnginePool) -> None:
        jobs = (listen(pool, build, asking("hi"), on_event=keep) for build in (endless, answering))
        await asyncio.gather(*jobs)

    with_pool(together)
    assert len(set(order)) == 2
    assert order == sorted(order, key=order.index)


def test_stop_ends_the_wait_for_a_turn_to_load(endless: Build, answering: Build) -> None:
    stop = asyncio.Event()

    async def together(pool: EnginePool) -> tuple[Heard, Heard]:
        first = asyncio.create_task(listen(pool, endless, asking("hi"), on_event=lambda event: stop.set()))
        await asyncio.sleep(0)
        second = await listen(pool, answering, asking("hi"), stop)
        assert not first.done()
        return await first, second

    first, second = with_pool(together)
    assert first.done.usage.completion_tokens == 40
    assert (second.events, second.done.stopped) == ([second.done], "user")


def test_a_longer_context_makes_room_for_itself_first(endless: Build, answering: Build) -> None:
    large = replace(known(endless), footprint=replace(FOOTPRINT, per_token=30_000))

    async def grow(pool: EnginePool) -> list[tuple[str, ...]]:
        found = []
        await listen(pool, answering, asking("hi"))
        for n_ctx in (256, 4096):
            await listen(pool, large, asking("hi", n_ctx=n_ctx, max_tokens=2))
            found.append(pool.resident())
        return found

    assert with_pool(grow, memory=150 * MIB) == [(answering.id, endless.id), (endless.id,)]


def test_a_load_that_does_not_get_on_is_ended(endless: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nanolocal.engines.seat._PATIENCE", 0.0001)
    with pytest.raises(EngineFailed, match="made no progress for 0 seconds while it loaded"):
        with_pool(lambda pool: listen(pool, endless, asking("hi")))
    assert children() == []


def test_what_is_in_memory_can_be_seen(endless: Build) -> None:
    states: list[str] = []

    async def look(pool: EnginePool) -> None:
        await listen(pool, endless, asking("hi"), on_event=lambda event: states.append(pool.status()[0].state))
        (idle,) = pool.status()
        assert (idle.build_id, idle.state, idle.is_pinned) == (endless.id, "idle", True)
        assert idle.memory == pool.memory(endless.id) > 10 * MIB
        pool.kill(endless.id)
        assert [status.state for status in pool.status()] == ["leaving"]

    with_pool(look, stay=Stay(("endless:f32",)))
    assert (states[0], states[-1]) == ("loading", "answering")
