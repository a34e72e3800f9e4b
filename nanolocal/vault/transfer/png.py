"""The chunks of a PNG file: the texts that programs leave in it, the file without them, and the file with one of ours.

See https://www.w3.org/TR/png-3/. Nothing is decoded but text, and of that no more than ``_MOST_TEXT`` bytes.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator
from itertools import islice

from nanolocal.errors import UsageError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_NEEDED = frozenset((b"IHDR", b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"IDAT", b"IEND"))
"""What the pixels and their colours need. Everything else can tell where, when and with what a picture was made."""
_MOST_CHUNKS, _MOST_TEXTS, _MOST_TEXT = 100_000, 64, 4 * 2**20

Chunk = tuple[bytes, bytes]


def is_png(data: bytes) -> bool:
    """Whether a file begins as one."""
    return data.startswith(SIGNATURE)


def texts(data: bytes) -> dict[str, str]:
    """The texts in a file by their keywords, the first of each; what is broken or too long is left out.

    Raises ``UsageError`` for what is no PNG file.
    """
    found: dict[str, str] = {}
    for name, body in islice((chunk for chunk in _chunks(data) if chunk[0] in _READERS), _MOST_TEXTS):
        try:
            keyword, text = _READERS[name](body)
        except (ValueError, zlib.error, UnicodeDecodeError):
            continue
        found.setdefault(keyword, text)
    return found


def bare(data: bytes) -> bytes:
    """The file with its pixels alone; raises ``UsageError`` for what is no PNG file."""
    return _written(chunk for chunk in _chunks(data) if chunk[0] in _NEEDED)


def with_texts(data: bytes, texts: dict[str, str]) -> bytes:
    """The file with its pixels and these texts; a keyword has 1 to 79 Latin characters.

    Raises ``UsageError`` for what is no PNG file.
    """
    header, *rest = (chunk for chunk in _chunks(data) if chunk[0] in _NEEDED)
    return _written([header, *(_text(*each) for each in texts.items()), *rest])


def size_of(data: bytes) -> tuple[int, int]:
    """Width and height in pixels; raises ``UsageError`` for what is no PNG file."""
    width, height = struct.unpack(">II", next(_chunks(data))[1][:8])
    return width, height


def _chunks(data: bytes) -> Iterator[Chunk]:
    """The chunks from the header to the end, which has to be there."""
    at, count = len(SIGNATURE), 0
    name = b""
    while is_png(data) and at + 12 <= len(data) and count < _MOST_CHUNKS:
        length = int.from_bytes(data[at : at + 4], "big")
        name, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        if len(body) < length or (count == 0 and (name != b"IHDR" or length != 13)):
            break
        yield name, body
        if name == b"IEND":
            return
        at, count = at + 12 + length, count + 1
    raise UsageError("this is no whole PNG file", "give a PNG picture")


def _written(chunks: Iterable[Chunk]) -> bytes:
    parts = [SIGNATURE]
    for name, body in chunks:
        parts += [len(body).to_bytes(4, "big"), name, body, zlib.crc32(name + body).to_bytes(4, "big")]
    return b"".join(parts)


def _text(keyword: str, text: str) -> Chunk:
    """``tEXt`` where Latin-1 can hold it, which every reader knows, else ``iTXt``."""
    try:
        return b"tEXt", keyword.encode("latin-1") + b"\0" + text.encode("latin-1")
    except UnicodeEncodeError:
        return b"iTXt", keyword.encode("latin-1") + b"\0\0\0\0\0" + text.encode("utf-8", "replace")


def _plain(body: bytes) -> tuple[str, str]:
    keyword, _, text = body.partition(b"\0")
    if len(text) > _MOST_TEXT:
        raise ValueError
    try:
        return keyword.decode("latin-1"), text.decode("utf-8")  # some programs write it so against the rule
    except UnicodeDecodeError:
        return keyword.decode("latin-1"), text.decode("latin-1")


def _packed(body: bytes) -> tuple[str, str]:
    keyword, _, rest = body.partition(b"\0")
    return keyword.decode("latin-1"), _unpacked(rest[1:]).decode("latin-1")


def _international(body: bytes) -> tuple[str, str]:
    keyword, _, rest = body.partition(b"\0")
    is_packed, (_, _, text) = rest[:1] == b"\1", rest[2:].split(b"\0", 2)
    if len(text) > _MOST_TEXT:
        raise ValueError
    return keyword.decode("latin-1"), (_unpacked(text) if is_packed else text).decode("utf-8")


def _unpacked(data: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    text = unpacker.decompress(data, _MOST_TEXT)
    if not unpacker.eof:
        raise ValueError
    return text


_READERS = {b"tEXt": _plain, b"zTXt": _packed, b"iTXt": _international}
