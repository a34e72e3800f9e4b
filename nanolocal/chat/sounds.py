"""A sound file as far as its headers tell: how long it is, and its sound by itself. Nothing is decoded.

What is decoded later is written anew from what was read here, so that no other number of the file decides how much
memory that takes. WAV: RIFF, "Multiple channel audio data and WAVE files" (Microsoft); FLAC: RFC 9639; MP3: ISO 11172-3
and 13818-3.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePath

from nanolocal.errors import UsageError

MOST_SECONDS = 600.0
LEAST_SECONDS = 0.1
"""Some encoders of llama.cpp need more than one frame of 10 ms."""
PIECE_SECONDS = 30
"""What encoders take at a time; most fill the last piece up with silence."""
PIECE_TOKENS = 752
"""The most tokens that a piece may become: 25 a second, and one before and after."""
AROUND_TOKENS = 64
"""The most that the words around a sound are, such as ``<|audio_bos|>``, where they are no tokens of their own."""
_TYPES = {".wav": "audio/wav", ".mp3": "audio/mpeg", ".flac": "audio/flac"}
_CONVERT = "save it as WAV, MP3 or FLAC"
_MOST_CHANNELS = 8
_RATES = range(1_000, 400_000)
_PCM, _FLOAT, _ALAW, _MULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_WIDTHS = {_PCM: (8, 16, 24, 32), _FLOAT: (32, 64), _ALAW: (8,), _MULAW: (8,)}
"""Bits of a sample by what it is."""
_STREAMINFO = 34
_MP3_RATES = ((11_025, 12_000, 8_000), (), (22_050, 24_000, 16_000), (44_100, 48_000, 32_000))
"""Samples a second by the two bits of the version: 2.5, none, 2, 1."""
_KBPS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBPS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_LAYER_3 = 1


@dataclass(frozen=True, slots=True)
class Sound:
    """A sound of ``seconds``; ``data`` is the same file without what is no sound."""

    seconds: float
    data: bytes

    @property
    def most_tokens(self) -> int:
        """The most tokens that it may become."""
        return (int(self.seconds / PIECE_SECONDS) + 1) * PIECE_TOKENS + AROUND_TOKENS


def type_of(name: str) -> str | None:
    """The media type of a file with such a name; ``None`` where it is none that can be heard here."""
    return _TYPES.get(PurePath(name).suffix.lower())


def begins_like_sound(data: bytes) -> bool:
    """Whether the file is one of these rather than a picture."""
    is_wav = data[:4] == b"RIFF" and data[8:12] == b"WAVE"
    return is_wav or data[:4] == b"fLaC" or data[:3] == b"ID3" or _frame(data, 0) is not None


def read_sound(data: bytes) -> Sound:
    """What the headers tell; raises ``UsageError`` for one that is not understood, too short or too long."""
    data = data[_tag_length(data) :]
    try:
        if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
            sound = _wav(data)
        elif data[:4] == b"fLaC":
            sound = _flac(data)
        else:
            sound = _mp3(data)
    except (struct.error, IndexError) as error:
        raise UsageError("the sound is cut off in its header", "it may be damaged; save it anew") from error
    if sound.seconds > MOST_SECONDS:
        most = f"at most {in_minutes(MOST_SECONDS)} is listened to"
        raise UsageError(f"the sound is {in_minutes(sound.seconds)} long, {most}", "cut it into shorter ones")
    if sound.seconds < LEAST_SECONDS:
        raise UsageError("there is less than a tenth of a second of sound in it", "it may be damaged; save it anew")
    return sound


def in_minutes(seconds: float) -> str:
    """``0:07``, ``12:30``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"


def _wav(data: bytes) -> Sound:
    layout: tuple[int, ...] | None = None
    at = 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        at += 8
        if name == b"fmt ":
            layout = struct.unpack_from("<HHIIHH", data, at)
            if layout[0] == _EXTENSIBLE:
                layout = (*struct.unpack_from("<H", data, at + 24), *layout[1:])
        elif name == b"data":
            return _wav_of(layout, data[at : at + size])
        at += size + size % 2
    raise UsageError("there is no sound in the WAV file", "it may be damaged; save it anew")


