"""What is there of a file: chunk by chunk, how far it goes and its SHA-256 until there."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from nanolocal.library.pull.journal import Journal, Noted
from nanolocal.library.pull.partfile import OpenFile
from nanolocal.library.pull.sums import feed
from nanolocal.library.pull.threads import in_thread

_PIECES = 16
"""The journal gets a line for every sixteenth of a chunk: four connections that are killed lose a quarter of one."""


@dataclass(slots=True)
class Chunk:
    """The first ``have`` bytes are there, with their hash; up to ``noted`` the journal knows. ``faults`` it took."""

    have: int = 0
    sha: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    noted: int = 0
    faults: int = 0


class Arrived:
    """The chunks of ``file``. ``total`` is its size in bytes, ``None`` until somebody says it."""

    def __init__(self, file: OpenFile, chunk_bytes: int, total: int | None) -> None:
        self.file = file
        self.chunk_bytes = chunk_bytes
        self.total = total
        self.journal: Journal | None = None
        self.done = 0
        self._first = 0
        self._chunks: dict[int, Chunk] = {}

    async def believe(self, noted: Noted, told: Callable[[int], None]) -> None:
        """Take over what the journal says, as far as the bytes on the disk agree; ``told`` hears how much was read."""
        end = self.file.size if self.total is None else min(self.total, self.file.size)
        for index, lengths in noted.chunks.items():
            start = index * self.chunk_bytes
            chunk = await in_thread(self._believed, start, {n: sha for n, sha in lengths.items() if start + n <= end})
            if chunk.have:
                self._chunks[index] = chunk
                self.done += chunk.have
                told(chunk.have)

    def _believed(self, start: int, lengths: dict[int, bytes]) -> Chunk:
        best, sha, position = Chunk(), hashlib.sha256(), 0
        for length in sorted(lengths):
            feed(self.file, start + position, start + length, sha)
            position = length
            if sha.digest() == lengths[length]:
                best = Chunk(length, sha.copy(), length)
        return best

    def known(self) -> list[tuple[int, int, bytes]]:
        """What a journal begins with: number, length and hash of every chunk that is there, at least in part."""
        return [(index, chunk.have, chunk.sha.digest()) for index, chunk in sorted(self._chunks.items()) if chunk.have]

    @property
    def remaining(self) -> int:
        """Bytes still to come; at least one where the size is not known."""
        return 1 if self.total is None else self.total - self.done

    @property
    def count(self) -> int:
        """The number of chunks; one where the size is not known, of which nobody knows the end."""
        return 1 if self.total is None else -(-self.total // self.chunk_bytes)

    def start(self, index: int) -> int:
        """Where the chunk begins."""
        return index * self.chunk_bytes

    def stop(self, index: int) -> int:
        """Where it ends."""
        stop = (index + 1) * self.chunk_bytes
        return stop if self.total is None else min(stop, self.total)

    def reach(self, index: int) -> int:
        """Where what is still missing of the chunk begins."""
        chunk = self._chunks.get(index)
        return self.start(index) + (chunk.have if chunk else 0)

    def is_complete(self, index: int) -> bool:
        """Whether all of it is there, which nobody can say without the size."""
        return self.total is not None and self._is_full(index)

    def missing(self, taken: set[int]) -> int | None:
        """The first chunk that is not complete and not among ``taken``."""
        while self._first < self.count and self.is_complete(self._first):
            self._first += 1
        return next((n for n in range(self._first, self.count) if n not in taken and not self.is_complete(n)), None)

    def digest(self, index: int) -> bytes:
        """The SHA-256 of what came for it."""
        return self._chunk(index).sha.digest()

    def faults(self, index: int) -> int:
        """How often fetching it was interrupted."""
        return self._chunk(index).faults

    def met_fault(self, index: int) -> None:
        """Fetching the chunk was interrupted."""
        self._chunk(index).faults += 1

    def write(self, position: int, data: bytes) -> bool:
        """Keep ``data``, which begins at ``position``, without what is there already; whether a chunk was completed.

        Raises ``UsageError`` when the disk is nearly full, and ``OSError``.
        """
        completed = False
        while data:
            index = position // self.chunk_bytes
            here = data[: (index + 1) * self.chunk_bytes - position]
            there = self.reach(index) - position
            assert there >= 0, "a gap would be taken for data"
            new = here[there:]
            if new:
                self._append(index, new)
                completed |= self._is_full(index)
            position += len(here)
            data = data[len(here) :]
        return completed

    def _append(self, index: int, data: bytes) -> None:
        chunk = self._chunk(index)
        self.file.write(self.start(index) + chunk.have, data, self.remaining)
        chunk.sha.update(data)
        chunk.have += len(data)
        self.done += len(data)
        if chunk.have - chunk.noted >= max(1, self.chunk_bytes // _PIECES) or self._is_full(index):
            self._note(index, chunk)

    def put(self, index: int, data: bytes) -> None:
        """Exchange a whole chunk."""
        self.file.write(self.start(index), data, 0)
        chunk = Chunk(len(data), hashlib.sha256(data), 0, self.faults(index))
        self._chunks[index] = chunk
        self._note(index, chunk)

    def cut(self, start: int, stop: int | None) -> None:
        """Give up everything from ``start`` to ``stop``, by default to the end, because it is damaged."""
        self._first = 0
        for index, chunk in self._chunks.items():
            keep = max(0, start - self.start(index))
            if chunk.have > keep and (stop is None or self.start(index) < stop):
                self.done -= chunk.have - keep
                chunk.have = chunk.noted = keep
                chunk.sha = hashlib.sha256()
                feed(self.file, self.start(index), self.start(index) + keep, chunk.sha)

    def forget(self) -> None:
        """Begin anew: nothing is there. The size is no longer known."""
        self.close()
        self._chunks.clear()
        self.file.resize(0)
        self.done, self._first, self.total, self.journal = 0, 0, None, None

    def note_all(self) -> None:
        """Have the journal know all there is."""
        for index, chunk in self._chunks.items():
            if chunk.have > chunk.noted:
                self._note(index, chunk)

    def sync(self) -> None:
        """Return once all there is is on the disk, and in the journal there."""
        self.file.sync()
        if self.journal is not None:
            self.journal.sync()

    def close(self) -> None:
        """End the journal."""
        if self.journal is not None:
            self.journal.close()

    def _is_full(self, index: int) -> bool:
        return self.reach(index) >= self.stop(index)

    def _note(self, index: int, chunk: Chunk) -> None:
        if self.journal is not None:
            self.journal.note(index, chunk.have, chunk.sha.digest())
            chunk.noted = chunk.have

    def _chunk(self, index: int) -> Chunk:
        return self._chunks.setdefault(index, Chunk())
