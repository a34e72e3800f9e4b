"""What a user can do to a running transfer: pause it, go on, stop it, slow it down."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nanolocal.errors import TransferFailed
from nanolocal.library.pull.faults import AGAIN

_BURST_SECONDS = 0.25


class Rate:
    """A bucket of tokens for bytes: ``per_second`` flow in, a quarter of a second's worth fits; 0 is no limit."""

    def __init__(self, per_second: int = 0) -> None:
        self.per_second = per_second
        self._empty_until = 0.0

    def delay(self, count: int, now: float) -> float:
        """Take ``count`` tokens at the time ``now`` in seconds; returns how long to wait before using them."""
        if self.per_second <= 0:
            return 0.0
        self._empty_until = max(self._empty_until, now - _BURST_SECONDS) + count / self.per_second
        return max(0.0, self._empty_until - now)


class Control:
    """Steers the transfers it is given to, all their connections together. To be called in their event loop."""

    def __init__(self, bytes_per_second: int = 0, connections: int = 4) -> None:
        self.rate = Rate(bytes_per_second)
        self.connections = max(1, connections)
        self._going = asyncio.Event()
        self._going.set()
        self._is_stopped = False
        self._running: set[asyncio.Timeout] = set()

    @property
    def is_paused(self) -> bool:
        """Whether it waits to be resumed."""
        return not self._going.is_set()

    def pause(self) -> None:
        """Take nothing more from the network until ``resume``."""
        self._going.clear()

    def resume(self) -> None:
        """Go on."""
        self._going.set()

    def stop(self) -> None:
        """End with ``TransferFailed``; what arrived is kept, and the next transfer goes on there."""
        if not self._is_stopped:
            self._is_stopped = True
            for deadline in self._running:
                deadline.reschedule(0)

    async def may_go(self) -> None:
        """Return once it is not paused."""
        await self._going.wait()

    async def take(self, count: int) -> None:
        """Wait until the rate allows ``count`` more bytes."""
        delay = self.rate.delay(count, time.monotonic())
        if delay:
            await asyncio.sleep(delay)

    @asynccontextmanager
    async def stoppable(self) -> AsyncIterator[None]:
        """A block that ``stop`` ends, wherever it waits, with ``TransferFailed``."""
        deadline = asyncio.timeout(0 if self._is_stopped else None)
        self._running.add(deadline)
        try:
            async with deadline:
                yield
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise TransferFailed("the download was stopped", AGAIN) from error
        finally:
            self._running.discard(deadline)
