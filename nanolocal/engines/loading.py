"""One build at a time comes into memory, and only into memory that is free now."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from nanolocal.chat.amounts import format_bytes
from nanolocal.chat.routes import Build
from nanolocal.engines import governor
from nanolocal.engines.client import ChildDied
from nanolocal.engines.governor import Gauge, Setup
from nanolocal.errors import OutOfMemory

_SETTLE_S = 2.0
"""How long what others gave back may take to become free."""
_POLL_S = 0.05


class Loader:
    """``gauge`` tells what is free. ``make_way`` lets one idle build leave, and is false where there is none."""

    def __init__(self, gauge: Gauge, make_way: Callable[[], Awaitable[bool]]) -> None:
        self.gauge = gauge
        self._make_way = make_way
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def turn(self, stop: asyncio.Event) -> AsyncIterator[None]:
        """Wait for the turn to load, and have it during the block; raises ``ChildDied`` where ``stop`` is sooner."""
        acquiring = asyncio.create_task(self._lock.acquire())
        try:
            await _sooner_than(stop, acquiring)
            yield
        finally:
            if not acquiring.cancel():
                self._lock.release()

    async def wait_for_memory(self, build: Build, setup: Setup, stop: asyncio.Event) -> None:
        """Wait until what the build needs is free; raises ``OutOfMemory`` where it never is, ``ChildDied`` as above."""
        waiting = asyncio.create_task(self._wait_for(governor.needed(build, setup), build))
        try:
            await _sooner_than(stop, waiting)
        finally:
            waiting.cancel()

    async def _wait_for(self, needed: int, build: Build) -> None:
        tries = int(_SETTLE_S / _POLL_S)
        while (free := await asyncio.to_thread(self.gauge.free)) < needed:
            if await self._make_way():
                continue
            if not tries:
                raise OutOfMemory(
                    f"{build.id} needs {format_bytes(needed)} of memory and {format_bytes(free)} are free",
                    "close other programs, or choose a smaller build",
                )
            tries -= 1
            await asyncio.sleep(_POLL_S)


async def _sooner_than(stop: asyncio.Event, task: asyncio.Task[Any]) -> None:
    """Wait for ``task``; raises ``ChildDied`` where ``stop`` is sooner."""
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((task, stopping), return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
    if not task.done():
        raise ChildDied("was stopped before it loaded")
    await task
