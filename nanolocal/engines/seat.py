"""One build's place in memory, and one job on it: frames of the child become events of the turn."""

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from nanolocal.chat.drawing import PictureReceipt
from nanolocal.chat.events import (
    ContextDropped,
    Embedded,
    EngineDone,
    EngineEvent,
    ImageStep,
    Loading,
    MadeDo,
    PictureDrawn,
    Reading,
    ReasoningDelta,
    TextDelta,
    TokenChosen,
    ToolCalled,
)
from nanolocal.chat.media import for_engine
from nanolocal.chat.messages import Attachment, Stopped, Timing, TokenOdds, ToolCall, Usage
from nanolocal.chat.ports import EmbeddingJob, ImageJob, Job, PromptSnapshot, TextJob
from nanolocal.chat.routes import Build, Kind
from nanolocal.engines import protocol
from nanolocal.engines.client import Child, ChildDied
from nanolocal.engines.governor import Resident, Setup
from nanolocal.engines.keeping import Keeper
from nanolocal.engines.loading import Loader
from nanolocal.errors import BuildFailed, EngineFailed, NanolocalError, NoBuildFits, OutOfMemory, UsageError
from nanolocal.safetext import safe, safe_line

_ERRORS: dict[str, type[NanolocalError]] = {"NoBuildFits": NoBuildFits, "UsageError": UsageError}
_FAILURES: dict[str, type[EngineFailed]] = {
    "BuildFailed": BuildFailed,
    "Damaged": BuildFailed,
    "OutOfMemory": OutOfMemory,
}
_AGAIN = "try again; if it happens again, choose another build"
_NOT_SENT = frozenset({"messages", "chat_id", "task"})
"""Fields of a ``TextJob`` that travel by another name, or not at all."""
_GRACE_S = 5.0
"""How long a child may take to stop a job before it is killed."""
_PATIENCE = 10
"""So many times as long as a child may stand still, a load may take to get on."""


@dataclass(slots=True, eq=False)
class Seat:
    """A build in memory, or on its way there. ``memory`` in bytes: an estimate until the child has measured it.

    ``active`` jobs hold it; the longest context that one asked for is that of ``setup``. It took ``load_s`` to load.
    """

    build: Build
    setup: Setup
    memory: int
    threads: int
    stall_s: float
    keeper: Keeper
    loader: Loader
    active: int = 1
    load_s: float = 0.0
    used_at: float = 0.0
    child: Child | None = None
    is_loaded: bool = False
    is_killed: bool = False
    jobs: int = 0
    timer: asyncio.TimerHandle | None = None
    expected: int = field(init=False)

    def __post_init__(self) -> None:
        self.expected = self.memory

    @property
    def is_ready(self) -> bool:
        """Whether a job can begin without loading."""
        return self.is_loaded and self.child is not None and self.child.is_alive

    @property
    def is_busy(self) -> bool:
        """Whether a job holds it."""
        return self.active > 0

    @property
    def state(self) -> str:
        """What it does, in a word."""
        return "loading" if not self.is_ready else "answering" if self.is_busy else "idle"

    @property
    def has_room(self) -> bool:
        """Whether one more job can run on it now: text engines answer several at once."""
        return not self.active or (self.is_ready and self.kind is Kind.TEXT and self.active < protocol.SEQUENCES)

    @property
    def kind(self) -> Kind:
        """The engine that it needs."""
        return Kind.EMBEDDING if self.setup.embeds else self.build.kind

    @property
    def resident(self) -> Resident:
        """It, as the governor sees it."""
        return Resident(self.build.id, self.memory, self.load_s, self.is_busy)

    def leaves_at(self, timer: asyncio.TimerHandle | None) -> None:
        """From now on that ``timer`` ends its idle time, and none that was set before."""
        if self.timer is not None:
            self.timer.cancel()
        self.timer = timer

    def grow(self, n_ctx: int, memory: int) -> None:
        """It is about to make room for a longer context, and then takes so much."""
        self.setup = replace(self.setup, n_ctx=n_ctx)
        self.memory = self.expected = max(memory, self.memory)

    def measured(self, memory: int) -> None:
        """The child takes that; one that may yet load a projector keeps the room that was made for it."""
        self.memory = max(memory, self.expected) if self.build.projector is not None else memory

    def kill(self, verdict: str = "was unloaded") -> None:
        """End the child, also one that is just being started; a running job ends with ``EngineFailed``: ``verdict``."""
        self.is_killed = True
        if self.child is not None:
            self.child.kill(verdict)

    async def unload(self, grace_s: float = 0.0) -> None:
        """End the child and wait until its memory is free; it has ``grace_s`` seconds to keep what it has read."""
        is_ready, self.is_loaded = self.is_ready, False
        child, self.child = self.child, None
        if child is None:
            return
        if is_ready and grace_s:
            await child.leave(grace_s)
        else:
            await child.close()


