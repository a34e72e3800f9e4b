"""A file at its address: asking for a part of it, and believing only an answer that is that part of that file."""

import hashlib
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass

from nanolocal.errors import TransferFailed
from nanolocal.library.pull import headers as said
from nanolocal.library.pull.faults import Fault, Patience
from nanolocal.library.pull.journal import Header, bare
from nanolocal.library.pull.links import Links, Reply
from nanolocal.library.pull.plan import Wanted
from nanolocal.library.pull.refusals import BUSY
from nanolocal.safetext import safe_line

_ASKED_AGAIN = 4
"""So often in a row a hub that once named the SHA-256 may leave it out before a new mark means a new file."""


class WholeFilesOnly(TransferFailed):
    """A part is needed, and the server sends whole files only."""


class Changed(Exception):
    """The file is no longer the one of which something arrived, and nobody named the one that is meant."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """The bytes from ``start`` to ``stop``, which is ``None`` where they end with the answer, on their way."""

    start: int
    stop: int | None
    is_whole: bool
    _reply: Reply
    _patience: Patience

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The bytes as they come; raises ``Fault`` where they are too few, too many, too slow or damaged."""
        if self.stop == self.start:
            return
        expected, got = None if self.stop is None else self.stop - self.start, 0
        digest = said.sha256_digest(self._reply.headers.get("content-digest", ""))
        sha, pace = hashlib.sha256(), Pace(self._patience)
        async with aclosing(self._reply.pieces()) as body:
            while True:
                begun = time.monotonic()
                piece = await anext(body, None)
                if piece is None:
                    break
                got += len(piece)
                if expected is not None and got > expected:
                    raise Fault("more came than was announced", is_damage=True)
                if digest is not None:
                    sha.update(piece)
                yield piece
                if pace.is_too_slow(len(piece), time.monotonic() - begun):
                    raise Fault("it came too slowly")
        if expected is not None and got < expected:
            raise Fault("the connection ended early")
        if digest is not None and sha.digest() != digest:
            raise Fault("bytes were damaged on the way", is_damage=True)


