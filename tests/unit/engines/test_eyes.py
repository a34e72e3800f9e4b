"""Pictures, looked at by real llama.cpp in a real child with tiny projectors of random weights; and what sounds share.

What is of sounds alone is in ``test_hearing``.
"""

import asyncio
import io
import struct
import zlib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

from nanolocal.chat.events import EngineEvent, Reading
from nanolocal.chat.messages import Attachment, Message, Role, Stopped
from nanolocal.chat.ports import TextJob
from nanolocal.chat.routes import Build, Footprint
from nanolocal.engines.pool import EnginePool
from nanolocal.errors import BuildFailed, NanolocalError, NoBuildFits, UsageError
from tests.fakes.sounds import tone
from tests.fakes.tiny_gguf import write_tiny_gguf
from tests.fakes.tiny_projector import write_tiny_projector
from tests.unit.engines.helpers import Heard, asking, build_of, children, listen, with_pool


def picture(colour: str, size: tuple[int, int] = (64, 48)) -> Attachment:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return Attachment(f"{colour}.png", "image/png", file.getvalue())


def looking(*pictures: Attachment, text: str = "what is this", n_ctx: int = 4096) -> TextJob:
    return TextJob((Message(Role.USER, text, pictures),), n_ctx, 24, temperature=0.0)


def going_on(job: TextJob, answer: str, text: str = "and now?") -> TextJob:
    more = (Message(Role.ASSISTANT, answer), Message(Role.USER, text))
    return replace(job, messages=(*job.messages, *more))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("eyes")


@pytest.fixture(scope="module")
def seeing(folder: Path) -> Build:
    """Llava's way: a picture becomes 16 tokens."""
    model = write_tiny_gguf(folder / "seeing.gguf", layers=2)
    return replace(build_of(model), projector=write_tiny_projector(folder / "mmproj-mlp.gguf"))


class Kind(NamedTuple):
    """A build, and two files that it takes in."""

    build: Build
    one: Attachment
    other: Attachment


@pytest.fixture(scope="module", params=["mlp", "gemma3", "qwen2vl_merger", "ultravox", "qwen2a"])
def each_kind(request: pytest.FixtureRequest, folder: Path) -> Kind:
    """A picture in line, one that is read at once, one whose tokens have places in two dimensions; and sounds."""
    kind = str(request.param)
    hears = kind in ("ultravox", "qwen2a")
    architecture = "qwen2vl" if kind in ("qwen2vl_merger", "qwen2a") else "llama"
    model = write_tiny_gguf(folder / f"{architecture}-{kind}.gguf", layers=2, architecture=architecture)
    eyes, ears = ("", kind) if hears else (kind, "")
    projector = write_tiny_projector(folder / f"mmproj-{kind}-of.gguf", kind=eyes, ears=ears)
    build = replace(build_of(model), projector=projector)
    if hears:
        return Kind(build, tone(440), tone(2_000))
    return Kind(build, picture("red"), picture("blue"))


def test_another_file_gives_another_answer_and_the_same_one_the_same(each_kind: Kind) -> None:
    build, one, other = each_kind

    async def look(pool: EnginePool) -> list[str]:
        return [(await listen(pool, build, looking(file))).text for file in (one, other, one)]

    first, second, first_again = with_pool(look)
    assert first == first_again != second


def test_a_second_turn_goes_on_after_the_file_as_a_cold_one_does(each_kind: Kind) -> None:
    build, first = each_kind.build, looking(each_kind.one)

    async def warm(pool: EnginePool) -> tuple[Heard, Heard]:
        heard = await listen(pool, build, first)
        return heard, await listen(pool, build, going_on(first, heard.text))

    before, reused = with_pool(warm)
    cold = with_pool(lambda pool: listen(pool, build, going_on(first, before.text)))
    assert reused.text == cold.text
    assert cold.done.usage.cached_tokens == 0
    assert reused.done.usage.cached_tokens > before.done.usage.prompt_tokens
    assert reused.done.usage.prompt_tokens == cold.done.usage.prompt_tokens


def test_the_tokens_of_a_picture_are_counted_and_told(seeing: Build) -> None:
    async def both(pool: EnginePool) -> tuple[Heard, Heard]:
        return await listen(pool, seeing, looking(picture("red"))), await listen(pool, seeing, looking())

    seen, blind = with_pool(both)
    assert seen.done.usage.prompt_tokens == blind.done.usage.prompt_tokens + 16
    told = [(event.done, event.cached) for event in seen.of(Reading)]
    assert told[-1] == (seen.done.usage.prompt_tokens, 0)
    assert any(later - earlier == 16 for (earlier, _), (later, _) in pairwise(told))


def test_pictures_are_told_apart_by_their_place(seeing: Build) -> None:
    red, blue = picture("red"), picture("blue")

    async def look(pool: EnginePool) -> list[Heard]:
        return [await listen(pool, seeing, looking(*pictures)) for pictures in ((red, blue), (blue, red), (red, blue))]

    ahead, swapped, again = with_pool(look)
    assert ahead.text == again.text != swapped.text
    assert swapped.done.usage.cached_tokens < 16
    assert again.done.usage.cached_tokens == again.done.usage.prompt_tokens - 1


def test_pictures_of_earlier_turns_go_along(seeing: Build) -> None:
    async def end(pool: EnginePool, colour: str) -> str:
        return (await listen(pool, seeing, going_on(looking(picture(colour)), "ok"))).text

    async def both(pool: EnginePool) -> tuple[str, str]:
        return await end(pool, "red"), await end(pool, "blue")

    red, blue = with_pool(both)
    assert red != blue


