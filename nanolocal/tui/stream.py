"""Text that arrives in tokens, handed on in pieces that a screen can keep up with."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

INTERVAL_S = 0.1
_MOST_S = 0.5
_DOUBLES_AFTER = 2000


class Coalescer:
    """Collects text and hands it to ``write`` at once, then at most every ``interval`` seconds.

    Laying out a long text costs more, and the model needs the cores too: the interval grows with the text.
    """

    def __init__(self, write: Callable[[str], Awaitable[None]], interval: float = INTERVAL_S) -> None:
        self._write = write
        self._interval = interval
        self._pieces: list[str] = []
        self._written = 0
        self._arrived = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None

    def add(self, text: str) -> None:
        """Take the next piece."""
        if self._pump is None:
            self._pump = asyncio.create_task(self._run())
        self._pieces.append(text)
        self._arrived.set()

    async def close(self) -> None:
        """Hand on what is left."""
        if self._pump is not None:
            self._pump.cancel()
            with suppress(asyncio.CancelledError):
                await self._pump
        await self._flush()

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            await self._flush()
            await asyncio.sleep(min(_MOST_S, self._interval * (1 + self._written / _DOUBLES_AFTER)))

    async def _flush(self) -> None:
        text, self._pieces = "".join(self._pieces), []
        self._written += len(text)
        if text:
            await self._write(text)
