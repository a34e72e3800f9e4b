"""A short way to run jobs on tiny builds in real children."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil

from nanolocal.chat.events import EngineDone, EngineEvent, TextDelta
from nanolocal.chat.messages import Message, Role
from nanolocal.chat.ports import Job, TextJob
from nanolocal.chat.routes import Build, Kind
from nanolocal.engines.pool import EnginePool

T = TypeVar("T")

ANSWER = "dé🙂!"


def build_of(path: Path, kind: Kind = Kind.TEXT) -> Build:
    size = path.stat().st_size if path.is_file() else 10**6
    return Build(f"{path.stem}:f32", path.stem, kind, path, "f32", size, f"sha-{path.stem}", context_length=8192)


@dataclass(slots=True)
class Heard:
    """What a job yielded."""

    events: list[EngineEvent] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))

    @property
    def tokens(self) -> int:
        return sum(event.tokens for event in self.events if isinstance(event, TextDelta))

    @property
    def done(self) -> EngineDone:
        last = self.events[-1]
        assert isinstance(last, EngineDone)
        return last

    def of(self, kind: type[T]) -> list[T]:
        return [event for event in self.events if isinstance(event, kind)]


def talk(*texts: str, system: str | None = None) -> tuple[Message, ...]:
    """Messages that alternate and end with the user."""
    start = [Message(Role.SYSTEM, system)] if system else []
    roles = [Role.USER if (len(texts) - index) % 2 else Role.ASSISTANT for index in range(len(texts))]
    return (*start, *(Message(role, text) for role, text in zip(roles, texts, strict=True)))


def asking(*texts: str, n_ctx: int = 4096, max_tokens: int = 40, **settings: float) -> TextJob:
    return TextJob(talk(*texts), n_ctx, max_tokens, **({"temperature": 0.0} | settings))  # type: ignore[arg-type]


async def listen(
    pool: EnginePool,
    build: Build,
    job: Job,
    stop: asyncio.Event | None = None,
    on_event: Callable[[EngineEvent], None] = lambda event: None,
) -> Heard:
    heard = Heard()
    async with aclosing(pool.run(build, job, stop or asyncio.Event())) as events:
        async for event in events:
            heard.events.append(event)
            on_event(event)
    return heard


def with_pool(work: Callable[[EnginePool], Coroutine[object, object, T]], memory: int = 10**10, **how: Any) -> T:
    """Run ``work`` with a pool of its own and leave no child behind."""

    async def run() -> T:
        pool = EnginePool(memory, threads=1, **how)
        try:
            return await work(pool)
        finally:
            await pool.close()

    return asyncio.run(run())


def children() -> list[psutil.Process]:
    """The engine children of this process that still live."""
    alive = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in alive if "nanolocal.engines.host" in child.cmdline()]
