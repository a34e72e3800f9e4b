"""SHA-256 of a file and of its chunks, in one pass over the disk."""

import hashlib
from collections.abc import Callable

from nanolocal.library.pull.partfile import OpenFile
from nanolocal.library.pull.threads import in_thread

_BLOCK = 2**20


class Sums:
    """The hashes of the first ``total`` bytes of ``file``. ``chunks`` and ``whole`` are there once it was read."""

    def __init__(self, file: OpenFile, total: int, chunk_bytes: int) -> None:
        self._file = file
        self._total = total
        self._chunk_bytes = chunk_bytes
        count = -(-total // chunk_bytes)
        self.chunks = [b""] * count
        self.whole = hashlib.sha256().hexdigest()
        self._before = [hashlib.sha256() for _ in range(count)]

    async def read(self, told: Callable[[int], None], first: int = 0) -> None:
        """Read from chunk ``first`` on; what lies before it is as it was. ``told`` hears of each chunk's bytes."""
        if not self.chunks:
            return
        state = self._before[first].copy()
        for index in range(first, len(self.chunks)):
            self._before[index] = state.copy()
            start = index * self._chunk_bytes
            stop = min(self._total, start + self._chunk_bytes)
            sha = hashlib.sha256()
            await in_thread(feed, self._file, start, stop, sha, state)
            self.chunks[index] = sha.digest()
            told(stop - start)
        self.whole = state.hexdigest()


def feed(file: OpenFile, start: int, stop: int, *hashes: "hashlib._Hash") -> None:
    """Update ``hashes`` with the bytes from ``start`` to ``stop``."""
    while start < stop and (block := file.read(start, min(_BLOCK, stop - start))):
        for sha in hashes:
            sha.update(block)
        start += len(block)
