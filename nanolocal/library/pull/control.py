"""What a user can do to a running transfer: pause it, go on, stop it, slow it down."""

import asyncio
import time
from contextlib import suppress

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
        self._stopping = asyncio.Event()

    @property
    def is_paused(self) -> bool:
        """Whether it waits to be resumed."""
        return not self._going.is_set()

    def pause(self) -> None:
        """Take nothing more from the network until ``resume``."""
        if not self._stopping.is_set():
            self._going.clear()

    def resume(self) -> None:
        """Go on."""
        self._going.set()

    def stop(self) -> None:
        """End with ``TransferFailed``; what arrived is kept, and the next transfer goes on there."""
        self._stopping.set()
        self._going.set()

    async def go(self) -> None:
        """Return once nothing is against going on."""
        await self._going.wait()
        self._check()

    async def take(self, count: int) -> None:
        """Wait until the rate allows ``count`` more bytes."""
        await self.sleep(self.rate.delay(count, time.monotonic()))

    async def sleep(self, seconds: float) -> None:
        """Wait, unless it is stopped meanwhile."""
        if seconds > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._stopping.wait()
        self._check()

    def _check(self) -> None:
        if self._stopping.is_set():
            raise TransferFailed("the download was stopped", AGAIN)
