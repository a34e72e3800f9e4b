"""The parent's side of one engine child: start it, talk to it, notice when it dies or stands still."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from nanolocal.engines import protocol
from nanolocal.engines.governor import Gauge, Unmeasured
from nanolocal.engines.launch import child_environment
from nanolocal.engines.protocol import (
    LOADING,
    Beat,
    Cancel,
    Failed,
    Frame,
    Hello,
    JobReply,
    Keep,
    Kept,
    Leave,
    Leaving,
    Left,
    Reply,
    Request,
    Run,
)
from nanolocal.safetext import safe_line

_STDERR_BYTES = 64 * 2**10
_CPU_STEP_S = 0.05
_REASONS = ("assert", "error", "what()", "terminate", "exception", "fatal", "failed", "killed")
_MAX_REASON = 300
_CRASHES = {signal.SIGABRT, signal.SIGSEGV, signal.SIGFPE, signal.SIGILL, getattr(signal, "SIGBUS", None)}
_KILLED = getattr(signal, "SIGKILL", None)
_SHORT_OF_MEMORY = ("bad_alloc", "out of memory", "alloc")


class Keeper(Protocol):
    """Knows where a child may keep what it has read."""

    async def take(self, child: "Child", frame: Leaving | Kept) -> None:
        """Answer what the child says about it."""
        ...


class ChildDied(Exception):
    """The child is gone; the text says how, in words for the user.

    ``of_its_work`` means that what it was doing ended it: not a signal from outside, the system short of memory, or us.
    ``of_memory`` means that the system was short of it.
    """

    def __init__(self, how: str, *, of_its_work: bool = False, of_memory: bool = False) -> None:
        super().__init__(how)
        self.of_its_work = of_its_work
        self.of_memory = of_memory


@dataclass(slots=True)
class _Pulse:
    """When the child last did something, by the loop's clock, and the CPU seconds it had used then."""

    at: float
    cpu_s: float = 0.0


