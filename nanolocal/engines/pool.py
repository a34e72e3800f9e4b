"""Every engine of a session: one child per resident build, under one memory budget."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

from nanolocal.chat.events import EngineDone, EngineEvent
from nanolocal.chat.messages import Stopped, Timing, Usage
from nanolocal.chat.ports import ImageJob, PromptCache, TextJob
from nanolocal.chat.routes import Build, Kind
from nanolocal.engines.keeping import Keeper
from nanolocal.engines.launch import threads_for, usable_cores
from nanolocal.engines.seat import Seat, SeatedJob
from nanolocal.errors import EngineFailed, UsageError

STALL_S = 60.0
_GRACE_S = 20.0
"""How long a child that makes room may take to keep what it has read, before it is killed."""
_LAST_S = 5.0
"""The same at the end, when somebody waits for the program to be gone."""
MIN_SIDE, MAX_SIDE, MAX_PIXELS, MAX_STEPS = 32, 4096, 3 * 2**20, 1000

_OVERHEAD = {Kind.TEXT: 64 * 2**20, Kind.IMAGE: 400 * 2**20}
"""Bytes that a child needs beside its weights, before it has been measured."""


class EnginePool:
    """Implements ``chat.ports.Engines``. Its children belong to the event loop of the first ``run``.

    ``memory_bytes`` is what all children together may hold: idle ones leave, least recently used first, before another
    build is loaded, and a build waits while busy ones leave it no room. Whether a build fits this machine at all is
    the router's question; one that is larger than the budget is loaded alone. ``stall_s`` is how long a child may
    stand still in its work.
    """

    def __init__(
        self,
        memory_bytes: int,
        *,
        threads: int | None = None,
        stall_s: float = STALL_S,
        cache: PromptCache | None = None,
    ) -> None:
        self._memory_bytes = memory_bytes
        self._cache = cache
        self._threads = threads
        self._stall_s = stall_s
        self._seats: dict[str, Seat] = {}
        self._killed: list[Seat] = []
        self._change = asyncio.Event()
        self._is_closed = False

    async def run(self, build: Build, job: TextJob | ImageJob, stop: asyncio.Event) -> AsyncGenerator[EngineEvent]:
        """Load the build if needed and stream; the last event is ``EngineDone``. Setting ``stop`` ends it early.

        Raises ``EngineFailed`` when the engine cannot load or dies, ``NoBuildFits`` when the prompt is too long,
        ``UsageError`` for a job that no engine takes.
        """
        _check_job(build, job)
        async with self._seat_for(build, _context_of(job), stop) as seat:
            if seat is None:
                yield EngineDone(Usage(), Timing(), Stopped.USER)
                return
            async with aclosing(SeatedJob(seat, job, stop).events()) as events:
                async for event in events:
                    yield event

    def resident(self) -> tuple[str, ...]:
        """The ids of the builds in memory, the one used last at the end."""
        ready = [seat for seat in self._seats.values() if seat.is_ready]
        return tuple(seat.build.id for seat in sorted(ready, key=lambda seat: seat.used_at))

    def memory(self, build_id: str) -> int:
        """Bytes that the child of a build in memory takes, as it last reported; 0 for any other."""
        seat = self._seats.get(build_id)
        return seat.memory if seat is not None and seat.is_ready else 0

    def kill(self, build_id: str) -> None:
        """Take a build out of memory at once; a job on it ends with ``EngineFailed``."""
        seat = self._seats.get(build_id)
        if seat is None:
            return
        seat.kill()
        if not seat.is_busy:
            self._killed.append(self._seats.pop(build_id))
            self._changed()

    async def close(self, *, keeps: bool = True) -> None:
        """End every child and wait until it is gone; ``keeps`` lets idle ones keep what they have read first."""
        self._is_closed = True
        seats = [*self._seats.values(), *self._killed]
        self._seats.clear()
        self._killed.clear()
        self._changed()
        for seat in seats:
            if seat.is_busy:
                seat.kill()
        await asyncio.gather(*(seat.unload(_LAST_S if keeps else 0.0) for seat in seats))

    @asynccontextmanager
    async def _seat_for(self, build: Build, n_ctx: int, stop: asyncio.Event) -> AsyncIterator[Seat | None]:
        """Hold the seat of ``build``, waiting for it if need be; ``None`` when stopped before that."""
        while (found := self._try_seat(build, n_ctx)) is None and not stop.is_set():
            await _first_of(self._change, stop)
        if found is None:
            yield None
            return
        seat, leaving = found
        try:
            for old in [*leaving, *self._killed]:
                await old.unload(_GRACE_S)
            self._killed.clear()
            yield seat
        finally:
            await self._leave(seat)

    def _try_seat(self, build: Build, n_ctx: int) -> tuple[Seat, list[Seat]] | None:
        """A seat for ``build``, now busy, and the seats that have to leave for it; ``None`` while there is no room."""
        if self._is_closed:
            raise EngineFailed(f"{build.id} cannot run: the engines are closed")
        seat = self._seats.get(build.id)
        if seat is not None and seat.is_ready and seat.has_room and _is_same(seat.build, build):
            seat.active += 1
            return seat, []
        if seat is not None and seat.is_busy:
            return None
        expected = _estimate(build, n_ctx)
        leaving = self._make_room(expected, seat)
        if leaving is None:
            return None
        for old in leaving:
            del self._seats[old.build.id]
        threads = self._threads or threads_for(build, usable_cores())
        self._seats[build.id] = fresh = Seat(build, expected, threads, self._stall_s, Keeper(self._cache, build.sha256))
        return fresh, leaving

    def _make_room(self, expected: int, replaced: Seat | None) -> list[Seat] | None:
        """The idle seats to give up, ``replaced`` among them; ``None`` when busy ones have to end first."""
        leaving = [] if replaced is None else [replaced]
        staying = [seat for seat in self._seats.values() if seat is not replaced]
        room = self._memory_bytes - expected
        for seat in sorted(staying, key=lambda seat: seat.used_at):
            if sum(other.memory for other in staying) <= room:
                break
            if not seat.is_busy:
                staying.remove(seat)
                leaving.append(seat)
        return leaving if not staying or sum(seat.memory for seat in staying) <= room else None

    async def _leave(self, seat: Seat) -> None:
        """Give the seat back; without a living child the last one to leave takes it away."""
        seat.used_at = asyncio.get_running_loop().time()
        try:
            if not seat.is_ready and seat.active == 1:
                await seat.unload()
        finally:
            seat.active -= 1
            if not seat.is_ready and not seat.is_busy and self._seats.get(seat.build.id) is seat:
                del self._seats[seat.build.id]
            self._changed()

    def _changed(self) -> None:
        """Wake everyone who waits for a seat."""
        self._change.set()
        self._change = asyncio.Event()


def _is_same(one: Build, other: Build) -> bool:
    """Whether they are the same files."""
    return (one.path, one.sha256, one.projector) == (other.path, other.sha256, other.projector)


def _context_of(job: TextJob | ImageJob) -> int:
    return job.n_ctx if isinstance(job, TextJob) else 0


def _estimate(build: Build, n_ctx: int) -> int:
    """Bytes that the child will show when it is measured, pages that the system may take back among them."""
    if build.footprint is not None:
        return build.footprint.peak(n_ctx)
    return build.size_bytes + build.size_bytes // 4 + _OVERHEAD[build.kind]


def _check_job(build: Build, job: TextJob | ImageJob) -> None:
    """Refuse what no engine could do; raises ``UsageError``."""
    if isinstance(job, ImageJob) != (build.kind is Kind.IMAGE):
        wanted = "draws pictures" if build.kind is Kind.IMAGE else "writes text"
        raise UsageError(f"{build.id} {wanted}; this job is of the other kind", "choose another build with --model")
    if isinstance(job, TextJob):
        if not job.messages or job.max_tokens < 1 or job.n_ctx < 1:
            raise UsageError("a text job has a message and room for at least one token", "type something to ask")
        return
    for name, side in (("width", job.width), ("height", job.height)):
        if not MIN_SIDE <= side <= MAX_SIDE or side % 8:
            raise UsageError(
                f"a picture's {name} is a multiple of 8 from {MIN_SIDE} to {MAX_SIDE}, not {side}", "try --size 256x256"
            )
    if job.width * job.height > MAX_PIXELS:
        raise UsageError(f"a picture has at most {MAX_PIXELS} pixels, not {job.width}x{job.height}", "ask for less")
    if not 1 <= job.steps <= MAX_STEPS:
        raise UsageError(f"a picture takes 1 to {MAX_STEPS} steps, not {job.steps}", "leave --steps out")


async def _first_of(*events: asyncio.Event) -> None:
    """Wait until one of ``events`` is set."""
    tasks = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
