"""The child: ``python -I -m nanolocal.engines.host KIND`` runs one engine over its standard input and output.

Frames alone go through the pipes: file descriptor 1 is moved away first, so that a library that prints ends up on
standard error, which the parent keeps in memory. The child dies with its parent and leaves no core dump. It takes one
build: before it looks at that, it gives up everything else (``isolation``).
"""

import os
import queue
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import BinaryIO, Protocol

from nanolocal import errors
from nanolocal.engines import protocol
from nanolocal.engines.failures import failed
from nanolocal.engines.isolation import isolate_for
from nanolocal.engines.protocol import (
    Beat,
    Cancel,
    Done,
    Hello,
    Keep,
    Leave,
    Left,
    Load,
    Loaded,
    LoadEmbedding,
    LoadImage,
    LoadText,
    Reply,
    Request,
    Run,
    RunEmbedding,
    RunImage,
    RunText,
)
from nanolocal.engines.stopflag import StopFlag

_BEAT_S = 1.0
_ANSWER_S = 5.0
_NICENESS = 5
_ENGINES = {
    "text": "nanolocal.engines.llama",
    "embedding": "nanolocal.engines.embedding",
    "image": "nanolocal.engines.diffusion.engine",
}
_PACKAGES = {
    "text": ("llama-cpp-python",),
    "embedding": ("llama-cpp-python",),
    "image": ("torch", "diffusers", "transformers"),
}
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _SIGKILL = 1, 4, 9


class Engine(Protocol):
    """A loaded build. What becomes of a job that it took is emitted, failures too."""

    @property
    def is_busy(self) -> bool:
        """Whether a job is under way."""
        ...

    def take(self, job: Run) -> None:
        """Begin a job; raises what is wrong with it."""
        ...

    def step(self) -> None:
        """Go on with every job that is under way."""
        ...

    def leave(self) -> None:
        """Keep what is worth it, before the end."""
        ...


class Host:
    """Serves one engine: requests from a thread, jobs in the main thread, a heartbeat from another."""

    def __init__(self, requests: BinaryIO, replies: BinaryIO) -> None:
        self._requests = requests
        self._replies = replies
        self._inbox: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._places: queue.SimpleQueue[Keep] = queue.SimpleQueue()
        self._write_lock = threading.Lock()
        self._stop = StopFlag()
        self._engine: Engine | None = None

    def serve(self, kind: str) -> None:
        """Serve until the parent closes the pipe, or says that it is enough."""
        self._emit(Hello(protocol.VERSION, os.getpid(), _versions(kind)))
        import_module(_ENGINES[kind])  # later Python could not store what it compiles
        while not isinstance(first := self._take(), Load):
            pass
        isolate_for(first)  # binds this thread and those that it starts
        threading.Thread(target=self._receive, daemon=True).start()
        threading.Thread(target=self._beat, daemon=True).start()
        while True:
            if self._engine is not None and self._engine.is_busy and self._inbox.empty():
                self._engine.step()
                continue
            request = self._inbox.get()
            if isinstance(request, Leave):
                if self._engine is not None:
                    self._engine.leave()
                self._emit(Left())
                return
            try:
                self._do(request)
            except Exception as error:  # whatever a library raises, the parent gets one clear line
                job = request.job if isinstance(request, Run) else protocol.LOADING
                self._stop.end(job)
                self._emit(failed(job, error))

    def _do(self, request: Request) -> None:
        match request:
            case LoadText() | LoadImage() | LoadEmbedding():
                self._engine = self._load(request)
                self._emit(Loaded(_memory()))
            case RunText() | RunImage() | RunEmbedding():
                if self._engine is None:
                    raise errors.EngineFailed("no build is loaded")
                self._stop.begin(request.job)
                self._engine.take(request)

    def _load(self, request: Load) -> Engine:
        """Load a build; each kind imports its own heavy libraries only."""
        if isinstance(request, LoadText):
            from nanolocal.engines.llama import TextEngine

            return TextEngine(request, self._emit, self._stop, self._ask)
        if isinstance(request, LoadEmbedding):
            from nanolocal.engines.embedding import EmbeddingEngine

            return EmbeddingEngine(request, self._emit, self._stop)
        from nanolocal.engines.diffusion.engine import ImageEngine

        return ImageEngine(request, self._emit, self._stop)

    def _ask(self) -> Keep | None:
        """The parent's answer to what was just emitted, ``None`` when it has none to give."""
        try:
            return self._places.get(timeout=_ANSWER_S)
        except queue.Empty:
            return None

    def _emit(self, reply: Reply) -> None:
        if isinstance(reply, Done):
            reply = replace(reply, memory=_memory())
        data = protocol.encode(reply)
        with self._write_lock:
            self._replies.write(data)
            self._replies.flush()

    def _beat(self) -> None:
        while True:
            time.sleep(_BEAT_S)
            self._emit(Beat(time.process_time()))

    def _receive(self) -> None:
        while True:
            self._take()

    def _take(self) -> protocol.Frame:
        """Take a request; the end of the stream, or garbage in it, ends the process whatever it is doing."""
        try:
            frame = protocol.read_frame(self._requests)
            if isinstance(frame, Cancel):
                self._stop.stop(frame.job)
            elif isinstance(frame, Keep):
                self._places.put(frame)
            elif isinstance(frame, Load | Run | Leave):
                self._inbox.put(frame)
            elif frame is not None:
                raise protocol.ProtocolError(f"a {type(frame).__name__} frame is no request")
        except protocol.ProtocolError as error:
            os.write(2, f"error: the parent sent {error}\n".encode("utf-8", "replace"))
            os._exit(2)
        if frame is None:
            os._exit(0)
        return frame


def main() -> int:
    """Run an engine until the parent is gone."""
    kind = sys.argv[1] if len(sys.argv) == 2 else ""
    if kind not in _PACKAGES:
        sys.stderr.write("usage: python -I -m nanolocal.engines.host text|embedding|image\n")
        return 2
    requests, replies = _take_pipes()
    _harden()
    Host(requests, replies).serve(kind)
    return 0


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Move the protocol's pipes away from descriptors 0 and 1, which become /dev/null and standard error."""
    requests, replies = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return os.fdopen(requests, "rb"), os.fdopen(replies, "wb")


def _harden() -> None:
    """No core dump, no peeking by other processes, dead with the parent, and behind the screen in line for the CPU."""
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(_NICENESS)
    if sys.platform == "linux":
        import ctypes

        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _memory() -> int:
    """Bytes of memory that this process holds."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def _versions(kind: str) -> tuple[tuple[str, str], ...]:
    found = []
    for name in ("nanolocal", *_PACKAGES[kind]):
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            found.append((name, ""))
    return tuple(found)


if __name__ == "__main__":
    sys.exit(main())
