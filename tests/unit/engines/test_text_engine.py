"""Answers of real llama.cpp in a real child."""

import asyncio
from pathlib import Path

import pytest

from nanolocal.chat.events import ContextDropped, EngineEvent, Loading, Reading, TextDelta
from nanolocal.chat.messages import Message, Role, Stopped
from nanolocal.chat.ports import TextJob
from nanolocal.chat.routes import Build
from nanolocal.engines.pool import EnginePool
from nanolocal.errors import NoBuildFits, UsageError
from tests.fakes.tiny_gguf import write_tiny_gguf
from tests.unit.engines.helpers import ANSWER, Heard, asking, build_of, children, listen, talk, with_pool

LONG = "word " * 1400


def test_an_answer_streams_whole_characters_and_ends(answering: Build) -> None:
    heard = with_pool(lambda pool: listen(pool, answering, asking("hello")))
    loading, reading, deltas = heard.of(Loading), heard.of(Reading), heard.of(TextDelta)
    assert (loading[0].fraction, loading[-1].fraction) == (0.0, 1.0)
    assert heard.events.index(reading[0]) < heard.events.index(deltas[0])
    assert [(delta.text, delta.tokens) for delta in deltas] == [("d", 1), ("é", 2), ("🙂", 4), ("!", 1)]
    assert (heard.text, heard.done.stopped) == (ANSWER, Stopped.END)
    usage, timing = heard.done.usage, heard.done.timing
    assert (usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens) == (reading[-1].total, 0, 8)
    assert min(timing.load_s, timing.ttft_s, timing.prompt_tok_s, timing.decode_tok_s, timing.cpu_s) > 0


def test_an_answer_cut_inside_a_character_counts_its_tokens(answering: Build) -> None:
    heard = with_pool(lambda pool: listen(pool, answering, asking("hello", max_tokens=5)))
    assert (heard.text, heard.tokens, heard.done.stopped) == ("dé\ufffd", 5, Stopped.LENGTH)


def test_length_is_the_limit_of_tokens(endless: Build) -> None:
    heard = with_pool(lambda pool: listen(pool, endless, asking("hello", max_tokens=25)))
    assert (heard.tokens, heard.done.usage.completion_tokens, heard.done.stopped) == (25, 25, Stopped.LENGTH)
    assert "<|" not in heard.text


def test_an_answer_ends_where_the_context_ends(endless: Build) -> None:
    heard = with_pool(lambda pool: listen(pool, endless, asking("x" * 100, n_ctx=256, max_tokens=250)))
    usage = heard.done.usage
    assert usage.prompt_tokens + usage.completion_tokens == 256
    assert heard.done.stopped is Stopped.LENGTH


def test_the_same_seed_gives_the_same_text_and_another_does_not(endless: Build) -> None:
    async def sample(pool: EnginePool) -> list[str]:
        jobs = [asking("hi", temperature=1.5, top_k=0, top_p=1.0, min_p=0.0, seed=seed) for seed in (7, 7, 8)]
        return [(await listen(pool, endless, job)).text for job in jobs]

    first, again, other = with_pool(sample)
    assert first == again != other


def test_a_repeat_penalty_changes_the_answer(endless: Build) -> None:
    async def both(pool: EnginePool) -> tuple[Heard, Heard]:
        plain = await listen(pool, endless, asking("hi", max_tokens=60))
        return plain, await listen(pool, endless, asking("hi", max_tokens=60, repeat_penalty=2.0))

    plain, varied = with_pool(both)
    assert len(set(varied.text)) > len(set(plain.text))


def test_a_kept_prefix_gives_the_same_text_as_a_cold_start(endless: Build) -> None:
    first, second = ("one",), ("one", "two", "and three, please")

    async def warm(pool: EnginePool) -> Heard:
        await listen(pool, endless, asking(*first))
        await listen(pool, endless, asking("something else entirely"))
        await listen(pool, endless, asking(*first))
        return await listen(pool, endless, asking(*second))

    reused = with_pool(warm)
    cold = with_pool(lambda pool: listen(pool, endless, asking(*second)))
    assert reused.text == cold.text
    assert cold.done.usage.cached_tokens == 0
    assert 0 < reused.done.usage.cached_tokens < reused.done.usage.prompt_tokens
    assert reused.done.usage.prompt_tokens == cold.done.usage.prompt_tokens
    assert reused.of(Reading)[0] == Reading(
        reused.done.usage.cached_tokens, cold.done.usage.prompt_tokens, reused.done.usage.cached_tokens
    )


