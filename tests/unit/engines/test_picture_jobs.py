"""Pictures through the pool: what a job names beside its build, and drawing with less memory than was meant."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from nanolocal.chat.canvas import Canvas, Way
from nanolocal.chat.drawing import PictureReceipt
from nanolocal.chat.events import EngineEvent, ImageStep, Loading, MadeDo, PictureDrawn
from nanolocal.chat.ports import ImageJob
from nanolocal.chat.routes import Build, Footprint, Kind
from nanolocal.engines.attempts import Attempts
from nanolocal.engines.companions import found, numbers_of
from nanolocal.engines.pool import EnginePool, ladder_of
from nanolocal.errors import EngineFailed, OutOfMemory, UsageError
from nanolocal.formats.pipeline_folder import check_controlnet
from nanolocal.formats.safetensors_header import read_header
from tests.fakes.pipelines import write_pipelines
from tests.unit.engines.helpers import Heard, build_of, children, listen, with_pool

JOB = ImageJob("a red boat", 64, 64, 4, 4.0, seed=7)
LADDER = (("full", 4000), ("tiled", 3000), ("half", 2000))
FULL = OutOfMemory("full")


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_pipelines(tmp_path_factory.mktemp("pipelines"), "sd", "sd-lora", "sd-lora-other", "sd-controlnet")


class Free:
    """A gauge of a system that has so many bytes free."""

    def __init__(self, free: int) -> None:
        self._free = free

    def free(self) -> int:
        return self._free

    def oom_kills(self) -> int | None:
        return 0


def test_less_and_less_memory_is_tried_and_then_a_smaller_picture() -> None:
    attempts = Attempts(replace(JOB, width=512, height=384), None, ladder=LADDER)
    tried = [(attempts.setup.rung, attempts.setup.memory, attempts.remark)]
    while attempts.falls_back(FULL, others_left=False):
        job = attempts.job
        assert isinstance(job, ImageJob)
        tried.append((f"{attempts.setup.rung} {job.width}x{job.height}", attempts.setup.memory, attempts.remark))
    began = "There was too little memory: this build now "
    half = f"{began}computes in 16 bits, so pictures may differ a little"
    assert tried[:5] == [
        ("full", 4000, ""),
        ("tiled 512x384", 3000, f"{began}puts large pictures together from tiles."),
        ("half 512x384", 2000, f"{half}."),
        ("half 384x256", 0, f"{half} and draws 384 x 256 pixels."),
        ("half 256x192", 0, f"{half} and draws 256 x 192 pixels."),
    ]
    assert tried[-1][0] == "half 128x64"


def test_others_leave_before_anything_is_given_up() -> None:
    attempts = Attempts(JOB, None, ladder=LADDER)
    assert attempts.falls_back(FULL, others_left=True)
    assert (attempts.setup.rung, attempts.remark) == ("full", "")
    assert attempts.falls_back(FULL, others_left=True)
    assert attempts.setup.rung == "tiled"
    assert not attempts.falls_back(EngineFailed("died"), others_left=False)


def test_a_build_begins_where_it_ended_and_with_what_the_budget_allows() -> None:
    ended = Attempts(JOB, None, ladder=LADDER)
    ended.falls_back(FULL, others_left=False)
    assert Attempts(JOB, ended.setup, ladder=LADDER).setup.rung == "tiled"
    assert Attempts(JOB, None, ladder=LADDER[2:]).setup.rung == "half"


def test_a_picture_is_drawn_with_the_memory_that_is_free(builds: dict[str, Path]) -> None:
    ways = tuple(Way(rung, needed, 0, 0, ()) for rung, needed in (("full", 4000), ("tiled", 3000), ("half", 2000)))
    footprint = Footprint(0, 0, 0, 4000, 0, 0, canvas=Canvas(64, 64, ways))
    build = replace(build_of(builds["sd"], Kind.IMAGE), footprint=footprint)

    async def drawn(pool: EnginePool) -> tuple[Heard, Heard]:
        return await listen(pool, build, JOB), await listen(pool, build, JOB)

    first, again = with_pool(drawn, gauge=Free(2500))
    remark = "There was too little memory: this build now computes in 16 bits, so pictures may differ a little."
    assert first.of(MadeDo) == [MadeDo(remark)]
    assert again.of(MadeDo) == [] == again.of(Loading)
    assert receipt(first).rung == receipt(again).rung == "half"
    assert receipt(first).dtype == "bfloat16"


def test_an_engine_that_dies_in_a_batch_has_handed_over_what_was_finished(builds: dict[str, Path]) -> None:
    build = build_of(builds["sd"], Kind.IMAGE)

    def kill(event: EngineEvent) -> None:
        if isinstance(event, ImageStep) and event.step == 10:
            os.kill(children()[0].pid, signal.SIGKILL)

    async def dies(pool: EnginePool) -> list[EngineEvent]:
        seen: list[EngineEvent] = []

        def on_event(event: EngineEvent) -> None:
            seen.append(event)
            kill(event)

        with pytest.raises(EngineFailed, match="SIGKILL"):
            await listen(pool, build, replace(JOB, count=60), on_event=on_event)
        again = await listen(pool, build, JOB)
        return [*seen, *again.events]

    drawn = [event for event in with_pool(dies) if isinstance(event, PictureDrawn)]
    assert len(drawn) >= 3
    assert [event.pixel_steps for event in drawn[:2]] == [64 * 64 * 4, 64 * 64 * 8]
    assert [PictureReceipt.from_json(event.picture.receipt).seed for event in drawn] == [*range(7, 6 + len(drawn)), 7]
    assert drawn[0].picture == drawn[-1].picture


def test_loras_and_controlnets_count_in_the_memory_that_a_picture_takes(builds: dict[str, Path]) -> None:
    both = replace(JOB, adapters=((str(builds["sd-lora"]), 1.0),), controlnet=str(builds["sd-controlnet"]))
    lora, net = (numbers_of(job) for job in (replace(both, controlnet=""), replace(both, adapters=())))
    assert lora == read_header(builds["sd-lora"]).parameters
    assert net == check_controlnet(builds["sd-controlnet"]).weights.parameters
    assert (numbers_of(both), numbers_of(JOB)) == (lora + net, 0)
    ways = tuple(Way(rung, needed, 0, 0, ()) for rung, needed in (("full", 4000), ("tiled", 3000), ("half", 2000)))
    build = replace(
        build_of(builds["sd"], Kind.IMAGE), footprint=Footprint(0, 0, 0, 4000, 0, 0, canvas=Canvas(64, 64, ways))
    )
    assert ladder_of(build, JOB, 0, 10**9) == (("full", 4000), ("tiled", 3000), ("half", 2000))
    assert ladder_of(build, JOB, 500, 10**9) == (("full", 6000), ("tiled", 5000), ("half", 3000))
    assert ladder_of(build, JOB, 500, 5500) == (("tiled", 5000), ("half", 3000))
    with pytest.raises(UsageError, match="safetensors"):
        numbers_of(replace(JOB, adapters=((str(builds["sd"] / "model_index.json"), 1.0),)))


def test_what_a_job_names_is_read_by_an_isolated_engine(builds: dict[str, Path]) -> None:
    """A LoRA that is known is there from the start; for another file the build is loaded again, once."""
    build = build_of(builds["sd"], Kind.IMAGE)
    known = {"Paint": builds["sd-lora"]}
    named = replace(JOB, adapters=(("paint", 0.8),))
    by_path = replace(JOB, adapters=((str(builds["sd-lora-other"]), 0.8),))
    steered = replace(JOB, controlnet=str(builds["sd-controlnet"]), control=b"", prompt="x")

    async def several(pool: EnginePool) -> list[Heard]:
        heard = [await listen(pool, build, job) for job in (JOB, named, by_path, named, JOB)]
        with pytest.raises(UsageError, match="no PNG, JPEG, WebP or GIF"):
            await listen(pool, build, steered)
        return heard

    plain, lora, other, again, last = with_pool(several, companions=lambda: known)
    assert [bool(each.of(Loading)) for each in (plain, lora, other, again, last)] == [True, False, True, False, False]
    pictures = [each.done.pictures[0].data for each in (plain, lora, other, again, last)]
    assert len(set(pictures)) == 3
    assert (pictures[1], pictures[0]) == (pictures[3], pictures[4])
    assert [weight for _, weight in receipt(lora).adapters] == [0.8]


def test_a_receipt_draws_the_same_bytes_in_another_engine(builds: dict[str, Path]) -> None:
    build = build_of(builds["sd"], Kind.IMAGE)

    async def two(pool: EnginePool) -> Heard:
        return await listen(pool, build, replace(JOB, count=2, negative="fog"))

    first = with_pool(two)
    told = PictureReceipt.from_json(first.done.pictures[1].receipt)
    job = ImageJob(
        told.prompt, told.width, told.height, told.steps, told.guidance, told.seed, told.negative, told.scheduler
    )

    async def one(pool: EnginePool) -> Heard:
        return await listen(pool, build, job)

    again = with_pool(one)
    assert again.done.pictures[0].data == first.done.pictures[1].data
    assert receipt(again) == told
    assert [step.total for step in first.of(ImageStep)] == [8] * 8


def test_what_is_named_is_found_by_name_file_or_path(tmp_path: Path) -> None:
    lora, net = tmp_path / "paint-v2.safetensors", tmp_path / "canny"
    lora.write_bytes(b"")
    net.mkdir()
    (net / "config.json").write_text("{}")
    known = {"Paint": lora, "Lines": net}
    for name in ("Paint", "paint", "paint-v2", "paint-v2.safetensors", str(lora)):
        assert found(replace(JOB, adapters=((name, 1.0),)), known).adapters == ((str(lora), 1.0),)
    assert found(replace(JOB, controlnet="lines"), known).controlnet == str(net)
    assert found(JOB, {}) == JOB
    with pytest.raises(UsageError, match="there is no LoRA 'nope'") as refused:
        found(replace(JOB, adapters=(("nope", 1.0),)), known)
    assert refused.value.hint == "stored here: Paint"
    with pytest.raises(UsageError, match="there is no ControlNet 'paint'"):
        found(replace(JOB, controlnet="paint"), known)
    with pytest.raises(UsageError, match="named twice"):
        found(replace(JOB, adapters=(("paint", 1.0), (str(lora), 0.5))), known)


def receipt(heard: Heard) -> PictureReceipt:
    return PictureReceipt.from_json(heard.done.pictures[0].receipt)


def test_a_job_for_too_many_pictures_is_refused_before_anything_is_loaded() -> None:
    build = Build("x:f16", "x", Kind.IMAGE, Path("nowhere"), "f16", 1, "sha")
    for count in (0, 65):
        with pytest.raises(UsageError, match="1 to 64 pictures"):
            with_pool(lambda pool, count=count: listen(pool, build, replace(JOB, count=count)))  # type: ignore[misc]
