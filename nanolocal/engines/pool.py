"""Every engine of a session: one child per resident build, under one memory budget."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from nanolocal.chat.canvas import MOST_PIXELS, Ladder
from nanolocal.chat.drawing import RUNGS
from nanolocal.chat.events import EngineDone, EngineEvent, ImageStep, MadeDo, Reading
from nanolocal.chat.messages import Stopped, Timing, Usage
from nanolocal.chat.ports import EmbeddingJob, EngineStatus, ImageJob, Job, PromptCache, TextJob, Tunings
from nanolocal.chat.routes import Build, Kind
from nanolocal.chat.tuning import Tuning
from nanolocal.engines import governor
from nanolocal.engines.attempts import Attempts
from nanolocal.engines.companions import found, numbers_of, places_of
from nanolocal.engines.governor import Gauge, Governor, Setup, Stay, Unmeasured
from nanolocal.engines.isolation import has_graphics_card
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
_DOES = {Kind.IMAGE: "draws pictures", Kind.TEXT: "writes text", Kind.EMBEDDING: "makes vectors of texts"}
_DONE_BY: dict[type, tuple[Kind, ...]] = {
    TextJob: (Kind.TEXT,),
    ImageJob: (Kind.IMAGE,),
    EmbeddingJob: (Kind.EMBEDDING, Kind.TEXT),
}
_ALWAYS = Stay()
_IN_16_BITS = ("half", "int8")
MIN_SIDE, MAX_SIDE, MAX_PIXELS, MAX_STEPS, MAX_COUNT = 32, 4096, MOST_PIXELS, 1000, 64


class EnginePool:
    """Implements ``chat.ports.Engines``. Its children belong to the event loop of the first ``run``.

    ``memory_bytes`` is what all children together may hold: idle ones leave, by the governor's choice, before another
    build is loaded, and a build waits while busy ones leave it no room. Whether a build fits this machine at all is
    the router's question; one that is larger than the budget is loaded alone. ``gauge`` tells what is really free.
    ``stay`` tells when an idle one leaves by itself.
    ``stall_s`` is how long a child may stand still in its work. ``tunings`` know how a build runs fastest.
    ``companions`` are the LoRAs and ControlNets that jobs may name: for one that reads other files its build is loaded
    again.
    """

    def __init__(
        self,
        memory_bytes: int,
        *,
        threads: int | None = None,
        stall_s: float = STALL_S,
        cache: PromptCache | None = None,
        gauge: Gauge | None = None,
        stay: Stay = _ALWAYS,
        tunings: Tunings | None = None,
        companions: Callable[[], Mapping[str, Path]] = dict,
    ) -> None:
        self._governor = Governor(memory_bytes, stay.pins)
        self._loader = Loader(gauge or Unmeasured(), self._make_way)
        self._cache = cache
        self._tunings = tunings
        self._threads = threads
        self._stall_s = stall_s
        self._idle_s = stay.idle_s
        self._companions = companions
        self._seats: dict[str, Seat] = {}
        self._leaving: dict[Seat, asyncio.Task[None]] = {}
        self._setups: dict[str, Setup] = {}
        self._told: dict[str, str] = {}
        self._change = asyncio.Event()
        self._is_closed = False

    async def run(self, build: Build, job: Job, stop: asyncio.Event) -> AsyncGenerator[EngineEvent]:
        """Load the build if needed and stream; the last event is ``EngineDone``. Setting ``stop`` ends it early.

        Where there is not enough memory, others leave, and then the build makes do with less: ``MadeDo`` says so.
        Raises ``EngineFailed`` when the engine cannot load or dies, ``NoBuildFits`` when the prompt is too long,
        ``UsageError`` for a job that no engine takes.
        """
        _check_job(build, job)
        attempts = await self._attempts(build, job)
        while True:
            try:
                async with aclosing(self._attempt(build, attempts, stop)) as events:
                    async for event in events:
                        attempts.take(event)
                        if isinstance(event, Reading | ImageStep) and self._is_news(build, attempts):
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

    async def _attempts(self, build: Build, job: Job) -> Attempts:
        """The ways to do the job, the first one as is known to be best."""
        known = self._setups.get(build.sha256)
        if isinstance(job, ImageJob):
            picture, numbers = await asyncio.to_thread(self._found, build, job)
            ladder = ladder_of(build, picture, numbers, self._governor.budget)
            return Attempts(picture, known, ladder=ladder, places=places_of(picture))
        if self._tunings is None or not isinstance(job, TextJob):
            return Attempts(job, known)
        seat = self._seats.get(build.id)
        loaded = seat.setup if seat is not None and seat.is_ready else None
        tuning, draft, job = await asyncio.to_thread(_known, self._tunings, build, job, loaded)
        return Attempts(job, known, tuning, draft)

    def _found(self, build: Build, job: ImageJob) -> tuple[ImageJob, int]:
        """The job with paths in place of names and all settled, and how many weights are behind them; reads folders."""
        picture = found(job, self._companions())
        if picture.cache is None and self._tunings is not None:
            picture = replace(picture, cache=self._tunings.step_cache(build))
        return picture, numbers_of(picture)

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

    def _is_news(self, build: Build, attempts: Attempts) -> bool:
        """Whether there is something to say: of a build what was not said before, of a picture's size at each one."""
        if not attempts.remark or attempts.told == attempts.remark:
            return False
        was_said = self._told.get(build.sha256) == attempts.remark
        self._told[build.sha256] = attempts.told = attempts.remark
        return attempts.is_smaller or not was_said

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
        if seat is not None and seat.is_ready and _is_same(seat.build, build) and seat.setup.serves(setup):
            return seat if seat.has_room and self._join(seat, setup) else None
        if seat is not None:
            setup = replace(setup, places=setup.places | seat.setup.places)
        if seat is not None and not seat.is_busy:
            self._send_off(seat)
        if build.kind is Kind.IMAGE:
            setup = replace(setup, places=setup.places | frozenset(map(str, self._companions().values())))
        expected = governor.peak(build, setup)
        if build.id in (other.build.id for other in [*self._seats.values(), *self._leaving]) or not self._admit(
            expected
        ):
            return None
        threads = self._threads or setup.tuning.threads or threads_for(build, usable_cores())
        keeper = Keeper(self._cache, build.sha256)
        fresh = Seat(build, setup, expected, threads, self._stall_s, keeper, self._loader)
        self._seats[build.id] = fresh
        return fresh

    def _join(self, seat: Seat, setup: Setup) -> bool:
        """Take a seat for one more job, if there is room for the context or the larger picture that it wants."""
        n_ctx = max(setup.n_ctx, seat.setup.n_ctx)
        if n_ctx > seat.setup.n_ctx or setup.memory > seat.expected:
            memory = max(governor.peak(seat.build, replace(seat.setup, n_ctx=n_ctx)), setup.memory)
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
                elif self._idle_s and not self._governor.is_pinned(seat.build.id):
                    seat.leaves_at(asyncio.get_running_loop().call_later(self._idle_s, self._expire, seat))
            self._changed()

    def _expire(self, seat: Seat) -> None:
        """It has been idle long enough: it leaves."""
        if self._seats.get(seat.build.id) is seat and not seat.is_busy:
            self._send_off(seat)

    def _changed(self) -> None:
        """Wake everyone who waits for a seat."""
        self._change.set()
        self._change = asyncio.Event()


