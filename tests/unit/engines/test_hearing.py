"""Sounds, listened to by real llama.cpp in a real child with tiny projectors of random weights."""

import asyncio
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from nanolocal.chat.events import EngineEvent, Reading
from nanolocal.chat.messages import Attachment, Stopped
from nanolocal.chat.routes import Build, Sense
from nanolocal.engines.pool import EnginePool
from nanolocal.errors import BuildFailed, NoBuildFits, UsageError
from tests.fakes.sounds import RATE, flac, mp3, tone, wav
from tests.fakes.tiny_gguf import write_tiny_gguf
from tests.fakes.tiny_projector import write_tiny_projector
from tests.unit.engines.helpers import Heard, asking, build_of, children, listen, with_pool
from tests.unit.engines.test_eyes import looking, picture

TOKENS = 150
"""What a piece of up to 30 seconds becomes in the shape of Ultravox."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ears")


@pytest.fixture(scope="module")
def hearing(folder: Path) -> Build:
    """One that sees, too: both by one projector."""
    model = write_tiny_gguf(folder / "hearing.gguf", layers=2)
    projector = write_tiny_projector(folder / "mmproj-both.gguf", ears="ultravox", seed=5)
    return replace(build_of(model), projector=projector, senses=(Sense.SIGHT, Sense.HEARING))


def sound(data: bytes, name: str = "clip.wav") -> Attachment:
    return Attachment(name, "audio/wav", data)


def test_the_tokens_of_a_sound_are_counted_and_told_piece_by_piece(hearing: Build) -> None:
    async def both(pool: EnginePool) -> tuple[Heard, Heard]:
        return await listen(pool, hearing, looking(tone(440, 35))), await listen(pool, hearing, looking())

    heard, deaf = with_pool(both)
    assert heard.done.usage.prompt_tokens == deaf.done.usage.prompt_tokens + 2 * TOKENS
    steps = [later.done - earlier.done for earlier, later in pairwise(heard.of(Reading))]
    assert steps.count(TOKENS) == 2


def test_a_picture_and_a_sound_go_together(hearing: Build) -> None:
    async def take_in(pool: EnginePool) -> list[Heard]:
        red, low, high = picture("red"), tone(300), tone(2_000)
        return [await listen(pool, hearing, looking(*files)) for files in ((red, low), (red, high), (low, red))]

    low, high, swapped = with_pool(take_in)
    assert len({low.text, high.text, swapped.text}) == 3
    assert high.done.usage.cached_tokens >= 16  # the picture


def test_the_same_samples_are_the_same_sound_in_every_format(hearing: Build) -> None:
    seconds = 3 * 4096 / RATE
    files = [wav(440, seconds), flac(440, seconds), wav(440, seconds).replace(b"data", b"LIST\4\0\0\0INFOdata", 1)]

    async def hear(pool: EnginePool) -> set[str]:
        return {(await listen(pool, hearing, looking(sound(file)))).text for file in files}

    assert len(with_pool(hear)) == 1


def test_mp3_stereo_and_another_rate_are_heard(hearing: Build) -> None:
    async def hear(pool: EnginePool) -> list[int]:
        files = (mp3(), wav(440, 1.0, rate=44_100, channels=2), wav(440, 1.0, rate=8_000))
        return [(await listen(pool, hearing, looking(sound(file)))).done.usage.prompt_tokens for file in files]

    counted = with_pool(hear)
    assert counted[0] == counted[1] == counted[2] > TOKENS


def test_a_header_that_claims_hours_takes_no_memory_for_them(hearing: Build) -> None:
    """The number of samples in a ``fact`` chunk is what miniaudio would make room for."""
    lying = wav().replace(b"data", b"fact\4\0\0\0\xff\xff\xff\xffdata", 1)

    async def both(pool: EnginePool) -> tuple[Heard, Heard]:
        return await listen(pool, hearing, looking(sound(lying))), await listen(pool, hearing, looking(sound(wav())))

    lied, plain = with_pool(both)
    assert lied.text == plain.text


def test_a_sound_that_cannot_be_decoded_is_one_clear_error_and_the_engine_goes_on(hearing: Build) -> None:
    hollow = flac()
    hollow = hollow[:50] + bytes(len(hollow) - 50)

    async def try_it(pool: EnginePool) -> tuple[Heard, int]:
        await listen(pool, hearing, asking("hello"))
        (before,) = children()
        with pytest.raises(UsageError, match="cannot be decoded") as refused:
            await listen(pool, hearing, looking(sound(hollow)))
        assert refused.value.hint
        (after,) = children()
        return await listen(pool, hearing, asking("hello")), after.pid - before.pid

    heard, difference = with_pool(try_it)
    assert (heard.tokens, difference) == (40, 0)


def test_a_sound_that_becomes_too_many_tokens_is_refused_before_it_is_encoded(folder: Path, hearing: Build) -> None:
    fine = write_tiny_projector(folder / "mmproj-fine.gguf", kind="", ears="ultravox", stack=1)
    build = replace(hearing, id="fine:f32", projector=fine)
    with pytest.raises(NoBuildFits, match="sound becomes 1,500 tokens, at most 816"):
        with_pool(lambda pool: listen(pool, build, looking(tone(440))))


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"without": ("a.conv1d.1.weight",)}, r"unable to find tensor a\.conv1d\.1\.weight"),
        ({"ears": "of the future"}, "unknown projector type"),
        ({"embedding": 64}, "mismatch between text model"),
        ({"numbers": {"projector.stack_factor": 0}}, "stack_factor is '0'"),
        ({"numbers": {"projector.stack_factor": 8}}, "64 numbers cannot be stacked by 8"),
        ({"kind": "mlp", "ears": ""}, "is not for sounds"),
    ],
    ids=["a tensor lacks", "unknown type", "other model", "no stack", "counted in two ways", "deaf"],
)
def test_a_bad_projector_is_one_clear_error_and_text_still_works(
    tmp_path: Path, hearing: Build, how: dict[str, object], why: str
) -> None:
    bad = tmp_path / "mmproj-bad.gguf"
    write_tiny_projector(bad, **({"kind": "", "ears": "ultravox", "blocks": 1} | how))  # type: ignore[arg-type]
    build = replace(hearing, id="bad:f32", projector=bad)

    async def try_both(pool: EnginePool) -> Heard:
        with pytest.raises(BuildFailed, match=why):
            await listen(pool, build, looking(tone(440)))
        return await listen(pool, build, asking("hello"))

    assert with_pool(try_both).tokens == 40


def test_a_build_without_a_projector_refuses_a_sound(endless: Build) -> None:
    with pytest.raises(UsageError, match="cannot listen to sounds"):
        with_pool(lambda pool: listen(pool, endless, looking(tone(440))))


def test_stop_ends_the_encoding_and_nothing_of_the_sound_is_held(folder: Path, hearing: Build) -> None:
    """The encoder has work for minutes, so the answer is there in time only if the stop ends it."""
    slow = write_tiny_projector(folder / "mmproj-slow.gguf", kind="", ears="ultravox", width=160, inner=640, blocks=96)
    build = replace(hearing, id="slow:f32", projector=slow)

    async def stop_it(pool: EnginePool) -> tuple[Heard, Heard, int]:
        stop = asyncio.Event()

        def stop_at_the_sound(event: EngineEvent) -> None:
            if isinstance(event, Reading) and event.done:
                stop.set()

        stopped = await listen(pool, build, looking(tone(440, 59)), stop, stop_at_the_sound)
        (before,) = children()
        again = await listen(pool, build, asking("hello"))
        (after,) = children()
        return stopped, again, after.pid - before.pid

    stopped, again, difference = with_pool(stop_it)
    assert (stopped.done.stopped, stopped.text, difference) == (Stopped.USER, "", 0)
    assert again.tokens == 40
