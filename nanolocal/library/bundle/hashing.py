"""SHA-256 of a file and of its chunks, in one pass."""

import hashlib

from nanolocal.library.pull.plan import Fetched

CHUNK = 16 * 2**20


class Hashing:
    """Takes the bytes of a file in any pieces; ``chunk_bytes`` is the size of its chunks."""

    def __init__(self, chunk_bytes: int = CHUNK) -> None:
        self._chunk_bytes = chunk_bytes
        self._whole = hashlib.sha256()
        self._chunk = hashlib.sha256()
        self._in_chunk = 0
        self._size = 0
        self.chunks: list[bytes] = []

    def add(self, piece: bytes) -> None:
        """The next bytes."""
        self._whole.update(piece)
        self._size += len(piece)
        rest = memoryview(piece)
        while rest:
            taken = rest[: self._chunk_bytes - self._in_chunk]
            self._chunk.update(taken)
            self._in_chunk += len(taken)
            rest = rest[len(taken) :]
            if self._in_chunk == self._chunk_bytes:
                self._end_chunk()

    def done(self, name: str) -> Fetched:
        """All of it, as the file called ``name``."""
        if self._in_chunk:
            self._end_chunk()
        return Fetched(name, self._size, self._whole.hexdigest(), self._chunk_bytes, tuple(self.chunks))

    def _end_chunk(self) -> None:
        self.chunks.append(self._chunk.digest())
        self._chunk, self._in_chunk = hashlib.sha256(), 0
