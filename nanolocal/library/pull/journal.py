r"""What had arrived of a file when its download ended early: a line each time some more was written.

    nanolocal-part {"url": ..., "validator": ..., "size": ..., "sha256": ..., "chunk_bytes": ...}
    3 1048576 5feceb66...       of chunk 3 the first 1,048,576 bytes are there, with this SHA-256

A line is written after its bytes, so a killed process loses at most what came since. Nobody has to believe a line: it
holds only if the bytes on the disk have its hash, so a torn, old or forged journal costs no more than fetching again.
"""

import errno
import json
import os
import re
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from urllib.parse import urlsplit

from nanolocal.errors import UsageError
from nanolocal.library.pull.directory import Directory
from nanolocal.library.pull.plan import Wanted

_BEGIN = b"nanolocal-part "
_LINE = re.compile(rb"(\d{1,9}) (\d{1,12}) ([0-9a-f]{64})", re.ASCII)
_MOST_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Header:
    """Which file the chunks are of. ``url`` is without user and query, which may be secret.

    ``validator`` is the strong ETag or the Last-Modified it came with, ``sha256`` what it is to have, if known.
    """

    url: str
    validator: str
    size: int | None
    sha256: str
    chunk_bytes: int

    def fits(self, wanted: Wanted, chunk_bytes: int) -> bool:
        """Whether what arrived belongs to ``wanted``: the same SHA-256, or the same version at the same address."""
        if self.chunk_bytes != chunk_bytes or (wanted.size is not None and wanted.size != self.size):
            return False
        if wanted.sha256:
            return self.sha256 == wanted.sha256
        return bool(self.validator or self.sha256) and self.url == bare(wanted.url)


@dataclass(frozen=True, slots=True)
class Noted:
    """What a journal says: for each chunk, the SHA-256 of its first bytes by their number."""

    header: Header | None = None
    chunks: dict[int, dict[int, bytes]] = field(default_factory=dict)


def bare(url: str) -> str:
    """``url`` without user, password, query and fragment."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def parse(content: bytes) -> Noted:
    """What can be read of a journal; lines that make no sense are left out."""
    first, *lines = content.split(b"\n")
    header = _header(first)
    if header is None:
        return Noted()
    noted = Noted(header)
    for line in lines:
        found = _LINE.fullmatch(line)
        if found and int(found[2]) <= header.chunk_bytes:
            noted.chunks.setdefault(int(found[1]), {})[int(found[2])] = bytes.fromhex(found[3].decode())
    return noted


def _header(line: bytes) -> Header | None:
    try:
        value = json.loads(line.removeprefix(_BEGIN)) if line.startswith(_BEGIN) else None
        header = Header(**value) if isinstance(value, dict) else None
    except (ValueError, TypeError, RecursionError):
        return None
    if header is None or not all(isinstance(text, str) for text in (header.url, header.validator, header.sha256)):
        return None
    sizes = (header.chunk_bytes, 0 if header.size is None else header.size)
    return header if all(type(size) is int and size >= 0 for size in sizes) else None


def read(directory: Directory, name: str) -> Noted:
    """What the journal of the part file ``name`` says, within bounds; a missing or strange one says nothing."""
    try:
        descriptor = directory.open(_name(name), os.O_RDONLY)
    except (FileNotFoundError, UsageError):
        return Noted()
    with os.fdopen(descriptor, "rb") as file:
        return parse(file.read(_MOST_BYTES))


def remove(directory: Directory, name: str) -> None:
    """Remove the journal of the part file ``name``."""
    directory.remove(_name(name))


class Journal:
    """A journal that is being written. It begins with what is known, in place of the old one, whole or not at all."""

    def __init__(self, directory: Directory, name: str, header: Header, known: list[tuple[int, int, bytes]]) -> None:
        fresh = f"{_name(name)}.new"
        directory.remove(fresh)
        self._descriptor = directory.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND)
        try:
            begin = _BEGIN + json.dumps(asdict(header)).encode() + b"\n"
            self._write(begin + b"".join(_line(*one) for one in known))
            self.sync()
            directory.rename(fresh, _name(name))
        except BaseException:
            self.close()
            directory.remove(fresh)
            raise

    def note(self, chunk: int, length: int, digest: bytes) -> None:
        """The first ``length`` bytes of ``chunk`` are written and have this SHA-256."""
        self._write(_line(chunk, length, digest))

    def sync(self) -> None:
        """Return once all of it is on the disk."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Closing twice is no error."""
        with suppress(OSError):
            os.close(self._descriptor)
        self._descriptor = -1

    def _write(self, data: bytes) -> None:
        if os.write(self._descriptor, data) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _line(chunk: int, length: int, digest: bytes) -> bytes:
    return b"%d %d %s\n" % (chunk, length, digest.hex().encode())


def _name(part: str) -> str:
    return f"{part}.journal"