def _wav_of(layout: tuple[int, ...] | None, samples: bytes) -> Sound:
    """A WAV file of nothing but ``samples``, as many as there are whatever the header said."""
    if layout is None:
        raise UsageError("the WAV file does not say what its samples are", "it may be damaged; save it anew")
    kind, channels, rate, _, _, bits = layout
    if bits not in _WIDTHS.get(kind, ()):
        raise UsageError("the WAV file is compressed in a way that is not understood here", _CONVERT)
    _check(channels, rate)
    block = channels * bits // 8
    samples = samples[: len(samples) // block * block]
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(samples), b"WAVE", b"fmt ", 16,
                       kind, channels, rate, rate * block, block, bits, b"data", len(samples))  # fmt: skip
    return Sound(len(samples) / block / rate, head + samples)


def _flac(data: bytes) -> Sound:
    info = b""
    at, is_last = 4, False
    while not is_last:
        is_last, kind = bool(data[at] & 0x80), data[at] & 0x7F
        length = int.from_bytes(data[at + 1 : at + 4])
        if kind == 0 and length == _STREAMINFO:
            info = data[at + 4 : at + 4 + length]
        at += 4 + length
    if len(info) < _STREAMINFO:
        raise UsageError("the FLAC file does not say what its samples are", "it may be damaged; save it anew")
    packed = int.from_bytes(info[10:18])
    rate, channels, samples = packed >> 44, (packed >> 41 & 7) + 1, packed & 2**36 - 1
    _check(channels, rate)
    if not samples:
        raise UsageError("the FLAC file does not say how long it is", _CONVERT)
    return Sound(samples / rate, b"fLaC" + bytes((0x80, 0, 0, _STREAMINFO)) + info + data[at:])


def _check(channels: int, rate: int) -> None:
    if not 1 <= channels <= _MOST_CHANNELS or rate not in _RATES:
        raise UsageError(f"the sound has {channels} channels of {rate:,} samples a second", _CONVERT)


@dataclass(frozen=True, slots=True)
class _Frame:
    """One frame of an MP3 file: bytes, seconds, and the bits that all frames of a file share."""

    size: int
    seconds: float
    kind: tuple[int, int]


def _mp3(data: bytes) -> Sound:
    """The frames of a file, and not what is between them."""
    seconds, frames = 0.0, []
    for start, frame in _mp3_frames(data):
        seconds += frame.seconds
        frames.append(data[start : start + frame.size])
    if not frames:
        raise UsageError("the sound is no WAV, MP3 or FLAC", _CONVERT)
    return Sound(seconds, b"".join(frames))


def _mp3_frames(data: bytes) -> Iterator[tuple[int, _Frame]]:
    """Every frame of the first one's kind that another follows, or the end."""
    at, kind = 0, None
    while (at := data.find(b"\xff", at)) >= 0:
        frame = _frame(data, at)
        if frame is None or kind not in (None, frame.kind) or not _goes_on(data, at + frame.size, frame.kind):
            at += 1
            continue
        kind = frame.kind
        yield at, frame
        at += frame.size


def _goes_on(data: bytes, at: int, kind: tuple[int, int]) -> bool:
    """Whether a frame that ends at ``at`` is one: bytes that look like its header are anywhere."""
    after = _frame(data, at)
    return at == len(data) or data[at : at + 3] == b"TAG" or (after is not None and after.kind == kind)


def _frame(data: bytes, at: int) -> _Frame | None:
    """The frame at ``at``; ``None`` where that is none of an MP3."""
    return _frame_of(data[at : at + 4])


@lru_cache(64)
def _frame_of(head: bytes) -> _Frame | None:
    """The frame with a header of four bytes; a file has thousands of frames and few headers."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bits, rates = head[2] >> 4, _MP3_RATES[version]
    which = head[2] >> 2 & 3
    if layer != _LAYER_3 or not 0 < bits < len(_KBPS_1) or which >= len(rates):
        return None
    is_first = version == 3
    samples = 1152 if is_first else 576
    kbps = (_KBPS_1 if is_first else _KBPS_2)[bits]
    size = samples * kbps * 125 // rates[which] + (head[2] >> 1 & 1)
    return _Frame(size, samples / rates[which], (version, which))


def _tag_length(data: bytes) -> int:
    """Bytes of an ID3v2 tag at the beginning: title, cover and the like."""
    if data[:3] != b"ID3" or len(data) < 10:
        return 0
    size = 0
    for byte in data[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size