class Pace:
    """Whether a connection has been too slow for too long."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._seconds = 0.0
        self._count = 0

    def is_too_slow(self, count: int, seconds: float) -> bool:
        """After ``count`` more bytes that were waited for so long."""
        self._seconds += seconds
        self._count += count
        if self._seconds < self._patience.slow_seconds:
            return False
        too_slow = self._count < self._patience.slow_bytes * self._seconds
        self._seconds, self._count = 0.0, 0
        return too_slow


class Source:
    """The file that is wanted, and what its server has said of it: size, version, SHA-256, and where it really lies.

    ``has_ranges`` says that the server has sent a part of it, ``can_resume`` that parts of two answers can be told to
    belong together.
    """

    def __init__(self, links: Links, wanted: Wanted, patience: Patience) -> None:
        self.patience = patience
        self._links = links
        self._wanted = wanted
        self.forget()

    def forget(self) -> None:
        """Know no more than at the beginning."""
        self.total = self._wanted.size
        self.sha256 = self._wanted.sha256
        self.has_ranges = False
        self._validator = ""
        self._location = ""
        self.can_resume = True
        self._unvouched = 0

    def recall(self, header: Header) -> None:
        """Know what was known when the journal was begun."""
        self.total, self.sha256, self._validator = header.size, header.sha256, header.validator

    def header(self, chunk_bytes: int) -> Header:
        """What a journal is to know of it."""
        return Header(bare(self._wanted.url), self._validator, self.total, self.sha256, chunk_bytes)

    @asynccontextmanager
    async def open(self, start: int, stop: int) -> AsyncIterator[Incoming]:
        """Bytes ``start`` to ``stop`` on their way, or the whole file where the server knows no parts.

        Raises ``Fault``, ``Changed``, or ``TransferFailed`` where no other try can help.
        """
        shortcut = self._location
        async with AsyncExitStack() as stack:
            try:
                asked = self._links.get(shortcut or self._wanted.url, self._asking(start, stop))
                reply = await stack.enter_async_context(asked)
            except TransferFailed as error:
                raise self._once_more(error) from error
            yield self._incoming(reply, start, stop, bool(shortcut))

    def _asking(self, start: int, stop: int) -> dict[str, str]:
        if not self.can_resume:
            return {}
        asking = {"Range": f"bytes={start}-{stop - 1}", "Want-Content-Digest": "sha-256=9"}
        if self._validator and not self.sha256:
            asking["If-Range"] = self._validator
        return asking

    def _incoming(self, reply: Reply, start: int, stop: int, is_shortcut: bool) -> Incoming:
        match reply.status:
            case 206:
                incoming = self._part(reply, start, stop, is_shortcut)
            case 200:
                incoming = self._whole(reply, is_shortcut)
            case 416:
                incoming = self._nothing(reply, start, is_shortcut)
            case status:
                if is_shortcut and status not in BUSY:
                    raise self._lost("the address it led to is no longer valid")
                raise self._once_more(reply.refusal())
        if self.sha256 and reply.url != self._wanted.url:  # without it, only the hub can tell what a new mark means
            self._location = reply.url
        return incoming

    def _part(self, reply: Reply, start: int, stop: int, is_shortcut: bool) -> Incoming:
        part = said.content_range(reply.headers.get("content-range", ""))
        if part is None or part.start != start or part.stop > stop:
            raise Fault("another part came than was asked for")
        length = said.whole_number(reply.headers.get("content-length", ""))
        if length is not None and length != part.stop - part.start:
            raise Fault("the part that came is not as long as it says")
        self._learn(reply, part.total, is_shortcut)
        if self.total is None:
            raise Fault("the server does not know how long the file is")
        if not (self._validator or self.sha256):
            self.can_resume = False
            raise Fault("parts of it cannot be told to belong together")
        self.has_ranges = True
        return Incoming(start, part.stop, False, reply, self.patience)

    def _whole(self, reply: Reply, is_shortcut: bool) -> Incoming:
        length = said.whole_number(reply.headers.get("content-length", ""))
        is_open_ended = length is None and "chunked" not in reply.headers.get("transfer-encoding", "")
        if is_open_ended and self.total is None:
            says = f"{reply.url} does not say how long it is, so nobody knows when it is complete"
            raise TransferFailed(safe_line(says), "use another address")
        self._learn(reply, length, is_shortcut)
        if self.has_ranges:
            raise Fault("the whole file came instead of the part that was asked for")
        self.can_resume = bool(self._validator or self.sha256)
        return Incoming(0, self.total, True, reply, self.patience)

    def _nothing(self, reply: Reply, start: int, is_shortcut: bool) -> Incoming:
        """A refused range; of an empty file that is the right answer."""
        total = said.unsatisfied_total(reply.headers.get("content-range", ""))
        if total is not None and total != self.total:
            self._learn(reply, total, is_shortcut)
        if start == 0 and total == 0:
            return Incoming(0, 0, True, reply, self.patience)
        raise Fault("the server says that there is no such part (416)")

    def _learn(self, reply: Reply, total: int | None, is_shortcut: bool) -> None:
        """Compare what the answer says of the file to what is known, and keep it.

        What a hub says of a file it leads to counts; the host it leads to is not asked.
        """
        hub = {} if is_shortcut else reply.first
        linked, whole = said.linked_sha256(hub), said.sha256_digest(reply.headers.get("repr-digest", ""))
        for sha256 in (linked, whole.hex() if whole else ""):
            self._learn_sha256(sha256)
        for size in (said.whole_number(hub.get("x-linked-size", "")), total):
            self._learn_size(size)
        is_vouched_for = bool(self._wanted.sha256 or linked or whole)
        self._learn_mark(said.validator(reply.headers), is_vouched_for, is_shortcut)

    def _learn_mark(self, mark: str, is_vouched_for: bool, is_shortcut: bool) -> None:
        """A new mark is a new file, unless somebody vouches for it that it has the same SHA-256."""
        if is_vouched_for:
            self._unvouched = 0
        elif mark and self._validator and mark != self._validator:
            self._unvouched += not is_shortcut
            if self.sha256 and self._unvouched <= _ASKED_AGAIN:
                raise self._lost("the file has another mark than before, and nobody says that it is the same")
            raise Changed
        self._validator = mark or self._validator

    def _learn_sha256(self, sha256: str) -> None:
        if sha256 and self.sha256 and sha256 != self.sha256:
            raise self._changed(f"its SHA-256 is now {sha256}", is_pinned=bool(self._wanted.sha256))
        self.sha256 = self.sha256 or sha256

    def _learn_size(self, size: int | None) -> None:
        if size is not None and self.total is not None and size != self.total:
            raise self._changed(f"it has {size:,} bytes, not {self.total:,}", is_pinned=self._wanted.size is not None)
        self.total = self.total if size is None else size

    def _changed(self, how: str, *, is_pinned: bool) -> Exception:
        if not is_pinned:
            return Changed()
        says = safe_line(f"{self._wanted.name} is no longer the file that was chosen: {how}")
        return TransferFailed(says, "run the command once more to see what the hub has now")

    def _once_more(self, error: Exception) -> Exception:
        """From a server that has sent parts of the file already, no refusal is taken at its first word."""
        return self._lost(error.message) if self.has_ranges and isinstance(error, TransferFailed) else error

    def _lost(self, says: str) -> Fault:
        """The address it led to is asked for anew."""
        self._location = ""
        return Fault(says)