class SeatedJob:
    """One job on a seat that is held for it."""

    def __init__(self, seat: Seat, job: Job, stop: asyncio.Event) -> None:
        self._seat = seat
        self._job = job
        self._stop = stop
        self._usage = Usage()
        self._pictures: list[Attachment] = []
        self._load_s = 0.0
        self._has_answered = False
        self._has_delivered = False

    async def events(self) -> AsyncGenerator[EngineEvent]:
        """Load if needed, then run. Raises what ``Engines.run`` raises."""
        try:
            while True:
                was_ready = self._seat.is_ready
                try:
                    async with aclosing(self._load_and_work(was_ready)) as events:
                        async for event in events:
                            yield event
                    return
                except ChildDied:
                    # A child may die unnoticed while it is idle: that is no failure of this job.
                    if not was_ready or self._has_answered or self._stop.is_set() or self._seat.is_killed:
                        raise
        except ChildDied as death:
            if not self._stop.is_set():
                is_builds_fault = death.of_its_work and not self._has_delivered
                kind = BuildFailed if is_builds_fault else OutOfMemory if death.of_memory else EngineFailed
                raise self._failure(str(death), _AGAIN, kind) from death
            yield EngineDone(self._usage, Timing(load_s=self._load_s), Stopped.USER, tuple(self._pictures))

    async def _load_and_work(self, is_ready: bool) -> AsyncGenerator[EngineEvent]:
        if not is_ready:
            async with self._seat.loader.turn(self._stop), aclosing(self._load()) as events:
                async for event in events:
                    yield event
        async with aclosing(self._work()) as events:
            async for event in events:
                yield event

    async def _load(self) -> AsyncGenerator[EngineEvent]:
        seat = self._seat
        if seat.is_ready:
            return
        await seat.unload()
        await seat.loader.wait_for_memory(seat.build, seat.setup, self._stop)
        began = time.monotonic()
        seat.child = child = await Child.start(seat.kind, seat.stall_s, seat.keeper, seat.loader.gauge)
        if seat.is_killed:
            child.kill("was unloaded")
        try:
            async with _meanwhile(self._kill_on_stop(child)):
                yield Loading(seat.build.id, 0.0)
                child.send(await self._load_request())
                while not seat.is_loaded:
                    match await self._news_of_load(child):
                        case protocol.Progress(fraction):
                            yield Loading(seat.build.id, min(fraction, 0.99))
                        case protocol.Failed(_, error, message, hint):
                            raise self._refusal(error, message, hint)
                        case protocol.Loaded(memory):
                            seat.measured(memory)
                            seat.is_loaded = True
            yield Loading(seat.build.id, 1.0)
        finally:
            child.rest()
            self._load_s = seat.load_s = time.monotonic() - began
            if not seat.is_loaded:
                child.kill("was stopped while it loaded")

    async def _news_of_load(self, child: Child) -> protocol.Reply:
        """The next reply of a load; without one for long, however busy the child is, it is ended."""
        patience_s = _PATIENCE * self._seat.stall_s
        try:
            async with asyncio.timeout(patience_s):
                return await child.receive()
        except TimeoutError:
            child.kill(f"made no progress for {patience_s:.0f} seconds while it loaded")
            return await child.receive()

    async def _work(self) -> AsyncGenerator[EngineEvent]:
        child = self._seat.child
        assert child is not None
        self._seat.jobs += 1
        number = self._seat.jobs
        snapshot = await self._seat.keeper.find(self._job.chat_id) if isinstance(self._job, TextJob) else None
        is_over = False
        self._send(child, number, snapshot)
        try:
            async with _meanwhile(self._cancel_on_stop(child, number)):
                while not is_over:
                    reply = await child.receive(number)
                    self._has_answered = True
                    is_over = isinstance(reply, protocol.Done | protocol.Failed)
                    event = self._event(reply)
                    if event is not None:
                        yield event
        finally:
            if not is_over:
                await self._abandon(child, number)
            child.rest(number)

    async def _abandon(self, child: Child, number: int) -> None:
        """Nobody wants the rest: make the child stop, whatever else is cancelled meanwhile."""
        try:
            await child.cancel(number, _GRACE_S)
        except BaseException:
            child.kill("did not stop when it was told to")
            raise

    def _event(self, reply: protocol.Reply) -> EngineEvent | None:
        """What a reply means for the turn; raises what the child reports as failed."""
        match reply:
            case protocol.Dropped() | protocol.Remark():
                return _left_out(reply)
            case protocol.Read(_, done, total, cached):
                self._usage = Usage(prompt_tokens=done, cached_tokens=cached)
                return Reading(done, total, cached)
            case protocol.Delta() | protocol.ToolCall() | protocol.Odds() | protocol.Embedded():
                self._has_delivered = True
                tokens = reply.tokens if isinstance(reply, protocol.Delta) else 0
                self._usage = replace(self._usage, completion_tokens=self._usage.completion_tokens + tokens)
                return _said(reply)
            case protocol.Step() | protocol.Drawn() if isinstance(self._job, ImageJob):
                self._has_delivered = True
                return self._picture(reply, self._job)
            case protocol.Done():
                self._seat.measured(reply.memory)
                return self._done(reply)
            case protocol.Failed(_, error, message, hint):
                raise self._refusal(error, message, hint)
        return None

    def _picture(self, reply: protocol.Step | protocol.Drawn, job: ImageJob) -> ImageStep | PictureDrawn:
        if isinstance(reply, protocol.Step):
            self._usage = Usage(pixel_steps=job.width * job.height * reply.step)
            return ImageStep(reply.step, reply.total, reply.preview, self._usage.pixel_steps)
        self._pictures.append(_drawn(reply, job, self._seat.build))
        return PictureDrawn(self._pictures[-1], self._usage.pixel_steps, reply.stopped_at > 0)

    def _done(self, done: protocol.Done) -> EngineDone:
        usage = Usage(done.prompt_tokens, done.cached_tokens, done.completion_tokens, done.pixel_steps)
        timing = Timing(self._load_s, done.ttft_s, done.prompt_tok_s, done.decode_tok_s, done.cpu_s)
        return EngineDone(usage, timing, Stopped(done.stopped), tuple(self._pictures), done.guess_gain)

    async def _load_request(self) -> protocol.Request:
        build = self._seat.build
        if isinstance(self._job, TextJob):
            setup = self._seat.setup
            return protocol.LoadText(
                build.id,
                str(build.path),
                setup.n_ctx,
                self._seat.threads,
                setup.kv,
                projector="" if build.projector is None else str(build.projector),
                snapshots=await self._seat.keeper.folder(),
                batch=setup.tuning.batch,
                flash=setup.tuning.flash,
                maps=setup.tuning.maps,
                gpu_layers=setup.tuning.gpu_layers,
                draft="" if setup.draft is None else str(setup.draft.path),
            )
        setup = self._seat.setup
        if isinstance(self._job, EmbeddingJob):
            return protocol.LoadEmbedding(build.id, str(build.path), setup.n_ctx, self._seat.threads)
        return protocol.LoadImage(
            build.id,
            str(build.path),
            self._seat.threads,
            base="" if build.base is None else str(build.base),
            rung=setup.rung,
            places=tuple(sorted(setup.places)),
        )

    def _send(self, child: Child, number: int, snapshot: PromptSnapshot | None) -> None:
        try:
            child.send(_run_request(number, self._job, snapshot))
        except protocol.ProtocolError as error:
            raise NoBuildFits("the prompt is larger than 16 MiB, pictures and sounds included", "shorten it") from error

    async def _kill_on_stop(self, child: Child) -> None:
        await self._stop.wait()
        child.kill("was stopped while it loaded")

    async def _cancel_on_stop(self, child: Child, number: int) -> None:
        await self._stop.wait()
        child.send(protocol.Cancel(number))
        await asyncio.sleep(_GRACE_S)
        child.kill("did not stop when it was told to")

    def _refusal(self, error: str, message: str, hint: str) -> NanolocalError:
        if error in _ERRORS:
            return _ERRORS[error](safe_line(message), safe_line(hint))
        kind = _FAILURES.get(error, EngineFailed)
        return self._failure(message, hint or "check the build's files, or choose another build", kind)

    def _failure(self, message: str, hint: str, kind: type[EngineFailed]) -> EngineFailed:
        return kind(safe_line(f"the engine of {self._seat.build.id} {_as_clause(message)}"), safe_line(hint))


