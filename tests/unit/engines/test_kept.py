"""Conversations that outlive their engine: kept in a real vault when it leaves, brought back when they go on."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from nanolocal.chat.ports import PromptSnapshot, TextJob
from nanolocal.chat.routes import Build
from nanolocal.engines.pool import EnginePool
from nanolocal.vault.promptcache import PromptCacheStore
from tests.fakes.homes import home
from tests.fakes.tiny_gguf import write_tiny_gguf
from tests.unit.engines.helpers import Heard, build_of, listen, talk, with_pool

HISTORY = "word " * 120


@dataclass
class Kept:
    """A build, two conversations in a vault, and the cache of that vault."""

    cache: PromptCacheStore
    build: Build
    chats: tuple[str, str]

    @property
    def snapshot(self) -> PromptSnapshot | None:
        return self.cache.find(self.build.sha256, self.chats[0])

    def ask(self, *texts: str, chat: int = 0, n_ctx: int = 2048) -> Heard:
        """Ask a new engine, and let it leave."""
        job = TextJob(talk(*texts), n_ctx, 24, temperature=0.0, chat_id=self.chats[chat] if chat >= 0 else "")
        return with_pool(lambda pool: listen(pool, self.build, job), cache=self.cache)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    with home(tmp_path / "v", None) as here:
        build = build_of(write_tiny_gguf(tmp_path / "endless.gguf", layers=2))
        cache = PromptCacheStore(here.vault.database, 1000)
        yield Kept(cache, build, (here.turn("a", "b")[0], here.turn("c", "d")[0]))
        cache.close()


def test_a_conversation_goes_on_after_a_restart_without_being_read_again(kept: Kept) -> None:
    first = kept.ask(HISTORY)
    assert kept.snapshot is not None
    assert kept.snapshot.tokens >= 500
    assert kept.snapshot.size == kept.snapshot.path.stat().st_size
    again = kept.ask(HISTORY, first.text, "and then?")
    assert again.done.usage.cached_tokens >= first.done.usage.prompt_tokens
    kept.cache.clear()
    cold = kept.ask(HISTORY, first.text, "and then?")
    assert cold.done.usage.cached_tokens == 0
    assert again.text == cold.text


def test_what_is_not_a_stored_conversation_is_never_kept(kept: Kept) -> None:
    kept.ask(HISTORY, chat=-1)
    assert not list((kept.cache._folder).glob("*"))


def test_a_short_conversation_is_not_worth_a_file(kept: Kept) -> None:
    kept.ask("short")
    assert kept.snapshot is None


def test_a_conversation_that_makes_room_for_another_comes_back(kept: Kept) -> None:
    async def there_and_back(pool: EnginePool) -> Heard:
        job = TextJob(talk(HISTORY), 1024, 24, temperature=0.0, chat_id=kept.chats[0])
        other = TextJob(talk("y" * 700), 1024, 24, temperature=0.0, chat_id=kept.chats[1])
        await listen(pool, kept.build, job)
        await listen(pool, kept.build, other)
        return await listen(pool, kept.build, job)

    heard = with_pool(there_and_back, cache=kept.cache)
    assert heard.done.usage.cached_tokens == heard.done.usage.prompt_tokens - 1


def test_a_long_conversation_that_rests_does_not_slow_the_next_one_down(kept: Kept) -> None:
    async def there_and_back(pool: EnginePool) -> tuple[PromptSnapshot | None, Heard]:
        jobs = [TextJob(talk(HISTORY, chat, "go on"), 4096, 24, temperature=0.0, chat_id=chat) for chat in kept.chats]
        for job in jobs:
            await listen(pool, kept.build, job)
        return kept.snapshot, await listen(pool, kept.build, jobs[0])

    snapshot, heard = with_pool(there_and_back, cache=kept.cache)
    assert snapshot is None  # what both have read is shared, and what is left is short
    assert heard.done.usage.cached_tokens == heard.done.usage.prompt_tokens - 1

    async def another(pool: EnginePool) -> tuple[PromptSnapshot | None, Heard]:
        job = TextJob(talk(HISTORY), 4096, 24, temperature=0.0, chat_id=kept.chats[0])
        await listen(pool, kept.build, job)
        other = TextJob(talk("y" * 700), 4096, 24, temperature=0.0, chat_id=kept.chats[1])
        await listen(pool, kept.build, other)
        return kept.snapshot, await listen(pool, kept.build, job)

    snapshot, heard = with_pool(another, cache=kept.cache)
    assert snapshot is not None
    assert heard.done.usage.cached_tokens == heard.done.usage.prompt_tokens - 1
    in_memory, heard = with_pool(another)  # where nothing is kept, it stays
    assert in_memory == snapshot
    assert heard.done.usage.cached_tokens == heard.done.usage.prompt_tokens - 1


def test_a_short_conversation_that_rests_makes_way_and_is_read_again(kept: Kept) -> None:
    async def there_and_back(pool: EnginePool) -> tuple[Heard, Heard]:
        job = TextJob(talk("short"), 4096, 24, temperature=0.0, chat_id=kept.chats[0])
        other = TextJob(talk("y" * 200), 4096, 24, temperature=0.0, chat_id=kept.chats[1])
        first = await listen(pool, kept.build, job)
        await listen(pool, kept.build, other)
        return first, await listen(pool, kept.build, job)

    first, again = with_pool(there_and_back, cache=kept.cache)
    assert kept.snapshot is None
    assert again.done.usage.cached_tokens < again.done.usage.prompt_tokens // 2
    assert again.text == first.text


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone", "another build"])
def test_a_damaged_snapshot_costs_reading_again_and_is_dropped(kept: Kept, damage: str) -> None:
    first = kept.ask(HISTORY)
    snapshot = kept.snapshot
    assert snapshot is not None
    data = snapshot.path.read_bytes()
    match damage:
        case "flipped":
            snapshot.path.write_bytes(data[:5000] + bytes([data[5000] ^ 1]) + data[5001:])
        case "cut":
            snapshot.path.write_bytes(data[:-100])
        case "gone":
            snapshot.path.unlink()
        case "another build":
            snapshot.path.write_bytes(os.urandom(len(data)))
    again = kept.ask(HISTORY)
    assert again.done.usage.cached_tokens == 0
    assert again.text == first.text
    assert kept.snapshot is not None
    assert kept.snapshot.path != snapshot.path
    assert not snapshot.path.exists()


def test_an_engine_that_is_killed_leaves_no_file(kept: Kept) -> None:
    async def killed(pool: EnginePool) -> Heard:
        job = TextJob(talk(HISTORY), 2048, 24, temperature=0.0, chat_id=kept.chats[0])
        heard = await listen(pool, kept.build, job)
        pool.kill(kept.build.id)
        return heard

    assert with_pool(killed, cache=kept.cache).done.usage.completion_tokens == 24
    assert kept.snapshot is None
