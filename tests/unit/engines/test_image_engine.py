"""Pictures of real diffusers in a real child. Loading torch is slow, so one child does several jobs."""

import asyncio
import io
import os
import signal

import pytest
from PIL import Image

from nanolocal.chat.events import ContextDropped, EngineEvent, ImageStep, Loading
from nanolocal.chat.messages import Stopped
from nanolocal.chat.ports import ImageJob
from nanolocal.chat.routes import Build
from nanolocal.engines.pool import EnginePool
from nanolocal.errors import EngineFailed, UsageError
from tests.unit.engines.helpers import Heard, asking, children, listen, with_pool

JOB = ImageJob("a red boat", 64, 48, 6, 4.0, seed=7)


def opened(heard: Heard) -> Image.Image:
    (picture,) = heard.done.pictures
    assert (picture.name, picture.media_type) == ("picture.png", "image/png")
    return Image.open(io.BytesIO(picture.data))


def test_pictures_stop_go_on_and_crash_in_one_child(painter: Build) -> None:
    stop = asyncio.Event()

    def after_two(event: EngineEvent) -> None:
        if isinstance(event, ImageStep) and event.step == 2:
            stop.set()

    def kill(event: EngineEvent) -> None:
        if isinstance(event, ImageStep):
            os.kill(children()[0].pid, signal.SIGKILL)

    async def several(pool: EnginePool) -> tuple[Heard, ...]:
        first = await listen(pool, painter, JOB)
        again = await listen(pool, painter, JOB)
        other = await listen(pool, painter, ImageJob("a red boat", 64, 48, 6, 4.0, seed=8, negative="fog"))
        too_long = await listen(pool, painter, ImageJob("a red boat " * 8, 64, 48, 1, 4.0, seed=7))
        stopped = await listen(pool, painter, ImageJob("x", 64, 64, 200, 4.0), stop, after_two)
        after = await listen(pool, painter, JOB)
        with pytest.raises(EngineFailed, match="painter:f32 ended by signal SIGKILL"):
            await listen(pool, painter, ImageJob("x", 64, 64, 200, 4.0), on_event=kill)
        assert pool.resident() == ()
        return first, again, other, too_long, stopped, after

    first, again, other, too_long, stopped, after = with_pool(several)
    assert first.of(ContextDropped) == []
    assert too_long.of(ContextDropped) == [ContextDropped(0, 2 + 8 * 8 - 32)]
    image = opened(first)
    assert (image.size, image.format, image.info) == ((64, 48), "PNG", {})
    assert [(step.step, step.total) for step in first.of(ImageStep)] == [(n, 6) for n in range(1, 7)]
    previews = [step.preview for step in first.of(ImageStep) if step.preview]
    assert [Image.open(io.BytesIO(preview)).size for preview in previews] == [(64, 48)]
    assert (first.of(Loading)[0].fraction, first.of(Loading)[-1].fraction) == (0.0, 1.0)
    assert (first.done.usage.pixel_steps, first.done.stopped) == (64 * 48 * 6, Stopped.END)
    assert min(first.done.timing.load_s, first.done.timing.ttft_s, first.done.timing.cpu_s) > 0
    assert opened(again).tobytes() == image.tobytes() == opened(after).tobytes() != opened(other).tobytes()
    assert again.of(Loading) == []
    assert (stopped.done.stopped, stopped.done.pictures) == (Stopped.USER, ())
    steps_done = stopped.done.usage.pixel_steps // (64 * 64)
    assert 2 <= steps_done < 200
    assert steps_done - len(stopped.of(ImageStep)) in (0, 1)


@pytest.mark.parametrize(
    "job",
    [
        ImageJob("x", 60, 64, 4, 1.0),
        ImageJob("x", 64, 0, 4, 1.0),
        ImageJob("x", 64, -64, 4, 1.0),
        ImageJob("x", 8192, 64, 4, 1.0),
        ImageJob("x", 4096, 4096, 4, 1.0),
        ImageJob("x", 64, 64, 0, 1.0),
        ImageJob("x", 64, 64, 10**6, 1.0),
    ],
)
def test_a_silly_size_is_refused_before_anything_is_loaded(painter: Build, job: ImageJob) -> None:
    with pytest.raises(UsageError):
        with_pool(lambda pool: listen(pool, painter, job))


def test_a_job_of_the_other_kind_is_refused(painter: Build, endless: Build) -> None:
    with pytest.raises(UsageError, match="of the other kind"):
        with_pool(lambda pool: listen(pool, painter, asking("hi")))
    with pytest.raises(UsageError, match="of the other kind"):
        with_pool(lambda pool: listen(pool, endless, JOB))
