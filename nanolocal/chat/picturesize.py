"""How large the picture in a file is, from its first bytes; nothing is decoded."""

import struct
from collections.abc import Callable, Iterator

_SIZES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
"""Markers of a JPEG that its size follows."""
_ORIENTATION = 0x0112
_LYING = range(5, 9)
"""Orientations of a photograph that was taken with the camera on its side."""


def pixels_of(data: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG, JPEG, GIF or WebP as it is seen; ``None`` for anything else."""
    readers: tuple[tuple[bytes, Callable[[bytes], tuple[int, int] | None]], ...] = (
        (b"\x89PNG\r\n\x1a\n", lambda file: struct.unpack_from(">II", file, 16)),
        (b"GIF8", lambda file: struct.unpack_from("<HH", file, 6)),
        (b"RIFF", _webp),
        (b"\xff\xd8", _jpeg),
    )
    try:
        size = next((read(data) for start, read in readers if data.startswith(start)), None)
    except (struct.error, IndexError):
        return None
    return size if size is not None and min(size) > 0 else None


def _webp(data: bytes) -> tuple[int, int] | None:
    match data[8:16]:
        case b"WEBPVP8X":
            return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
        case b"WEBPVP8L":
            bits = int.from_bytes(data[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"WEBPVP8 ":
            width, height = struct.unpack_from("<HH", data, 26)
            return width & 0x3FFF, height & 0x3FFF
    return None


def _jpeg(data: bytes) -> tuple[int, int] | None:
    is_lying = False
    for marker, at, length in _segments(data):
        if marker in _SIZES:
            height, width = struct.unpack_from(">HH", data, at + 1)
            return (height, width) if is_lying else (width, height)
        if marker == 0xE1 and data[at : at + 6] == b"Exif\0\0":
            is_lying = _orientation(data[at + 6 : at + length]) in _LYING
    return None


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, place and length of each segment of a JPEG before its picture."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        (length,) = struct.unpack_from(">H", data, at + 2)
        yield data[at + 1], at + 4, length - 2
        at += 2 + length


def _orientation(exif: bytes) -> int:
    order = "<" if exif[:2] == b"II" else ">"
    (start,) = struct.unpack_from(f"{order}I", exif, 4)
    (count,) = struct.unpack_from(f"{order}H", exif, start)
    for number in range(min(count, 100)):
        tag, _, _, value = struct.unpack_from(f"{order}HHIH", exif, start + 2 + 12 * number)
        if tag == _ORIENTATION:
            return int(value)
    return 1
