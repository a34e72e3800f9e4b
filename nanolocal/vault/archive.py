"""A tar archive in one form only: named files in a known order, without owner, time or any other freedom.

What is read must be, byte for byte, what ``Writer`` would have written. So every changed, missing or added byte shows,
and no link, path or second file of one name is ever followed. Any tar unpacks it.
"""

import hashlib
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from nanolocal.errors import Damaged

_CHUNK = 1024 * 1024


class Writer:
    """Appends files to ``out``; ``told`` hears how many bytes of about ``total`` are done."""

    def __init__(self, out: BinaryIO, total: int, told: Callable[[int, int], None]) -> None:
        self._out = out
        self._total = total
        self._told = told
        self._at = 0
        self._hash = hashlib.sha256()

    def add(self, name: str, size: int, chunks: Iterable[bytes]) -> None:
        """One file of ``size`` bytes."""
        self._put(_head(name, size))
        for chunk in chunks:
            self._put(chunk)
        self._put(bytes(-size % tarfile.BLOCKSIZE))

    def digest(self) -> bytes:
        """SHA-256 of everything up to here."""
        return self._hash.digest()

    def end(self) -> None:
        """Close the archive; ``out`` stays open."""
        self._put(_ending(self._at))

    def _put(self, data: bytes) -> None:
        self._out.write(data)
        self._hash.update(data)
        self._at += len(data)
        self._told(min(self._at, self._total), self._total)


class Reader:
    """Takes the files of an archive one after the other; raises ``Damaged`` at the first byte that is not right.

    ``told`` hears how many bytes of how many are done.
    """

    def __init__(self, source: BinaryIO, told: Callable[[int, int], None]) -> None:
        self.size = os.fstat(source.fileno()).st_size
        self._source = source
        self._told = told
        self._at = 0
        self._hash = hashlib.sha256()

    def part(self, name: str, largest: int) -> Iterator[bytes]:
        """The bytes of the next file, which must be ``name`` and no larger than ``largest``; to be taken whole."""
        block = self._take(tarfile.BLOCKSIZE)
        try:
            size = tarfile.TarInfo.frombuf(block, "ascii", "replace").size
        except tarfile.HeaderError as error:
            raise _changed() from error
        if not 0 <= size <= largest or block != _head(name, size):
            raise _changed()
        for start in range(0, size, _CHUNK):
            yield self._take(min(_CHUNK, size - start))
        if any(self._take(-size % tarfile.BLOCKSIZE)):
            raise _changed()

    def digest(self) -> bytes:
        """SHA-256 of everything up to here."""
        return self._hash.digest()

    def end(self) -> None:
        """Make sure that nothing follows."""
        ending = _ending(self._at)
        if self._take(len(ending)) != ending or self._source.read(1):
            raise _changed()

    def _take(self, count: int) -> bytes:
        data = self._source.read(count)
        if len(data) < count:
            raise Damaged("it was cut short")
        self._hash.update(data)
        self._at += count
        self._told(self._at, self.size)
        return data


def _changed() -> Damaged:
    return Damaged("a part of it is missing, was changed, or is not its own")


def _head(name: str, size: int) -> bytes:
    """The block before a file: mode 0600, owner 0, time 0."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    return info.tobuf(tarfile.GNU_FORMAT, "ascii", "strict")


def _ending(at: int) -> bytes:
    """Two empty blocks, and as many as tar wants to fill its record."""
    return bytes(2 * tarfile.BLOCKSIZE + -(at + 2 * tarfile.BLOCKSIZE) % tarfile.RECORDSIZE)
