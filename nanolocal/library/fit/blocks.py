"""A file that is somewhere else, read as if it were here: blocks are fetched when they are asked for, and kept."""

import io
from collections.abc import Callable
from typing import TypeAlias

from nanolocal.errors import Damaged

FIRST_BLOCK, LARGEST_BLOCK = 256 * 2**10, 4 * 2**20
MAX_FETCHED = 128 * 2**20
"""No header is longer; a file that makes us read on is refused."""

ReadRange: TypeAlias = Callable[[int, int], bytes]
"""Gives the bytes from ``start`` up to, not including, ``end``."""


class BlockFile(io.RawIOBase):
    """A seekable file of ``size`` bytes behind ``read_range``; a header is read from its beginning.

    Every block is twice as long as the last, so that a long header takes few requests and a short one few bytes.
    Raises ``Damaged`` when more than ``MAX_FETCHED`` bytes are asked for, and what ``read_range`` raises.
    """

    def __init__(self, read_range: ReadRange, size: int) -> None:
        super().__init__()
        self._read_range = read_range
        self._size = size
        self._held = bytearray()
        self._block = FIRST_BLOCK
        self._position = 0

    @property
    def fetched(self) -> int:
        """Bytes that were fetched so far."""
        return len(self._held)

    def head(self, count: int) -> bytes:
        """The first ``count`` bytes."""
        self._fetch_to(min(count, self._size))
        return bytes(self._held[:count])

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """Any place can be gone to; nothing is fetched for that."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place; raises ``ValueError`` for one before the beginning."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError("a place before the beginning")
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        """Where it is."""
        return self._position

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]  # narrower than a Buffer
        """Fill ``buffer`` as far as the file goes."""
        end = min(self._position + len(buffer), self._size)
        if end <= self._position:
            return 0
        self._fetch_to(end)
        count = end - self._position
        buffer[:count] = self._held[self._position : end]
        self._position = end
        return count

    def _fetch_to(self, end: int) -> None:
        """Fetch whole blocks until the first ``end`` bytes are here."""
        while len(self._held) < end:
            if end > MAX_FETCHED:
                raise Damaged(f"a header of more than {MAX_FETCHED >> 20} MiB", "get the model elsewhere")
            stop = min(len(self._held) + max(self._block, end - len(self._held)), self._size)
            data = self._read_range(len(self._held), stop)
            if len(data) != stop - len(self._held):
                raise Damaged(f"{len(data)} bytes came instead of {stop - len(self._held)}", "try again")
            self._held += data
            self._block = min(self._block * 2, LARGEST_BLOCK)
