"""Every engine of a session: one child per resident build, under one memory budget."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

from nanolocal.chat.events import EngineDone, EngineEvent, MadeDo, Reading
from nanolocal.chat.messages import Stopped, Timing, Usage
from nanolocal.chat.ports import EngineStatus, ImageJob, PromptCache, TextJob
from nanolocal.chat.routes import Build, Kind
from nanolocal.engines import governor
from nanolocal.engines.attempts import Attempts
from nanolocal.engines.governor import Gauge, Governor, Setup, Unmeasured
from nanolocal.engines.keeping import Keeper
from nanolocal.engines.launch import threads_for, usable_cores
from nanolocal.engines.loading import Loader
from nanolocal.engines.seat import Seat, SeatedJob
from nanolocal.errors import EngineFailed, NoBuildFits, OutOfMemory, UsageError

STALL_S = 60.0
_GRACE_S = 20.0
"""How long a child that makes room may take to keep what it has read, before it is killed."""
_LAST_S = 5.0
"""The same at the end, when somebody waits for the program to be gone."""
MIN_SIDE, MAX_SIDE, MAX_PIXELS, MAX_STEPS = 32, 4096, 3 * 2**20, 1000


class EnginePool:
    """Implements ``chat.ports.Engines``. Its children belong to the event loop of the first ``run``.

    ``memory_bytes`` is what all children together may hold: idle ones leave, by the governor's choice, before another
    build is loaded, and a build waits while busy ones leave it no room. Whether a build fits this machine at all is
    the router's question; one that is larger than the budget is loaded alone. ``gauge`` tells what is really free.
    Builds that match ``pins`` stay longest; any other leaves when it has been idle for ``unload_s``, 0 for never.
    ``stall_s`` is how long a child may stand still in its work.
    """

    def __init__(
        self,
        memory_bytes: int,
        *,
        threads: int | None = None,
        stall_s: float = STALL_S,
        cache: PromptCache | None = None,
        gauge: Gauge | None = None,
        pins: Collection[str] = (),
        unload_s: float = 0.0,
    ) -> None:
        self._governor = Governor(memory_bytes, pins)
        self._loader = Loader(gauge or Unmeasured(), self._make_way)
        self._cache = cache
        self._threads = threads
        self._stall_s = stall_s
        self._unload_s = unload_s
        self._seats: dict[str, Seat] = {}
        self._leaving: dict[Seat, asyncio.Task[None]] = {}
        self._setups: dict[str, Setup] = {}
        self._told: dict[str, str] = {}
        self._change = asyncio.Event()
        self._is_closed = False

    async def run(self, build: Build, job: TextJob | ImageJob, stop: asyncio.Event) -> AsyncGenerator[EngineEvent]:
        """Load the build if needed and stream; the last event is ``EngineDone``. Setting ``stop`` ends it early.

        Where there is not enough memory, others leave, and then the build makes do with less: ``MadeDo`` says so.
        Raises ``EngineFailed`` when the engine cannot load or dies, ``NoBuildFits`` when the prompt is too long,
        ``UsageError`` for a job that no engine takes.
        """
        _check_job(build, job)
        attempts = Attempts(job, self._setups.get(build.sha256))
        while True:
            try:
                async with aclosing(self._attempt(build, attempts, stop)) as events:
                    async for event in events:
                        attempts.take(event)
                        if isinstance(event, Reading) and self._is_news(build, attempts.remark):
                            yield MadeDo(attempts.remark)
                        yield event
                return
            except (OutOfMemory, NoBuildFits) as error:
                is_memory = isinstance(error, OutOfMemory)
                others_left = is_memory and await self._clear(build)
                goes_on = attempts.falls_back(error, others_left=others_left)
                if goes_on and attempts.remark:
                    self._setups[build.sha256] = attempts.setup
                elif goes_on or is_memory:
                    self._setups.pop(build.sha256, None)
                if not goes_on or attempts.has_delivered or stop.is_set():
                    raise

    def resident(self) -> tuple[str, ...]:
        """The ids of the builds in memory, the one used last at the end."""
        ready = [seat for seat in self._seats.values() if seat.is_ready]
        return tuple(seat.build.id for seat in sorted(ready, key=lambda seat: seat.used_at))

    def memory(self, build_id: str) -> int:
        """Bytes that the child of a build in memory takes, as it last reported; 0 for any other."""
        seat = self._seats.get(build_id)
        return seat.memory if seat is not None and seat.is_ready else 0

    def status(self) -> tuple[EngineStatus, ...]:
        """Every build in memory, on its way there, or on its way out."""
        now = time.monotonic()
        return tuple(
            EngineStatus(
                build_id=seat.build.id,
                memory=seat.memory,
                state="leaving" if seat in self._leaving else seat.state,
                is_pinned=self._governor.is_pinned(seat.build.id),
                idle_s=0.0 if seat.is_busy else now - seat.used_at,
            )
            for seat in [*self._seats.values(), *self._leaving]
        )

    def kill(self, build_id: str) -> None:
        """Take a build out of memory at once; a job on it ends with ``EngineFailed``."""
        seat = self._seats.get(build_id)
        if seat is None:
            return
        seat.kill()
        if not seat.is_busy:
            self._send_off(seat)

    async def close(self, *, keeps: bool = True) -> None:
        """End every child and wait until it is gone; ``keeps`` lets idle ones keep what they have read first."""
        self._is_closed = True
        seats = list(self._seats.values())
        self._seats.clear()
        self._changed()
        for seat in seats:
            if seat.is_busy:
                seat.kill()
        grace_s = _LAST_S if keeps else 0.0
        await asyncio.gather(*(seat.unload(grace_s) for seat in seats), *self._leaving.values())

    async def _attempt(self, build: Build, attempts: Attempts, stop: asyncio.Event) -> AsyncGenerator[EngineEvent]:
        async with self._seat_for(build, attempts, stop) as seat:
            if seat is None:
                yield EngineDone(Usage(), Timing(), Stopped.USER)
                return
            async with aclosing(SeatedJob(seat, attempts.job, stop).events()) as events:
                async for event in events:
                    yield event

    def _is_news(self, build: Build, remark: str) -> bool:
        """Whether there is something to say about a build that was not said before."""
        if not remark or self._told.get(build.sha256) == remark:
            return False
        self._told[build.sha256] = remark
        return True

    @asynccontextmanager
    async def _seat_for(self, build: Build, attempts: Attempts, stop: asyncio.Event) -> AsyncIterator[Seat | None]:
        """Hold the seat of ``build``, waiting for it if need be; ``None`` when stopped before that."""
        while (seat := self._try_seat(build, attempts.setup)) is None and not stop.is_set():
            await _first_of(self._change, stop)
        if seat is None:
            yield None
            return
        job = attempts.job
        self._governor.used(build.id, job.chat_id if isinstance(job, TextJob) else "")
        try:
            yield seat
        finally:
            await self._leave(seat)

    def _try_seat(self, build: Build, setup: Setup) -> Seat | None:
        """A seat for ``build``, now busy; ``None`` while there is no room, or it has to leave first to come back."""
        if self._is_closed:
            raise EngineFailed(f"{build.id} cannot run: the engines are closed")
        seat = self._seats.get(build.id)
        if seat is not None and seat.is_ready and _is_same(seat.build, build) and seat.setup.kv == setup.kv:
            return seat if seat.has_room and self._join(seat, setup.n_ctx) else None
        if seat is not None and not seat.is_busy:
            self._send_off(seat)
        expected = governor.peak(build, setup)
        if build.id in (other.build.id for other in [*self._seats.values(), *self._leaving]) or not self._admit(
            expected
        ):
            return None
        threads = self._threads or threads_for(build, usable_cores())
        keeper = Keeper(self._cache, build.sha256)
        fresh = Seat(build, setup, expected, threads, self._stall_s, keeper, self._loader)
        self._seats[build.id] = fresh
        return fresh

    def _join(self, seat: Seat, n_ctx: int) -> bool:
        """Take a seat for one more job, if there is room for the context that this one wants."""
        if n_ctx > seat.setup.n_ctx:
            memory = governor.peak(seat.build, replace(seat.setup, n_ctx=n_ctx))
            if not self._admit(memory, seat):
                return False
            seat.grow(n_ctx, memory)
        seat.active += 1
        seat.leaves_at(None)
        return True

    def _admit(self, expected: int, growing: Seat | None = None) -> bool:
        """Whether there is room for so many bytes now; where there is not, those who have to leave for it do."""
        staying = [seat.resident for seat in self._seats.values() if seat is not growing]
        leaving = self._governor.leaving(staying, expected)
        for resident in leaving or ():
            self._send_off(self._seats[resident.build_id])
        held = sum(seat.memory for seat in self._leaving) + sum(resident.memory for resident in staying)
        return leaving == [] and (not held or held + expected <= self._governor.budget)

    async def _make_way(self) -> bool:
        """Let the idle build leave that is missed least, and wait until its memory is free; false if there is none."""
        residents = [seat.resident for seat in self._seats.values()]
        for resident in self._governor.in_turn(residents, self._governor.budget)[:1]:
            self._send_off(self._seats[resident.build_id])
        return await self._see_off()

    async def _clear(self, build: Build) -> bool:
        """Let go of ``build``, unless it is busy, and of all other idle ones but the pinned; whether any of those went.

        That it found no memory shows that the others hold more than was thought.
        """
        others = False
        for seat in list(self._seats.values()):
            if not seat.is_busy and (seat.build.id == build.id or not self._governor.is_pinned(seat.build.id)):
                self._send_off(seat)
                others |= seat.build.id != build.id
        await self._see_off()
        return others

    def _send_off(self, seat: Seat) -> None:
        """It begins to leave; what it holds counts until its process is gone."""
        del self._seats[seat.build.id]
        self._leaving[seat] = asyncio.create_task(self._unload(seat))

    async def _unload(self, seat: Seat) -> None:
        try:
            await seat.unload(_GRACE_S)
        finally:
            del self._leaving[seat]
            self._changed()

    async def _see_off(self) -> bool:
        """Wait until everyone is gone who is about to leave; false if there is nobody."""
        tasks = list(self._leaving.values())
        if tasks:
            await asyncio.wait(tasks)
        return bool(tasks)

    async def _leave(self, seat: Seat) -> None:
        """Give the seat back; without a living child the last one to leave takes it away."""
        try:
            if not seat.is_ready and seat.active == 1:
                await seat.unload()
        finally:
            seat.active -= 1
            seat.used_at = time.monotonic()
            if self._seats.get(seat.build.id) is seat and not seat.is_busy:
                if not seat.is_ready:
                    del self._seats[seat.build.id]
                elif self._unload_s and not self._governor.is_pinned(seat.build.id):
                    seat.leaves_at(asyncio.get_running_loop().call_later(self._unload_s, self._expire, seat))
            self._changed()

    def _expire(self, seat: Seat) -> None:
        """It has been idle long enough: it leaves."""
        if self._seats.get(seat.build.id) is seat and not seat.is_busy:
            self._send_off(seat)

    def _changed(self) -> None:
        """Wake everyone who waits for a seat."""
        self._change.set()
        self._change = asyncio.Event()


def _is_same(one: Build, other: Build) -> bool:
    """Whether they are the same files."""
    return (one.path, one.sha256, one.projector) == (other.path, other.sha256, other.projector)


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
