"""Sounds made by the tests: tones as WAV, and MP3 and FLAC files whose decoders need no encoder to make them."""

import io
import math
import struct
import wave
from array import array
from functools import cache

from nanolocal.chat.messages import Attachment

RATE = 16_000


@cache
def wav(pitch: float = 440.0, seconds: float = 1.0, *, rate: int = RATE, channels: int = 1) -> bytes:
    """A tone of ``pitch`` Hz in 16 bits."""
    count = round(seconds * rate)
    samples = array("h", (round(9_000 * math.sin(2 * math.pi * pitch * n / rate)) for n in range(count)))
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(array("h", (sample for sample in samples for _ in range(channels))).tobytes())
    return file.getvalue()


@cache
def flac(pitch: float = 440.0, seconds: float = 1.0, *, claims: int | None = None) -> bytes:
    """A tone, its samples stored as they are (RFC 9639, verbatim subframes); the header ``claims`` so many samples."""
    block = 4096
    count = round(seconds * RATE) // block * block
    packed = RATE << 44 | 0 << 41 | 15 << 36 | (count if claims is None else claims)
    info = struct.pack(">HH", block, block) + bytes(6) + packed.to_bytes(8, "big") + bytes(16)
    cover = bytes((4, 0, 0, 8)) + struct.pack("<II", 0, 0)  # a comment without one
    file = b"fLaC" + bytes((0, 0, 0, len(info))) + info + bytes((cover[0] | 0x80,)) + cover[1:]
    for number in range(count // block):
        samples = (round(9_000 * math.sin(2 * math.pi * pitch * (number * block + n) / RATE)) for n in range(block))
        head = b"\xff\xf8\xc5\x08" + chr(number).encode()  # 4096 samples at 16 kHz, mono, 16 bits
        body = head + bytes((_crc(head, 8, 0x07),)) + b"\x02" + struct.pack(f">{block}h", *samples)
        file += body + _crc(body, 16, 0x8005).to_bytes(2, "big")
    return file


def mp3(frames: int = 40) -> bytes:
    """Silence: frames of 64 kbit/s at 44.1 kHz whose side information says that nothing follows, behind a tag."""
    frame = b"\xff\xfb\x50\xc4" + bytes(208 - 4)
    return b"ID3\x04\0\0\0\0\0\x05title" + frame * frames


def tone(pitch: float, seconds: float = 1.0) -> Attachment:
    """A WAV that is attached."""
    return Attachment("clip.wav", "audio/wav", wav(pitch, seconds))


def _crc(data: bytes, width: int, polynomial: int) -> int:
    register, top, mask = 0, 1 << width - 1, (1 << width) - 1
    for byte in data:
        register ^= byte << width - 8
        for _ in range(8):
            register = (register << 1 ^ polynomial if register & top else register << 1) & mask
    return register
