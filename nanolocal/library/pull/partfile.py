"""The file that a download is written to until it is complete: locked, sparse, and never more than the disk has."""

import errno
import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nanolocal.chat.amounts import format_bytes
from nanolocal.errors import UsageError
from nanolocal.library.pull.directory import Directory
from nanolocal.library.pull.faults import AGAIN
from nanolocal.safetext import safe_line

RESERVE = 2**30
"""Bytes that a download leaves free on the disk: a full one stops everything else on the machine."""
_CHECKED_EVERY = 256 * 2**20
_LONG_NAME = 200
_FULL = frozenset({errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)})


class OpenFile:
    """A file by its descriptor, read and written at any place, as long as the disk keeps ``reserve`` bytes free."""

    def __init__(self, path: Path, descriptor: int, reserve: int = RESERVE) -> None:
        self.path = path
        self.descriptor = descriptor
        self._reserve = reserve
        self._unchecked = 0

    @property
    def size(self) -> int:
        """In bytes, holes included."""
        return os.fstat(self.descriptor).st_size

    def read(self, start: int, length: int) -> bytes:
        """Up to ``length`` bytes from ``start``."""
        return os.pread(self.descriptor, length, start)

    def write(self, start: int, data: bytes, remaining: int) -> None:
        """Write ``data``; ``remaining`` bytes are still to come, and looked for on the disk every 256 MiB."""
        self._unchecked += len(data)
        if self._unchecked >= _CHECKED_EVERY:
            self.check_room(remaining)
        written = 0
        while written < len(data):
            written += os.pwrite(self.descriptor, memoryview(data)[written:], start + written)

    def resize(self, size: int) -> None:
        """Cut it, or let it grow by a hole, which takes no room yet."""
        os.ftruncate(self.descriptor, size)

    def sync(self) -> None:
        """Return once all of it is on the disk."""
        os.fsync(self.descriptor)

    def drop_cache(self) -> None:
        """Ask that the next read be of the disk, not of the memory that was written from."""
        if sys.platform == "linux":
            with suppress(OSError):
                os.posix_fadvise(self.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def check_room(self, remaining: int) -> None:
        """Raise ``UsageError`` unless the disk has room for ``remaining`` bytes more and the reserve."""
        self._unchecked = 0
        if sys.platform == "win32":
            return
        disk = os.fstatvfs(self.descriptor)
        free, needed = disk.f_bavail * disk.f_frsize, remaining + self._reserve
        if remaining and free < needed:
            raise UsageError(
                safe_line(
                    f"not enough room in {self.path.parent}: {format_bytes(needed)} are needed, which leaves "
                    f"{format_bytes(self._reserve)} for everything else, and {format_bytes(free)} are free"
                ),
                f"free {format_bytes(needed - free)} and {AGAIN}",
            )


@contextmanager
def disk_errors(directory: Path) -> Iterator[None]:
    """Raise ``UsageError`` for what the system says about files in ``directory``: no room, above all."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            says = f"no room left in {directory}: {error.strerror}; what arrived is kept"
            raise UsageError(safe_line(says), f"free some space and {AGAIN}") from error
        says = f"cannot write to {directory}: {error.strerror or error}"
        raise UsageError(safe_line(says), f"check the disk and its permissions, and {AGAIN}") from error


def part_name(name: str) -> str:
    """What the file ``name`` is called until it is complete: hidden, and with a suffix of no model."""
    if len(name.encode()) > _LONG_NAME:
        name = hashlib.sha256(name.encode()).hexdigest()
    return f".{name}.part"


@contextmanager
def locked(directory: Directory, name: str, flags: int, reserve: int = RESERVE) -> Iterator[OpenFile]:
    """The file ``name``, which nobody else has while the block runs; raises ``UsageError`` where somebody has it.

    One that may be made by this is removed at the end if nothing is in it.
    """
    path = directory.path / name
    descriptor = directory.open(name, flags)
    try:
        if not _lock(descriptor) or not _is_still(directory, name, descriptor):
            raise UsageError(safe_line(f"{path} is in use by another nanolocal"), "wait for it, or stop it")
        file = OpenFile(path, descriptor, reserve)
        try:
            yield file
        finally:
            if flags & os.O_CREAT and not file.size and _is_still(directory, name, descriptor):
                directory.remove(name)
    finally:
        os.close(descriptor)


def _is_still(directory: Directory, name: str, descriptor: int) -> bool:
    """Whether the file has its name still: whoever had it locked before may have moved it to its place."""
    status = directory.status(name)
    return status is not None and os.path.samestat(status, os.fstat(descriptor))


if sys.platform == "win32":

    def _lock(descriptor: int) -> bool:
        return True
else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