def test_a_longer_context_is_made_when_it_is_asked_for(endless: Build) -> None:
    async def grow(pool: EnginePool) -> Heard:
        await listen(pool, endless, asking("hi", n_ctx=256))
        return await listen(pool, endless, asking("word " * 200, n_ctx=2048, max_tokens=4))

    heard = with_pool(grow)
    assert heard.done.usage.prompt_tokens > 256
    assert heard.done.usage.completion_tokens == 4


def test_stop_while_a_long_prompt_is_read(endless: Build) -> None:
    stop = asyncio.Event()
    readings: list[Reading] = []

    def at_once(event: EngineEvent) -> None:
        if isinstance(event, Reading):
            readings.append(event)
            stop.set()

    async def stop_and_go_on(pool: EnginePool) -> tuple[Heard, Heard]:
        stopped = await listen(pool, endless, asking(LONG, n_ctx=8192), stop, at_once)
        return stopped, await listen(pool, endless, asking("hi"))

    stopped, after = with_pool(stop_and_go_on)
    assert (stopped.done.stopped, stopped.done.usage.completion_tokens) == (Stopped.USER, 0)
    assert stopped.done.usage.prompt_tokens == readings[-1].done < readings[-1].total
    assert after.done.usage.completion_tokens == 40


def test_stop_while_the_answer_is_written(endless: Build) -> None:
    stop = asyncio.Event()
    counts: list[int] = []

    def after_ten(event: EngineEvent) -> None:
        if isinstance(event, TextDelta):
            counts.append(event.tokens)
            if sum(counts) >= 10:
                stop.set()

    job = asking("hi", n_ctx=8192, max_tokens=6000)
    heard = with_pool(lambda pool: listen(pool, endless, job, stop, after_ten))
    assert heard.done.stopped is Stopped.USER
    assert 10 <= heard.done.usage.completion_tokens == heard.tokens < 6000


def test_stop_while_loading_ends_the_child(endless: Build) -> None:
    stop = asyncio.Event()

    async def stop_at_load(pool: EnginePool) -> tuple[Heard, tuple[str, ...], int]:
        heard = await listen(pool, endless, asking("hi"), stop, lambda event: stop.set())
        return heard, pool.resident(), len(children())

    heard, resident, alive = with_pool(stop_at_load)
    assert (heard.done.stopped, heard.done.usage.prompt_tokens, resident, alive) == (Stopped.USER, 0, (), 0)


def test_a_job_stopped_before_it_begins_loads_nothing(endless: Build) -> None:
    stop = asyncio.Event()
    stop.set()

    heard = with_pool(lambda pool: listen(pool, endless, asking("hi"), stop))
    assert heard.done.stopped is Stopped.USER
    assert heard.done.usage.prompt_tokens == 0


def test_a_closed_generator_stops_the_child_too(endless: Build) -> None:
    async def close_early(pool: EnginePool) -> tuple[int, int, Heard]:
        events = pool.run(endless, asking("hi", n_ctx=8192, max_tokens=7000), asyncio.Event())
        async for event in events:
            if isinstance(event, TextDelta):
                break
        before = children()[0].pid
        await events.aclose()
        return before, children()[0].pid, await listen(pool, endless, asking("hi"))

    before, after, heard = with_pool(close_early)
    assert before == after
    assert heard.done.usage.completion_tokens == 40
    assert heard.done.timing.load_s == 0


def test_a_cancelled_task_stops_the_child_too(endless: Build) -> None:
    async def cancel(pool: EnginePool) -> Heard:
        writing = asyncio.Event()

        def note(event: EngineEvent) -> None:
            if isinstance(event, TextDelta):
                writing.set()

        job = asking("hi", n_ctx=8192, max_tokens=7000)
        task = asyncio.create_task(listen(pool, endless, job, on_event=note))
        await writing.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await listen(pool, endless, asking("hi"))

    assert with_pool(cancel).done.usage.completion_tokens == 40