def _known(tunings: Tunings, build: Build, job: TextJob, loaded: Setup | None) -> tuple[Tuning, Build | None, TextJob]:
    """How the build runs fastest, who writes ahead, and the job without guesses where they are known not to pay.

    One that is ``loaded`` stays as it is.
    """
    job = replace(job, guesses=job.guesses and tunings.may_guess(build.sha256, job.task))
    if loaded is not None and not loaded.embeds:
        return loaded.tuning, loaded.draft, job
    return tunings.of(build, job.n_ctx), tunings.draft(build), job


def ladder_of(build: Build, job: ImageJob, numbers: int, budget: int) -> Ladder:
    """The ways to save memory that this machine has, those that can never have theirs left out.

    What each takes is known of main memory alone, and of builds with a canvas; ``numbers`` are the weights of LoRAs and
    ControlNet, which are kept as the build's own are.
    """
    if has_graphics_card("torch"):
        return tuple((rung, 0) for rung in ("full", "tiled", "offload", "sequential"))
    canvas = None if build.footprint is None else build.footprint.canvas
    if canvas is None:
        return tuple((rung, 0) for rung in ("full", "tiled", "half", "int8"))
    each = {rung: 2 if rung in _IN_16_BITS else 4 for rung in RUNGS}
    ladder = tuple((rung, needed + numbers * each[rung]) for rung, needed in canvas.ladder(job.width, job.height))
    return tuple(way for way in ladder if way[1] <= budget) or ladder[-1:]


def _is_same(one: Build, other: Build) -> bool:
    """Whether they are the same files."""
    return (one.path, one.sha256, one.projector, one.base) == (other.path, other.sha256, other.projector, other.base)


def _check_job(build: Build, job: Job) -> None:
    """Refuse what no engine could do; raises ``UsageError``."""
    if build.kind not in _DONE_BY[type(job)]:
        wanted = _DOES[build.kind]
        raise UsageError(f"{build.id} {wanted}; this job is of the other kind", "choose another build with --model")
    if isinstance(job, TextJob):
        if not job.messages or job.max_tokens < 1 or job.n_ctx < 1:
            raise UsageError("a text job has a message and room for at least one token", "type something to ask")
        return
    if isinstance(job, EmbeddingJob):
        if not job.texts or job.n_ctx < 1:
            raise UsageError("there is no text to make a vector of", "give at least one")
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
    if not 1 <= job.count <= MAX_COUNT:
        raise UsageError(f"an answer has 1 to {MAX_COUNT} pictures, not {job.count}", "leave --count out")


async def _first_of(*events: asyncio.Event) -> None:
    """Wait until one of ``events`` is set."""
    tasks = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
