"""Members of an uncompressed tar, one after the other: regular files with plain names, as any ``tar`` unpacks them.

Headers are read by the standard library one block at a time, so that none can ask for more memory than a block.
"""

import tarfile
from collections.abc import Iterator
from typing import BinaryIO

from nanolocal.errors import Damaged

BLOCK = tarfile.BLOCKSIZE
MAX_NAME = 100
"""Bytes of a name that fit into a header of one block."""
_PIECE = 2**20
_HINT = "take it from the other machine again"


def header(name: str, size: int) -> bytes:
    """The block before a member."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict")


def padding(size: int) -> bytes:
    """What fills the last block of a member."""
    return bytes(-size % BLOCK)


END = bytes(2 * BLOCK)


def next_member(source: BinaryIO) -> tuple[str, int] | None:
    """Name and size of the member that begins here, ``None`` at the end; raises ``Damaged`` for any but a file."""
    block = source.read(BLOCK)
    if len(block) < BLOCK:
        raise Damaged("the bundle ends too early", _HINT)
    if not any(block):
        return None
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError) as error:
        raise Damaged("this is no bundle, or a damaged one", _HINT) from error
    if not info.isreg() or info.size < 0:
        raise Damaged(f"the bundle holds {info.name[:100]!r}, which is no regular file: refused", _HINT)
    return info.name, info.size


def content(source: BinaryIO, size: int) -> Iterator[bytes]:
    """The bytes of a member, and its padding skipped; raises ``Damaged`` where they end too early."""
    left = size
    while left:
        piece = source.read(min(left, _PIECE))
        if not piece:
            raise Damaged("the bundle ends too early", _HINT)
        left -= len(piece)
        yield piece
    fill = -size % BLOCK
    if len(source.read(fill)) < fill:
        raise Damaged("the bundle ends too early", _HINT)
