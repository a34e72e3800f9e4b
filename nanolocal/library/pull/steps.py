"""What fetching and repairing have in common: waiting where the user or the server asks for it, and trying again."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from nanolocal.library.pull.control import Control
from nanolocal.library.pull.faults import Fault, Tries
from nanolocal.library.pull.meter import Meter
from nanolocal.library.pull.plan import Stage
from nanolocal.library.pull.source import Incoming, Source, WholeFilesOnly

_WORTH_TELLING = 1.0


class Steps:
    """One transfer's dealings with the user: its ``control`` and ``meter``."""

    def __init__(self, control: Control, meter: Meter, name: str) -> None:
        self.control = control
        self.meter = meter
        self._name = name

    def tries(self, source: Source) -> Tries:
        """A fresh count of faults in a row."""
        return Tries(source.patience, self._name)

    async def may_go(self) -> None:
        """Return once the user has nothing against going on."""
        if self.control.is_paused:
            self.meter.waits(Stage.PAUSED)
        await self.control.may_go()

    async def pieces(self, incoming: Incoming) -> AsyncGenerator[bytes, None]:
        """What is coming, as fast as the user allows."""
        async with aclosing(incoming.pieces()) as pieces:
            async for piece in pieces:
                await self.may_go()
                await self.control.take(len(piece))
                yield piece

    async def wait_after(self, fault: Fault, tries: Tries, done: int) -> None:
        """Wait as long as it takes before the next try; raises ``TransferFailed`` when there is none."""
        wait = tries.wait_after(fault, done)
        if wait >= _WORTH_TELLING:
            self.meter.waits(Stage.WAITING, f"{fault.says}: trying again in {wait:.0f} s")
        await asyncio.sleep(wait)

    async def hold(self, source: Source, start: int, stop: int, told: Callable[[int], None]) -> bytes:
        """The bytes from ``start`` to ``stop``, fetched into memory. ``told`` hears how many came.

        Raises ``WholeFilesOnly``, and ``TransferFailed`` after too many faults.
        """
        held, tries = bytearray(), self.tries(source)
        while len(held) < stop - start:
            await self.may_go()
            before = len(held)
            try:
                async with source.open(start + before, stop) as incoming:
                    if incoming.is_whole:
                        raise WholeFilesOnly(f"the server sends {self._name} as a whole only", "pull it anew")
                    async with aclosing(self.pieces(incoming)) as pieces:
                        async for piece in pieces:
                            held += piece
                            told(len(piece))
            except Fault as fault:
                if fault.is_damage:
                    del held[before:]
                await self.wait_after(fault, tries, len(held))
        return bytes(held)
