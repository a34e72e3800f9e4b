"""Several conversations in one context of real llama.cpp: answered together, shared, forgotten in the right order."""

import asyncio
from collections.abc import Callable, Coroutine
from itertools import pairwise

import pytest

from nanolocal.chat.events import EngineEvent, TextDelta
from nanolocal.chat.messages import Stopped
from nanolocal.chat.ports import TextJob
from nanolocal.chat.routes import Build
from nanolocal.engines.pool import EnginePool
from nanolocal.paths import starter_models
from tests.unit.engines.helpers import Heard, asking, build_of, children, listen, talk, with_pool

TALKS = ("Tell me a story about a small cat.", "What is a river?", "Write two lines about the moon.")
SYSTEM = "You are a patient teacher who answers in short and simple words. " * 4


@pytest.fixture(scope="module")
def starter() -> Build:
    """The text build that comes with the program."""
    path = starter_models() / "nanolocal-starter-text/nanolocal-starter-text-Q8_0.gguf"
    return build_of(path)


def in_chat(chat: str, *texts: str, system: str | None = None, n_ctx: int = 2048) -> TextJob:
    return TextJob(talk(*texts, system=system), n_ctx, 48, temperature=0.0, chat_id=chat)


def test_answers_written_together_are_those_written_alone(starter: Build) -> None:
    async def alone(pool: EnginePool) -> list[Heard]:
        return [await listen(pool, starter, asking(text, n_ctx=2048)) for text in TALKS]

    async def together(pool: EnginePool) -> tuple[list[Heard], int]:
        await listen(pool, starter, asking("hi", n_ctx=2048, max_tokens=1))
        turns: list[int] = []
        jobs = (
            listen(pool, starter, asking(text, n_ctx=2048), on_event=_noting(turns, number))
            for number, text in enumerate(TALKS)
        )
        heard = await asyncio.gather(*jobs)
        changes = sum(before != after for before, after in pairwise(turns))
        return heard, changes

    solo = with_pool(alone)
    heard, changes = with_pool(together)
    assert [each.text for each in heard] == [each.text for each in solo]
    assert changes > 20


def test_more_jobs_than_sequences_all_get_their_answers(endless: Build) -> None:
    async def many(pool: EnginePool) -> tuple[list[Heard], int]:
        jobs = (listen(pool, endless, asking(f"number {number}", n_ctx=512)) for number in range(9))
        return await asyncio.gather(*jobs), len(children())

    heard, alive = with_pool(many)
    assert [each.done.usage.completion_tokens for each in heard] == [40] * 9
    assert alive == 1


def test_a_system_prompt_is_read_once_for_all_conversations(starter: Build) -> None:
    async def three(pool: EnginePool) -> list[Heard]:
        return [await listen(pool, starter, in_chat(text, text, system=SYSTEM)) for text in TALKS]

    first, second, third = with_pool(three)
    assert first.done.usage.cached_tokens == 0
    assert min(second.done.usage.cached_tokens, third.done.usage.cached_tokens) > 60
    alone = with_pool(_asked(starter, in_chat("x", TALKS[2], system=SYSTEM)))
    assert third.text == alone.text


def test_a_conversation_goes_on_where_it_was_after_others(endless: Build) -> None:
    async def there_and_back(pool: EnginePool) -> tuple[Heard, Heard]:
        first = await listen(pool, endless, in_chat("a", "one two three"))
        for other in ("b", "c"):
            await listen(pool, endless, in_chat(other, f"something else: {other}"))
        return first, await listen(pool, endless, in_chat("a", "one two three", first.text, "and then?"))

    first, again = with_pool(there_and_back)
    before = first.done.usage
    assert again.done.usage.cached_tokens >= before.prompt_tokens + before.completion_tokens - 4


def test_the_conversation_that_rested_longest_makes_room(endless: Build) -> None:
    async def fill(pool: EnginePool) -> list[int]:
        long = "w" * 300
        await listen(pool, endless, in_chat("a", f"a{long}", n_ctx=1024))
        await listen(pool, endless, in_chat("b", f"b{long}", n_ctx=1024))
        await listen(pool, endless, in_chat("c", f"c{long}", n_ctx=1024))
        return [
            (await listen(pool, endless, in_chat(chat, f"{chat}{long}", n_ctx=1024))).done.usage.cached_tokens
            for chat in ("c", "a")
        ]

    kept, lost = with_pool(fill)
    assert kept > 300 > lost


def test_stopping_one_answer_leaves_the_other_alone(endless: Build) -> None:
    stop = asyncio.Event()
    lone = with_pool(lambda pool: listen(pool, endless, asking("second", max_tokens=300)))

    def after_five(event: EngineEvent) -> None:
        if isinstance(event, TextDelta):
            stop.set()

    async def both(pool: EnginePool) -> tuple[Heard, Heard]:
        await listen(pool, endless, asking("hi", max_tokens=1))
        first = listen(pool, endless, asking("first", max_tokens=2000), stop, after_five)
        return await asyncio.gather(first, listen(pool, endless, asking("second", max_tokens=300)))

    first, second = with_pool(both)
    assert (first.done.stopped, second.done.stopped) == (Stopped.USER, Stopped.LENGTH)
    assert second.done.usage.completion_tokens == 300
    assert second.text[:40] == lone.text[:40]


def test_a_longer_context_keeps_what_was_read(endless: Build) -> None:
    async def grow(pool: EnginePool) -> Heard:
        first = await listen(pool, endless, in_chat("a", "w" * 400, n_ctx=600))
        return await listen(pool, endless, in_chat("a", "w" * 400, first.text, "x" * 900, n_ctx=2048))

    heard = with_pool(grow)
    assert heard.done.usage.cached_tokens > 400
    assert heard.done.usage.completion_tokens == 48


def test_an_engine_that_dies_fails_every_answer_and_comes_back_for_the_next(endless: Build) -> None:
    async def crash(pool: EnginePool) -> tuple[list[Heard | BaseException], Heard]:
        await listen(pool, endless, asking("hi", max_tokens=1))
        jobs = [asyncio.create_task(listen(pool, endless, asking(text, max_tokens=1500))) for text in ("a", "b")]
        await asyncio.sleep(0.2)
        children()[0].kill()
        return await asyncio.gather(*jobs, return_exceptions=True), await listen(pool, endless, asking("hi"))

    ended, after = with_pool(crash)
    assert all(isinstance(each, Exception) and "SIGKILL" in str(each) for each in ended)
    assert after.done.usage.completion_tokens == 40


def _noting(turns: list[int], number: int) -> Callable[[EngineEvent], None]:
    return lambda event: turns.append(number) if isinstance(event, TextDelta) else None


def _asked(build: Build, job: TextJob) -> Callable[[EnginePool], Coroutine[object, object, Heard]]:
    return lambda pool: listen(pool, build, job)
