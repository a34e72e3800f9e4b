"""How wishes become a picture job, and which are refused before anything is loaded or paid."""

import struct
from dataclasses import replace
from pathlib import Path

import pytest

from nanolocal.chat.canvas import MOST_PIXELS
from nanolocal.chat.drawing import Drawing
from nanolocal.chat.jobs import image_job, most_it_can_use
from nanolocal.chat.media import MOST_BYTES
from nanolocal.chat.messages import Attachment, Wishes
from nanolocal.chat.routes import Build, Kind
from nanolocal.errors import UsageError

BUILD = Build(
    "paint:f16", "Paint", Kind.IMAGE, Path("p"), "f16", 1, "a" * 64,
    defaults={"width": 512, "height": 512, "steps": 20, "guidance": 5.0, "multiple": 16, "max_width": 1024},
)  # fmt: skip


def png(width: int, height: int) -> Attachment:
    data = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height)
    return Attachment("x.png", "image/png", data)


def test_everything_that_is_wished_reaches_the_engine() -> None:
    asked = Drawing(
        negative=" fog ", guidance=7.5, scheduler="Euler-A", strength=0.4, mask=b"m", control=b"c", controlnet="lines",
        adapters=(("paint", 0.5),), count=3,
    )  # fmt: skip
    job = image_job("draw a boat", BUILD, Wishes(width=640, height=320, steps=9, seed=4, drawing=asked), png(9, 9))
    assert (job.prompt, job.width, job.height, job.steps, job.seed, job.count) == ("a boat", 640, 320, 9, 4, 3)
    assert (job.negative, job.guidance, job.scheduler) == ("fog", 7.5, "EulerAncestralDiscreteScheduler")
    assert (job.strength, job.source, job.mask) == (0.4, png(9, 9).data, b"m")
    assert (job.control, job.controlnet, job.adapters) == (b"c", "lines", (("paint", 0.5),))
    assert most_it_can_use(job).pixel_steps == 640 * 320 * 9 * 3


def test_a_picture_is_enlarged_by_its_factor_within_what_pictures_may_have() -> None:
    build = replace(BUILD, defaults={"width": 512, "height": 512, "multiple": 32, "min_width": 128, "upscales": 4})
    asked = Wishes(drawing=Drawing(upscales=True))
    sizes = [(100, 60), (320, 240), (4000, 3000), (20, 300)]
    jobs = [image_job("", build, asked, png(*size)) for size in sizes]
    assert [(job.width, job.height) for job in jobs] == [(384, 256), (1280, 960), (1952, 1472), (128, 1216)]
    assert all(job.width * job.height <= MOST_PIXELS and job.strength == 0.0 for job in jobs)
    with pytest.raises(UsageError, match="does not enlarge pictures"):
        image_job("", BUILD, asked, png(9, 9))


def test_what_is_not_wished_is_as_the_build_draws() -> None:
    job = image_job("a boat", BUILD, Wishes())
    assert (job.width, job.height, job.steps, job.guidance) == (512, 512, 20, 5.0)
    assert (job.negative, job.scheduler, job.strength, job.adapters, job.count) == ("", "", 0.0, (), 1)
    assert job.seed is not None


@pytest.mark.parametrize(
    ("of", "drawn"),
    [((500, 500), (512, 512)), ((400, 300), (592, 448)), ((300, 400), (448, 592)), ((4000, 100), (1024, 80))],
)
def test_a_picture_that_is_changed_keeps_its_shape(of: tuple[int, int], drawn: tuple[int, int]) -> None:
    job = image_job("a boat", BUILD, Wishes(), png(*of))
    assert (job.width, job.height) == drawn
    wished = image_job("a boat", BUILD, Wishes(width=256, height=128), png(*of))
    assert (wished.width, wished.height) == (256, 128)


def test_as_much_of_a_picture_changes_as_makes_sense() -> None:
    assert 0 < image_job("a boat", BUILD, Wishes(), png(9, 9)).strength < 1
    assert image_job("a boat", BUILD, Wishes(steps=1), png(9, 9)).strength == 1.0
    assert image_job("a boat", BUILD, Wishes(drawing=Drawing(mask=b"m")), png(9, 9)).strength == 1.0


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        (Wishes(width=0), "width is between"),
        (Wishes(width=7), "width is between"),
        (Wishes(height=100_000), "height is between"),
        (Wishes(width=1032), "width is between"),
        (Wishes(width=72), "multiple of 16"),
        (Wishes(steps=0), "--steps is between"),
        (Wishes(drawing=Drawing(count=0)), "--count is between"),
        (Wishes(drawing=Drawing(count=17)), "--count is between"),
        (Wishes(drawing=Drawing(guidance=-1.0)), "--guidance is between"),
        (Wishes(drawing=Drawing(guidance=float("nan"))), "--guidance is between"),
        (Wishes(drawing=Drawing(scheduler="foo")), "no scheduler 'foo'"),
        (Wishes(drawing=Drawing(adapters=(("x", 9.0),))), "weight of x is between"),
        (Wishes(drawing=Drawing(negative="fog", guidance=1.0)), "does nothing at a guidance of 1"),
        (Wishes(drawing=Drawing(strength=0.5)), "a strength says"),
        (Wishes(drawing=Drawing(mask=b"m")), "a mask says"),
        (Wishes(drawing=Drawing(control=b"c")), "nothing here follows"),
        (Wishes(drawing=Drawing(controlnet="lines")), "a ControlNet follows"),
    ],
)
def test_what_no_pipeline_can_do_is_refused(wishes: Wishes, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        image_job("a boat", BUILD, wishes)


def test_a_picture_to_change_needs_a_step_and_room() -> None:
    with pytest.raises(UsageError, match="leaves none of 4 steps"):
        image_job("a boat", BUILD, Wishes(steps=4, drawing=Drawing(strength=0.2)), png(9, 9))
    with pytest.raises(UsageError, match="--strength is between"):
        image_job("a boat", BUILD, Wishes(drawing=Drawing(strength=1.5)), png(9, 9))
    large = replace(png(9, 9), data=png(9, 9).data + bytes(MOST_BYTES))
    with pytest.raises(UsageError, match="more than 11 MiB"):
        image_job("a boat", BUILD, Wishes(), large)