def test_a_picture_that_no_longer_fits_is_left_out_with_its_message(seeing: Build) -> None:
    job = going_on(looking(picture("red"), text="word " * 60, n_ctx=256), "ok " * 40, "and " * 20)
    heard = with_pool(lambda pool: listen(pool, seeing, job))
    assert heard.done.usage.prompt_tokens < 192


def claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims that size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 99)), (b"IEND", b""))
    chunks = (struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
              for name, data in parts)  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no PNG, JPEG, WebP or GIF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no PNG, JPEG, WebP or GIF"),
        (picture("red").data[:60], "cannot be read"),
        (claiming(60, 60), "cannot be read"),
        (claiming(9_000, 9_000), "too large to look at: 9000 x 9000"),
        (claiming(50_000, 50_000), "too large to look at"),
    ],
    ids=["empty", "svg", "cut off", "too few rows", "large", "bomb"],
)
def test_a_bad_picture_is_one_clear_error_and_the_engine_goes_on(seeing: Build, data: bytes, why: str) -> None:
    async def try_it(pool: EnginePool) -> tuple[Heard, int]:
        await listen(pool, seeing, asking("hello"))
        (before,) = children()
        with pytest.raises(UsageError, match=why) as refused:
            await listen(pool, seeing, looking(Attachment("x.png", "image/png", data)))
        assert refused.value.hint
        (after,) = children()
        return await listen(pool, seeing, asking("hello")), after.pid - before.pid

    heard, difference = with_pool(try_it)
    assert (heard.tokens, difference) == (40, 0)


def test_a_picture_that_becomes_too_many_tokens_is_refused_before_it_is_encoded(folder: Path, seeing: Build) -> None:
    fine = write_tiny_projector(folder / "mmproj-fine.gguf", side=1024, blocks=1)
    build = replace(seeing, id="fine:f32", projector=fine)
    with pytest.raises(NoBuildFits, match="becomes 16,384 tokens, at most 4,096"):
        with_pool(lambda pool: listen(pool, build, looking(picture("red"), n_ctx=8192)))


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"without": ("v.blk.0.attn_out.weight",)}, "unable to find tensor v.blk.0.attn_out.weight"),
        ({"without": ("mm.0.weight",)}, "ended by signal SIGSEGV"),
        ({"kind": "of the future"}, "unknown projector type"),
        ({"embedding": 64}, "mismatch between text model"),
        ({"numbers": {"patch_size": 0}}, "patch_size is '0'"),
        ({"heads": 5}, "cannot be shared by 5 heads"),
    ],
    ids=["a tensor lacks", "a crash", "unknown type", "other model", "no patch", "odd heads"],
)
def test_a_bad_projector_is_one_clear_error_and_text_still_works(
    tmp_path: Path, seeing: Build, how: dict[str, object], why: str
) -> None:
    bad = tmp_path / "mmproj-bad.gguf"
    write_tiny_projector(bad, **({"patch": 8} | how))  # type: ignore[arg-type]
    build = replace(seeing, id="bad:f32", projector=bad)

    async def try_both(pool: EnginePool) -> Heard:
        with pytest.raises(BuildFailed, match=why) as failed:
            await listen(pool, build, looking(picture("red")))
        assert "\n" not in failed.value.message
        return await listen(pool, build, asking("hello"))

    assert with_pool(try_both).tokens == 40


def test_a_projector_that_is_gone_leaves_text(tmp_path: Path, seeing: Build) -> None:
    build = replace(seeing, id="gone:f32", projector=tmp_path / "mmproj-gone.gguf")
    assert with_pool(lambda pool: listen(pool, build, asking("hello"))).tokens == 40
    with pytest.raises(NanolocalError, match=r"mmproj-gone\.gguf is missing"):
        with_pool(lambda pool: listen(pool, build, looking(picture("red"))))


def test_room_is_kept_for_a_projector_that_is_not_loaded_yet(seeing: Build) -> None:
    footprint = Footprint(file=0, mapped=0, used=0, held=10**9, loading=0, per_token=0, looking=2 * 10**9)
    build = replace(seeing, id="roomy:f32", footprint=footprint)

    async def memory(pool: EnginePool) -> int:
        await listen(pool, build, asking("hello"))
        return pool.memory(build.id)

    assert with_pool(memory) == 3 * 10**9


def test_a_build_without_eyes_refuses_a_picture(endless: Build) -> None:
    with pytest.raises(UsageError, match="cannot look at pictures"):
        with_pool(lambda pool: listen(pool, endless, looking(picture("red"))))


def test_stop_ends_the_encoding_and_nothing_of_the_picture_is_held(folder: Path, seeing: Build) -> None:
    """The encoder has work for minutes, so the answer is there in time only if the stop ends it."""
    slow = write_tiny_projector(folder / "mmproj-slow.gguf", side=504, width=128, blocks=64)
    build = replace(seeing, id="slow:f32", projector=slow)

    async def stop_it(pool: EnginePool) -> tuple[Heard, Heard, int]:
        stop = asyncio.Event()

        def stop_at_the_picture(event: EngineEvent) -> None:
            if isinstance(event, Reading) and event.done:
                stop.set()

        stopped = await listen(pool, build, looking(picture("red")), stop, stop_at_the_picture)
        (before,) = children()
        again = await listen(pool, build, asking("hello"))
        (after,) = children()
        return stopped, again, after.pid - before.pid

    stopped, again, difference = with_pool(stop_it)
    assert (stopped.done.stopped, stopped.text, difference) == (Stopped.USER, "", 0)
    assert again.tokens == 40