def _left_out(reply: protocol.Dropped | protocol.Remark) -> EngineEvent:
    """What is not done as it was asked for."""
    match reply:
        case protocol.Dropped(_, messages, tokens):
            return ContextDropped(messages, tokens)
        case protocol.Remark(_, what):
            return MadeDo(safe_line(what))


def _said(reply: protocol.Delta | protocol.ToolCall | protocol.Odds | protocol.Embedded) -> EngineEvent:
    """What a model made, safe for a terminal."""
    match reply:
        case protocol.Embedded(_, vectors, read, cut):
            return Embedded(vectors, len(read), sum(read), sum(map(bool, cut)))
        case protocol.Delta(_, text, tokens, part):
            return (ReasoningDelta if part == "reasoning" else TextDelta)(safe(text), tokens)
        case protocol.ToolCall(_, name, arguments):
            return ToolCalled(ToolCall(safe_line(name), arguments))
        case protocol.Odds(_, text, logprob, top):
            return TokenChosen(TokenOdds(safe(text), logprob, tuple((safe(other), odds) for other, odds in top)))


def _drawn(reply: protocol.Drawn, job: ImageJob, build: Build) -> Attachment:
    """A picture with its receipt."""
    receipt = PictureReceipt(
        build_id=build.id,
        build_sha256=build.sha256,
        prompt=job.prompt,
        width=job.width,
        height=job.height,
        steps=job.steps,
        guidance=job.guidance,
        seed=reply.seed,
        negative=job.negative,
        scheduler=reply.scheduler,
        strength=job.strength,
        source=_sha256(job.source),
        mask=_sha256(job.mask),
        control=_sha256(job.control),
        controlnet=Path(job.controlnet).name,
        adapters=reply.adapters,
        rung=reply.rung,
        dtype=reply.dtype,
        threads=reply.threads,
        versions=reply.versions,
        stopped_at=reply.stopped_at,
        cache=job.cache or "",
    )
    return Attachment("picture.png", "image/png", reply.picture, receipt.to_json())


