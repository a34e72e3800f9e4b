"""Several connections that bring what is missing of one file, a chunk each at a time."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing

from nanolocal.errors import TransferFailed
from nanolocal.library.pull.arrived import Arrived
from nanolocal.library.pull.faults import Fault, Tries
from nanolocal.library.pull.source import Incoming, Source
from nanolocal.library.pull.steps import Steps
from nanolocal.library.pull.threads import in_thread

_BELIEVED_AFTER = 2
"""So many whole files in place of a part are not read: what is there already would be fetched again."""
_GRACE_SECONDS = 5.0


class Connections:
    """Fetches from ``source`` what has not ``arrived``. ``begin`` is called when the server has said what it has."""

    def __init__(self, source: Source, arrived: Arrived, steps: Steps, begin: Callable[[], None]) -> None:
        self._source = source
        self._arrived = arrived
        self._steps = steps
        self._begin = begin
        self._taken: set[int] = set()
        self._others_may_start = asyncio.Event()
        self._whole_answers = 0
        self._given_up: TransferFailed | None = None
        self._limit = asyncio.timeout(None)

    async def run(self) -> None:
        """Return once all of it is there. Raises ``Changed``, ``TransferFailed`` or ``UsageError``.

        One connection begins; the others join when the server has shown that it sends parts. When one gives up, the
        others may bring to an end what is on its way to them.
        """
        try:
            async with self._limit, asyncio.TaskGroup() as group:
                group.create_task(self._first())
                for _ in range(1, self._steps.control.connections):
                    group.create_task(self._other())
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        except TimeoutError:
            if not self._limit.expired():
                raise
        if self._given_up is not None:
            raise self._given_up

    async def _first(self) -> None:
        try:
            await self._work()
        finally:
            self._others_may_start.set()

    async def _other(self) -> None:
        await self._others_may_start.wait()
        await self._work()

    async def _work(self) -> None:
        tries = self._steps.tries(self._source)
        while self._given_up is None and (index := self._arrived.missing(self._taken)) is not None:
            self._taken.add(index)
            try:
                while self._given_up is None and not self._arrived.is_complete(index):
                    await self._try(index, tries)
            except TransferFailed as error:
                self._give_up(error)
            finally:
                self._taken.discard(index)

    def _give_up(self, error: TransferFailed) -> None:
        if self._given_up is None:
            self._given_up = error
            self._limit.reschedule(asyncio.get_running_loop().time() + _GRACE_SECONDS)

    async def _try(self, index: int, tries: Tries) -> None:
        """One request for what is missing of the chunk."""
        await self._steps.may_go()
        try:
            await self._stream(index)
        except Fault as fault:
            self._arrived.met_fault(index)
            await self._steps.wait_after(fault, tries, self._arrived.done)

    async def _stream(self, index: int) -> None:
        arrived, stop = self._arrived, self._arrived.stop(index)
        start = arrived.start(index) if arrived.total is None else arrived.reach(index)
        async with self._source.open(start, stop) as incoming:
            if incoming.is_whole and arrived.done and self._whole_answers < _BELIEVED_AFTER:
                self._whole_answers += 1
                raise Fault("the whole file came instead of the part that was asked for")
            if arrived.journal is None:
                self._begin()
            if self._source.has_ranges:
                self._others_may_start.set()
            try:
                end = await self._keep(incoming)
            except Fault as fault:
                if fault.is_damage or not self._source.can_resume:
                    arrived.cut(incoming.start, incoming.stop)
                raise
            arrived.total = end if arrived.total is None else arrived.total

    async def _keep(self, incoming: Incoming) -> int:
        """Write what comes; returns where it ended."""
        arrived, position = self._arrived, incoming.start
        async with aclosing(self._steps.pieces(incoming)) as pieces:
            async for piece in pieces:
                before = arrived.done
                if arrived.write(position, piece):
                    await in_thread(arrived.sync)
                position += len(piece)
                self._steps.meter.moved(arrived.done - before, arrived.done)
        return position