class Child:
    """A running engine process. Make one with ``start``; it belongs to the event loop that started it."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        stall_s: float,
        keeper: "Keeper | None" = None,
        gauge: Gauge | None = None,
    ) -> None:
        self._process = process
        self._stall_s = stall_s
        self._keeper = keeper
        self._gauge = gauge or Unmeasured()
        self._oom_kills = self._gauge.oom_kills()
        self._inboxes: dict[int, asyncio.Queue[Reply | None]] = {LOADING: asyncio.Queue()}
        self._working: set[int] = set()
        self._stderr = bytearray()
        self._verdict = ""
        self._is_stuck = False
        self._pulse = _Pulse(asyncio.get_running_loop().time())
        self._tasks = [asyncio.create_task(self._receive()), asyncio.create_task(self._keep_stderr())]

    @classmethod
    async def start(
        cls, kind: str, stall_s: float, keeper: "Keeper | None" = None, gauge: Gauge | None = None
    ) -> "Child":
        """Start a child of the kind ``text``, ``image`` or ``embedding``.

        ``stall_s`` is how long it may stand still while it should work. ``keeper`` is told of what it is about to
        forget; without one that is lost. ``gauge`` tells whether the system ends processes for their memory.
        """
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-X", "utf8", "-W", "ignore", "-m", "nanolocal.engines.host", kind),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=child_environment(os.environ),
            start_new_session=True,
        )
        return cls(process, stall_s, keeper, gauge)

    @property
    def is_alive(self) -> bool:
        """Whether it can take a request."""
        return self._process.returncode is None and not self._verdict

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def send(self, request: Request) -> None:
        """Send a request; one to a dead child is lost, and ``receive`` tells."""
        data = protocol.encode(request)
        if isinstance(request, Run):
            self._inboxes[request.job] = asyncio.Queue()
            self._working.add(request.job)
            if not self.is_alive:
                self._inboxes[request.job].put_nowait(None)
        elif not isinstance(request, Keep | Cancel):
            self._working.add(LOADING)
        self._pulse.at = asyncio.get_running_loop().time()
        if self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(data)

    async def receive(self, job: int = LOADING) -> Reply:
        """The next reply to a job, or of the load; raises ``ChildDied`` when there will be none."""
        inbox = self._inboxes[job]
        reply = await inbox.get()
        if reply is None:
            inbox.put_nowait(None)
            obituary = self._obituary()
            of_memory = self._is_short_of_memory(obituary)
            of_its_work = self._is_stuck or (self._has_crashed and not of_memory)
            raise ChildDied(obituary, of_its_work=of_its_work, of_memory=of_memory)
        return reply

    def rest(self, job: int = LOADING) -> None:
        """Nothing more is asked of it for ``job``: without any, it may stand still."""
        self._working.discard(job)
        if job != LOADING:
            self._inboxes.pop(job, None)

    async def cancel(self, job: int, grace_s: float) -> None:
        """Ask the child to stop ``job`` and take its replies until it has; kill it after ``grace_s`` seconds."""
        self.send(Cancel(job))
        with suppress(ChildDied):
            try:
                async with asyncio.timeout(grace_s):
                    while not isinstance(await self.receive(job), protocol.Done | Failed):
                        pass
            except TimeoutError:
                self.kill("did not stop when it was told to")

    async def leave(self, grace_s: float) -> None:
        """Let the child keep what it has read, and end; kill it after ``grace_s`` seconds."""
        self.send(Leave())
        with suppress(ChildDied, TimeoutError):
            async with asyncio.timeout(grace_s):
                while not isinstance(await self.receive(), Left):
                    pass
        await self.close()

    def kill(self, verdict: str) -> None:
        """End the process at once; ``verdict`` is what ``ChildDied`` then says."""
        self._verdict = self._verdict or verdict
        if self._process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            if sys.platform == "win32":
                self._process.kill()
            else:
                # Popen.kill would reap a process that is dead already, behind the back of asyncio.
                os.kill(self._process.pid, signal.SIGKILL)

    async def close(self) -> None:
        """End the process and wait until its memory is free."""
        self.kill("was unloaded")
        await asyncio.gather(*self._tasks)

    async def _receive(self) -> None:
        """Read frames until the child is gone; ends with the process reaped and ``None`` in the inbox."""
        try:
            while True:
                async with asyncio.timeout(self._stall_s):
                    frame = await self._read_frame()
                if isinstance(frame, Leaving | Kept):
                    await self._keep(frame)
                else:
                    self._take(frame)
        except asyncio.IncompleteReadError:
            pass
        except TimeoutError:
            self._is_stuck = not self._verdict
            self.kill(f"stopped answering for {self._stall_s:.0f} seconds")
        except protocol.ProtocolError as error:
            self.kill(f"sent garbage: {error}")
        finally:
            self.kill("")
            await self._process.wait()
            if self._process.stdin is not None:
                self._process.stdin.close()
            await self._tasks[1]
            for inbox in self._inboxes.values():
                inbox.put_nowait(None)

    async def _keep(self, frame: Leaving | Kept) -> None:
        if self._keeper is not None:
            await self._keeper.take(self, frame)
        elif isinstance(frame, Leaving):
            self.send(Keep(frame.chat, "", b""))

    async def _read_frame(self) -> Frame:
        assert self._process.stdout is not None
        header = await self._process.stdout.readexactly(protocol.HEADER_BYTES)
        return protocol.decode(await self._process.stdout.readexactly(protocol.payload_length(header)))

    def _take(self, frame: Frame) -> None:
        now = asyncio.get_running_loop().time()
        if isinstance(frame, Beat):
            if not self._working or frame.cpu_s - self._pulse.cpu_s > _CPU_STEP_S:
                self._pulse = _Pulse(now, frame.cpu_s)
            elif now - self._pulse.at > self._stall_s:
                raise TimeoutError
            return
        self._pulse.at = now
        if isinstance(frame, Hello):
            if frame.protocol != protocol.VERSION:
                raise protocol.ProtocolError(f"protocol {frame.protocol} instead of {protocol.VERSION}")
        elif isinstance(frame, Reply):
            number = frame.job if isinstance(frame, JobReply) else LOADING
            if (inbox := self._inboxes.get(number)) is not None:
                inbox.put_nowait(frame)
        else:
            raise protocol.ProtocolError(f"a {type(frame).__name__} frame is no reply")

    async def _keep_stderr(self) -> None:
        assert self._process.stderr is not None
        while data := await self._process.stderr.read(_STDERR_BYTES):
            self._stderr += data
            del self._stderr[:-_STDERR_BYTES]

    @property
    def _has_crashed(self) -> bool:
        return not self._verdict and -(self._process.returncode or 0) in _CRASHES

    def _is_short_of_memory(self, obituary: str) -> bool:
        """Whether it says so as it crashes, or the system has ended it for that; assumed where nobody counts."""
        if self._has_crashed:
            return any(word in obituary.lower() for word in _SHORT_OF_MEMORY)
        is_killed = not self._verdict and -(self._process.returncode or 0) == _KILLED
        return is_killed and ((kills := self._gauge.oom_kills()) is None or kills > (self._oom_kills or 0))

    def _obituary(self) -> str:
        if self._verdict:
            return self._verdict
        code = self._process.returncode or 0
        how = f"ended by signal {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        reason = _last_reason(self._stderr.decode("utf-8", "replace").splitlines())
        return f"{how}: {reason}" if reason else how


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _last_reason(lines: Sequence[str]) -> str:
    """The last line that tells why, else the last line at all."""
    useful = [line for line in lines if any(word in line.lower() for word in _REASONS)]
    spoken = useful or [line for line in lines if line.strip()]
    return safe_line(spoken[-1])[:_MAX_REASON] if spoken else ""