def _sha256(file: bytes | None) -> str:
    return "" if file is None else hashlib.sha256(file).hexdigest()


def _as_clause(message: str) -> str:
    """A death ("ended by ...") goes on with the sentence; anything else is what the engine reports."""
    verbs = ("ended ", "was ", "did ", "stopped ", "sent ", "made ")
    return message if message.startswith(verbs) else f"failed: {message}"


def _run_request(number: int, job: Job, snapshot: PromptSnapshot | None) -> protocol.Request:
    if isinstance(job, EmbeddingJob):
        return protocol.RunEmbedding(job=number, **{each.name: getattr(job, each.name) for each in fields(job)})
    if isinstance(job, ImageJob):
        known = {each.name: getattr(job, each.name) for each in fields(job)}
        return protocol.RunImage(job=number, **known | {"cache": job.cache or ""})
    settings = {each.name: getattr(job, each.name) for each in fields(job) if each.name not in _NOT_SENT}
    return protocol.RunText(
        job=number,
        messages=tuple((str(message.role), message.text) for message in job.messages),
        files=tuple((n, for_engine(item)) for n, message in enumerate(job.messages) for item in message.attachments),
        chat=job.chat_id,
        snapshot="" if snapshot is None else str(snapshot.path),
        snapshot_key=b"" if snapshot is None else snapshot.key,
        **settings,
    )


@asynccontextmanager
async def _meanwhile(work: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Do ``work`` beside the block; what is left of it at the end is cancelled."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
