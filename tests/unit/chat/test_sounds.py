"""What the headers of sound files tell, the honest and the others."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanolocal.chat import sounds
from nanolocal.chat.sounds import begins_like_sound, in_minutes, read_sound
from nanolocal.errors import UsageError
from tests.fakes.sounds import RATE, flac, mp3, wav


def layout(kind: int, channels: int = 1, rate: int = RATE, bits: int = 16, more: bytes = b"") -> bytes:
    """A WAV with one second of zeros and such a format."""
    head = struct.pack("<HHIIHH", kind, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits) + more
    samples = bytes(rate * channels * bits // 8)
    chunks = b"fmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks


@pytest.mark.parametrize(
    ("data", "seconds"),
    [
        (wav(seconds=7), 7.0),
        (wav(seconds=2, rate=44_100, channels=2), 2.0),
        (layout(1, bits=24), 1.0),
        (layout(3, bits=32), 1.0),
        (layout(6, bits=8), 1.0),
        (layout(0xFFFE, more=struct.pack("<HHIH", 22, 16, 0, 1) + bytes(14)), 1.0),
        (wav(seconds=2).replace(b"data" + struct.pack("<I", 4 * RATE), b"data\xff\xff\xff\xff"), 2.0),
        (wav(seconds=2)[: -2 * RATE], 1.0),
        (flac(seconds=2), 7 * 4096 / RATE),
        (mp3(40), 40 * 1152 / 44_100),
        (mp3(40) + b"TAG" + bytes(125), 40 * 1152 / 44_100),
    ],
    ids=["wav", "stereo", "24 bits", "float", "A-law", "extensible", "streamed", "cut off", "flac", "mp3", "tagged"],
)
def test_the_length_is_that_of_the_samples_and_what_is_kept_tells_the_same(data: bytes, seconds: float) -> None:
    sound = read_sound(data)
    assert sound.seconds == pytest.approx(seconds)
    assert begins_like_sound(data)
    assert begins_like_sound(sound.data)
    assert read_sound(sound.data) == sound
    assert len(sound.data) <= len(data)


def test_what_is_no_sound_is_left_out() -> None:
    commented = wav().replace(b"data", b"LIST\4\0\0\0INFOfact\4\0\0\0\xff\xff\xff\xffdata", 1)
    assert read_sound(commented) == read_sound(wav())
    frames = read_sound(mp3(40)).data
    assert frames == mp3(40)[15:]
    torn = mp3(20) + b"\xff\xfb\x50\xc4 no frame follows this" + frames
    assert read_sound(torn).data == frames[: 208 * 20] + frames
    assert b"\xff\xf8" in read_sound(flac()).data
    assert len(read_sound(flac()).data) == len(flac()) - 12


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no WAV, MP3 or FLAC"),
        (b"OggS" + bytes(200), "no WAV, MP3 or FLAC"),
        (bytes(range(256)) * 20, "no WAV, MP3 or FLAC"),
        (wav()[:20], "cut off in its header"),
        (wav()[:36], "no sound in the WAV"),
        (wav()[:44], "less than a tenth of a second"),
        (b"RIFF\0\0\0\0WAVEdata\4\0\0\0abcd", "does not say what its samples are"),
        (layout(2, bits=4), "compressed in a way"),
        (layout(1, bits=12), "compressed in a way"),
        (layout(1, channels=0), "0 channels"),
        (layout(1, channels=9), "9 channels"),
        (layout(1, rate=1), "1 samples a second"),
        (layout(1, rate=500_000), "500,000 samples a second"),
        (wav(rate=1_000, seconds=601), "is 10:01 long, at most 10:00"),
        (flac(claims=0), "does not say how long"),
        (flac(claims=2**36 - 1), "long, at most 10:00"),
        (flac()[:20], "cut off in its header"),
        (mp3(30_000), "long, at most 10:00"),
        (b"\xff\xfb\x00\xc4" + bytes(4_000), "no WAV, MP3 or FLAC"),
        (b"\xff\xd8\xff\xe0" + bytes(100), "no WAV, MP3 or FLAC"),
    ],
    ids=range(20),
)
def test_what_cannot_be_heard_is_refused_with_the_reason(data: bytes, why: str) -> None:
    with pytest.raises(UsageError, match=why) as refused:
        read_sound(data)
    assert refused.value.hint


@given(st.binary(max_size=200), st.sampled_from([b"", wav()[:44], flac()[:60], mp3(3)]), st.integers(0, 300))
def test_a_file_is_understood_or_refused_whatever_it_holds(noise: bytes, start: bytes, at: int) -> None:
    data = start[:at] + noise + start[at:]
    begins_like_sound(data)
    try:
        sound = read_sound(data)
    except UsageError:
        return
    assert sounds.LEAST_SECONDS <= sound.seconds <= sounds.MOST_SECONDS


def test_lengths_and_tokens() -> None:
    assert [in_minutes(seconds) for seconds in (0.4, 7, 59.6, 61, 600)] == ["0:00", "0:07", "1:00", "1:01", "10:00"]
    assert read_sound(wav(seconds=29)).most_tokens == 816
    assert read_sound(wav(seconds=31)).most_tokens == 1568
    assert [sounds.type_of(name) for name in ("A.WAV", "b.mp3", "c.flac", "d.ogg", "wav")] == [
        "audio/wav", "audio/mpeg", "audio/flac", None, None,
    ]  # fmt: skip