def test_dropped_messages_are_reported(endless: Build) -> None:
    texts = ["w" * 90] * 9
    heard = with_pool(lambda pool: listen(pool, endless, asking(*texts, n_ctx=512, max_tokens=30)))
    (dropped,) = heard.of(ContextDropped)
    assert heard.events.index(dropped) < heard.events.index(heard.of(Reading)[0])
    assert dropped.messages in (4, 6)
    assert dropped.tokens > 90 * dropped.messages
    assert heard.done.usage.prompt_tokens <= 512 - 30


def test_a_prompt_that_is_too_long_fits_no_build_and_the_child_lives_on(endless: Build) -> None:
    async def refuse(pool: EnginePool) -> Heard:
        with pytest.raises(NoBuildFits, match=r"the prompt has \d+ tokens, endless:f32 reads at most \d+"):
            await listen(pool, endless, asking("w" * 2000, n_ctx=512))
        return await listen(pool, endless, asking("hi", n_ctx=512))

    assert with_pool(refuse).done.timing.load_s == 0


def test_two_jobs_on_one_build_take_turns(endless: Build) -> None:
    async def both(pool: EnginePool) -> tuple[list[Heard], int]:
        jobs = (listen(pool, endless, asking(text, max_tokens=200)) for text in ("a", "b"))
        return await asyncio.gather(*jobs), len(children())

    heard, alive = with_pool(both)
    assert [each.done.usage.completion_tokens for each in heard] == [200, 200]
    assert alive == 1


def test_two_builds_evict_each_other_under_a_small_budget(endless: Build, answering: Build) -> None:
    async def alternate(pool: EnginePool) -> list[tuple[str, ...]]:
        resident = []
        for build in (endless, answering, endless):
            await listen(pool, build, asking("hi"))
            resident.append(pool.resident())
            assert len(children()) == 1
        return resident

    assert with_pool(alternate, memory=100 * 2**20) == [(endless.id,), (answering.id,), (endless.id,)]


def test_a_build_waits_until_a_busy_one_leaves_it_room(endless: Build, answering: Build) -> None:
    async def together(pool: EnginePool) -> tuple[Heard, Heard]:
        long = asyncio.create_task(listen(pool, endless, asking("hi", n_ctx=8192, max_tokens=300)))
        await asyncio.sleep(0)
        return await asyncio.gather(long, listen(pool, answering, asking("hi")))

    first, second = with_pool(together, memory=100 * 2**20)
    assert first.done.usage.completion_tokens == 300
    assert second.text == ANSWER


def test_builds_stay_together_while_there_is_memory(endless: Build, answering: Build) -> None:
    async def both(pool: EnginePool) -> tuple[tuple[str, ...], tuple[str, ...]]:
        for build in (endless, answering):
            await listen(pool, build, asking("hi"))
        before = pool.resident()
        pool.kill(endless.id)
        return before, pool.resident()

    assert with_pool(both) == ((endless.id, answering.id), (answering.id,))


@pytest.mark.parametrize("job", [TextJob((), 512, 10), TextJob((Message(Role.USER, "x"),), 512, 0)])
def test_an_empty_job_is_refused_before_anything_is_loaded(endless: Build, job: TextJob) -> None:
    with pytest.raises(UsageError):
        with_pool(lambda pool: listen(pool, endless, job))


def test_a_system_prompt_with_terminal_codes_changes_nothing_but_the_prompt(answering: Build) -> None:
    job = TextJob(talk("\x1b[2J\u202e", system="\x00"), 512, 10, temperature=0.0)
    assert with_pool(lambda pool: listen(pool, answering, job)).text == ANSWER


def test_terminal_codes_in_an_answer_become_visible(tmp_path: Path) -> None:
    build = build_of(write_tiny_gguf(tmp_path / "rude.gguf", answer="a\x1b]b\u202e"))
    assert with_pool(lambda pool: listen(pool, build, asking("hi"))).text == "a\u241b]b\ufffd"
