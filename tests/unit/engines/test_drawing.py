"""Every family of pipelines in a real engine child, on random weights: that it draws, not what."""

import hashlib
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from nanolocal.chat.drawing import STEP_CACHES
from nanolocal.chat.messages import Stopped
from nanolocal.chat.ports import ImageJob
from nanolocal.engines.isolation import SWITCH
from nanolocal.engines.protocol import Cancel, Drawn, Step
from tests.fakes.pipelines import COMPANIONS, FAMILIES, UPSCALERS, write_pipelines
from tests.unit.engines.studio import Drawing, Studio, picture

JOB = ImageJob("a red boat", 64, 64, 4, 4.0, seed=7)
BARE = """
import hashlib, io, json, sys, warnings
warnings.simplefilter("ignore")
import torch
from diffusers import DiffusionPipeline
torch.set_num_threads(1)
found = {}
for folder in sys.argv[1:]:
    pipeline = DiffusionPipeline.from_pretrained(folder)
    image = pipeline("a red boat", width=64, height=64, num_inference_steps=4, guidance_scale=4.0,
                     generator=torch.Generator("cpu").manual_seed(7)).images[0]
    found[folder] = hashlib.sha256(image.tobytes()).hexdigest()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_pipelines(tmp_path_factory.mktemp("pipelines"), *FAMILIES, *COMPANIONS, *UPSCALERS)


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SWITCH, "off")
        studio = Studio()
        yield studio
        studio.close()


@pytest.fixture(scope="module")
def plain(studio: Studio, builds: dict[str, Path]) -> Drawing:
    """``JOB`` by the family ``sd``."""
    return studio.draw(builds["sd"], JOB)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_of_each_family_draws_and_shows_how_far_it_is(
    studio: Studio, builds: dict[str, Path], family: str
) -> None:
    first = studio.draw(builds[family], replace(JOB, steps=5))
    again = studio.draw(builds[family], replace(JOB, steps=5))
    image = Image.open(io.BytesIO(first.pictures[0]), formats=["PNG"])
    assert (image.size, image.mode, image.info) == ((64, 64), "RGB", {})
    assert first.steps == [(step, 5) for step in range(1, 6)]
    assert [preview.size for preview in first.previews] == [(64, 64)]
    assert first.done.pixel_steps == 64 * 64 * 5
    assert (first.drawn.seed, first.drawn.rung, first.drawn.dtype, first.drawn.threads) == (7, "full", "float32", 1)
    assert {name for name, _ in first.drawn.versions} == {"diffusers", "torch", "transformers"}
    assert again.pictures == first.pictures


def test_the_picture_is_the_one_that_diffusers_draws(studio: Studio, builds: dict[str, Path]) -> None:
    folders = [builds[family] for family in ("sd", "sdxl", "sd3", "lcm")]
    command = [sys.executable, "-W", "ignore", "-c", BARE, *map(str, folders)]
    bare = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    for folder in folders:
        (drawn,) = studio.draw(folder, JOB).pictures
        assert hashlib.sha256(Image.open(io.BytesIO(drawn)).tobytes()).hexdigest() == bare[str(folder)], folder.name


@pytest.mark.parametrize("family", ["sd", "sdxl", "sd3", "flux", "lcm"])
def test_a_picture_is_changed_by_as_much_as_is_asked(studio: Studio, builds: dict[str, Path], family: str) -> None:
    drawn = studio.draw(builds[family], JOB)
    changed = studio.draw(builds[family], replace(JOB, source=picture(), strength=0.5))
    of_another = studio.draw(builds[family], replace(JOB, source=picture("blue"), strength=0.5))
    taken = 4 if family == "lcm" else 2  # it spreads all of its steps over what may change
    assert changed.steps == [(step, taken) for step in range(1, taken + 1)]
    assert changed.done.pixel_steps == 64 * 64 * taken
    assert len({drawn.pictures[0], changed.pictures[0], of_another.pictures[0]}) == 3
    assert studio.draw(builds[family], JOB).pictures == drawn.pictures


@pytest.mark.parametrize("family", ["sd", "sdxl", "sd3", "flux"])
def test_a_mask_says_where(studio: Studio, builds: dict[str, Path], family: str) -> None:
    asked = replace(JOB, source=picture(), strength=1.0, mask=picture("black"))
    inside = studio.draw(builds[family], asked)
    elsewhere = studio.draw(builds[family], replace(asked, mask=picture("black", white=(60, 10, 90, 70))))
    assert Image.open(io.BytesIO(inside.pictures[0])).size == (64, 64)
    assert inside.pictures != elsewhere.pictures


def test_what_a_family_cannot_do_is_refused_in_one_line(studio: Studio, builds: dict[str, Path]) -> None:
    source = picture()
    refused = {
        ("pixart", replace(JOB, source=source, strength=0.5)): "PixArtSigmaPipeline cannot change a picture",
        ("pixart", replace(JOB, adapters=((str(builds["sd-lora"]), 1.0),))): "PixArtSigmaPipeline takes no LoRA",
        ("lcm", replace(JOB, source=source, mask=source, strength=0.5)): "cannot draw into a mask",
        ("lcm", replace(JOB, negative="fog")): "LatentConsistencyModelPipeline takes no negative prompt",
        ("flux", replace(JOB, negative="fog")): "FluxPipeline takes no negative prompt",
        ("sd3", replace(JOB, scheduler="EulerDiscreteScheduler")): "cannot draw with EulerDiscreteScheduler",
        ("sd", replace(JOB, source=b"no picture", strength=0.5)): "no PNG, JPEG, WebP or GIF",
        ("sd", replace(JOB, adapters=((str(builds["sdxl"] / "model_index.json"), 1.0),))): "",
    }
    for (family, job), words in refused.items():
        failure = studio.draw(builds[family], job).failure
        assert words in failure.message
        assert failure.error in ("UsageError", "Damaged")
        assert "\n" not in failure.message + failure.hint


def test_loras_change_the_picture_together_and_leave_no_trace(
    studio: Studio, builds: dict[str, Path], plain: Drawing
) -> None:
    one, other = str(builds["sd-lora"]), str(builds["sd-lora-other"])
    drawn = {
        weights: studio.draw(builds["sd"], replace(JOB, adapters=weights)).pictures[0]
        for weights in (((one, 1.0),), ((one, 0.5),), ((other, 1.0),), ((one, 0.5), (other, 0.5)))
    }
    assert len({*drawn.values(), plain.pictures[0]}) == 5
    assert studio.draw(builds["sd"], replace(JOB, adapters=((one, 0.0),))).pictures == plain.pictures
    assert studio.draw(builds["sd"], replace(JOB, adapters=((one, 1.0),))).pictures[0] == drawn[((one, 1.0),)]
    told = studio.draw(builds["sd"], replace(JOB, adapters=((one, 1.0),))).drawn.adapters
    assert told == ((hashlib.sha256(Path(one).read_bytes()).hexdigest(), 1.0),)
    assert studio.draw(builds["sd"], JOB).pictures == plain.pictures


def test_a_lora_of_another_family_is_refused_and_the_next_picture_is_as_ever(
    studio: Studio, builds: dict[str, Path]
) -> None:
    plain = studio.draw(builds["sdxl"], JOB)
    refused = studio.draw(builds["sdxl"], replace(JOB, adapters=((str(builds["sd-lora"]), 1.0),))).failure
    assert (refused.error, "sd-lora.safetensors is no LoRA for this build" in refused.message) == ("UsageError", True)
    assert studio.draw(builds["sdxl"], JOB).pictures == plain.pictures


def test_a_controlnet_is_followed_alone_and_into_a_picture(
    studio: Studio, builds: dict[str, Path], plain: Drawing
) -> None:
    asked = replace(JOB, controlnet=str(builds["sd-controlnet"]), control=picture("black"))
    along = studio.draw(builds["sd"], asked).pictures[0]
    along_another = studio.draw(builds["sd"], replace(asked, control=picture("blue"))).pictures[0]
    changed = studio.draw(builds["sd"], replace(asked, source=picture(), strength=0.5)).pictures[0]
    masked = studio.draw(builds["sd"], replace(asked, source=picture(), mask=picture("black"), strength=0.5)).pictures[
        0
    ]
    assert len({plain.pictures[0], along, along_another, changed, masked}) == 5
    assert studio.draw(builds["sd"], JOB).pictures == plain.pictures
    refused = studio.draw(builds["sana"], asked).failure
    assert (refused.error, refused.message) == ("UsageError", "sd-controlnet is no ControlNet for this build")


def test_several_pictures_are_each_the_one_of_its_seed(studio: Studio, builds: dict[str, Path]) -> None:
    several = studio.draw(builds["sd"], replace(JOB, count=3))
    alone = [studio.draw(builds["sd"], replace(JOB, seed=seed)).pictures[0] for seed in (7, 8, 9)]
    assert several.pictures == alone
    assert [reply.seed for reply in several.replies if isinstance(reply, Drawn)] == [7, 8, 9]
    assert several.steps == [(step, 12) for step in range(1, 13)]
    assert several.done.pixel_steps == 64 * 64 * 12


@pytest.mark.parametrize("at", range(1, 8))
def test_a_stop_at_any_step_is_charged_by_steps_and_leaves_the_engine_usable(
    studio: Studio, builds: dict[str, Path], plain: Drawing, at: int
) -> None:
    asked = replace(JOB, steps=400, count=2) if at < 7 else replace(JOB, count=200)

    def stop(reply: object, child: object, job: int) -> None:
        if isinstance(reply, Step) and reply.step == at:
            child.send(Cancel(job))  # type: ignore[attr-defined]  # a Child

    stopped = studio.draw(builds["sd"], asked, on_reply=stop)
    assert stopped.done.stopped == Stopped.USER
    done = stopped.steps[-1][0]
    assert at <= done < stopped.steps[-1][1]
    assert stopped.done.pixel_steps == 64 * 64 * done
    assert len(stopped.pictures) == done // asked.steps or len(stopped.pictures) == (done - 1) // asked.steps
    assert studio.draw(builds["sd"], JOB).pictures == plain.pictures


def _stop_at(step: int) -> Callable[[object, object, int], None]:
    def stop(reply: object, child: object, job: int) -> None:
        if isinstance(reply, Step) and reply.step == step:
            child.send(Cancel(job))  # type: ignore[attr-defined]  # a Child

    return stop


@pytest.mark.parametrize("family", ["sd", "sd3", "flux", "sana"])
def test_a_stop_leaves_a_preview_where_that_is_wished(studio: Studio, builds: dict[str, Path], family: str) -> None:
    asked = replace(JOB, steps=400, height=32)
    nothing = studio.draw(builds[family], asked, on_reply=_stop_at(2))
    stopped = studio.draw(builds[family], replace(asked, keep_preview=True), on_reply=_stop_at(2))
    assert (nothing.pictures, nothing.done.stopped) == ([], Stopped.USER)
    assert stopped.done.stopped == Stopped.USER
    image = Image.open(io.BytesIO(stopped.pictures[0]), formats=["PNG"])
    assert (image.size, image.mode, image.info) == ((64, 32), "RGB", {})
    assert len(image.convert("L").getcolors(65536) or ()) > 1
    assert stopped.drawn.stopped_at == stopped.done.pixel_steps // (64 * 32) >= 2
    assert (stopped.drawn.seed, stopped.drawn.threads) == (7, 1)


def test_a_batch_that_is_stopped_leaves_its_pictures_and_the_preview_of_the_next(
    studio: Studio, builds: dict[str, Path], plain: Drawing
) -> None:
    asked = replace(JOB, count=200, keep_preview=True)
    stopped = studio.draw(builds["sd"], asked, on_reply=_stop_at(6))
    drawn = [reply for reply in stopped.replies if isinstance(reply, Drawn)]
    whole = [reply for reply in drawn if not reply.stopped_at]
    assert whole[0].picture == plain.pictures[0]
    assert [reply.seed for reply in drawn] == list(range(7, 7 + len(drawn)))
    assert sum(4 for _ in whole) + sum(reply.stopped_at for reply in drawn) == stopped.done.pixel_steps // 64**2
    assert studio.draw(builds["sd"], JOB).pictures == plain.pictures


@pytest.mark.parametrize(("name", "factor"), [("upscale", 4), ("latent-upscale", 2)])
def test_a_picture_becomes_larger(studio: Studio, builds: dict[str, Path], name: str, factor: int) -> None:
    asked = ImageJob("", 96 * factor, 64 * factor, 3, 4.0, seed=7, source=picture(size=(48, 32)))
    drawn = studio.draw(builds[name], asked)
    assert Image.open(io.BytesIO(drawn.pictures[0])).size == (96 * factor, 64 * factor)
    assert drawn.steps == [(step, 3) for step in range(1, 4)]
    assert drawn.done.pixel_steps == 96 * 64 * factor**2 * 3
    of_another = studio.draw(builds[name], replace(asked, source=picture("blue", size=(48, 32))))
    assert of_another.pictures != drawn.pictures == studio.draw(builds[name], asked).pictures
    alone = studio.draw(builds[name], replace(asked, source=None)).failure
    assert (alone.error, alone.hint) == ("UsageError", "give one with --from PICTURE")


@pytest.mark.parametrize("name", STEP_CACHES)
def test_a_step_cache_is_on_for_its_job_alone(studio: Studio, builds: dict[str, Path], name: str) -> None:
    asked = replace(JOB, steps=8)
    plain = studio.draw(builds["flux"], asked)
    cached = studio.draw(builds["flux"], replace(asked, cache=name))
    assert cached.steps == plain.steps
    studio.draw(builds["flux"], replace(asked, cache=name, steps=400), on_reply=_stop_at(3))
    again = studio.draw(builds["flux"], replace(asked, cache=name, count=2))
    assert again.pictures[0] == cached.pictures[0]
    assert studio.draw(builds["flux"], asked).pictures == plain.pictures


def test_a_step_cache_that_a_build_cannot_have_is_refused(studio: Studio, builds: dict[str, Path]) -> None:
    failure = studio.draw(builds["sd"], replace(JOB, cache=STEP_CACHES[0])).failure
    assert (failure.error, "has no step cache 'first-block-0.05'" in failure.message) == ("UsageError", True)


def test_weights_that_are_no_numbers_are_refused_after_one_step(studio: Studio, builds: dict[str, Path]) -> None:
    drawing = studio.draw(builds["sd-nan"], replace(JOB, steps=50))
    assert drawing.failure.error == "BuildFailed"
    assert "no numbers (NaN)" in drawing.failure.message
    assert drawing.steps == [] == drawing.pictures


def test_a_checkpoint_of_one_file_draws_what_its_folder_draws(
    studio: Studio, builds: dict[str, Path], plain: Drawing
) -> None:
    assert studio.draw(builds["sd-single"], JOB, base=builds["sd"]).pictures == plain.pictures


def test_a_checkpoint_that_the_own_configurations_do_not_fit_is_refused(
    studio: Studio, builds: dict[str, Path]
) -> None:
    failure = studio.draw(builds["sd-single"], JOB).failure
    assert failure.error == "BuildFailed"
    assert "diffusers cannot load sd-single.safetensors" in failure.message


def test_a_transformer_in_gguf_draws_in_its_folder_and_beside_another(studio: Studio, builds: dict[str, Path]) -> None:
    file = next((builds["flux-gguf"] / "transformer").glob("*.gguf"))
    whole = studio.draw(builds["flux"], JOB)
    inside = studio.draw(builds["flux-gguf"], JOB)
    beside = studio.draw(file, JOB, base=builds["flux"])
    assert inside.pictures == beside.pictures != whole.pictures
    alone = studio.draw(file, JOB).failure
    assert (alone.error, alone.hint) == ("BuildFailed", "get a diffusers folder of its family")


def test_every_way_to_save_memory_draws_the_same_scene(studio: Studio, builds: dict[str, Path]) -> None:
    drawn = {rung: studio.draw(builds["flux"], JOB, rung=rung) for rung in ("full", "tiled", "half", "int8")}
    assert [drawing.drawn.rung for drawing in drawn.values()] == list(drawn)
    assert [drawing.drawn.dtype for drawing in drawn.values()] == ["float32", "float32", "bfloat16", "bfloat16"]
    assert drawn["tiled"].pictures == drawn["full"].pictures
    wanted = Image.open(io.BytesIO(drawn["full"].pictures[0])).convert("L").tobytes()
    for rung in ("half", "int8"):
        found = Image.open(io.BytesIO(drawn[rung].pictures[0])).convert("L").tobytes()
        assert found != wanted
        assert sum(abs(one - other) for one, other in zip(wanted, found, strict=True)) < 8 * len(wanted), rung


def test_words_of_a_prompt_can_weigh_more(studio: Studio, builds: dict[str, Path], plain: Drawing) -> None:
    for family in ("sd", "sdxl", "sd3"):
        drawn = [
            studio.draw(builds[family], replace(JOB, prompt=prompt)).pictures[0]
            for prompt in ("a red boat", "a (red:1.0) boat", "a (red:1.5) boat", "a (red:0.5) boat", "a red (boat:1.5)")
        ]
        assert drawn[0] == drawn[1]
        assert len(set(drawn)) == 4
    assert studio.draw(builds["sd"], JOB).pictures == plain.pictures
    unable = studio.draw(builds["flux"], replace(JOB, prompt="a (red:1.5) boat"))
    assert unable.pictures == studio.draw(builds["flux"], JOB).pictures
    assert unable.remarks == ["This build cannot weight words of a prompt; they were drawn as if they had no weights."]


@pytest.mark.skipif(sys.platform != "linux", reason="looks at the maps of another process")
def test_scipy_is_there_for_the_schedulers_that_compute_with_it_alone(
    monkeypatch: pytest.MonkeyPatch, builds: dict[str, Path], plain: Drawing, tmp_path: Path
) -> None:
    monkeypatch.setenv(SWITCH, "off")
    lms, beta = (Path(shutil.copytree(builds["sd"], tmp_path / name)) for name in ("lms", "beta"))
    _settle_scheduler(lms, "LMSDiscreteScheduler", {})
    _settle_scheduler(beta, "EulerDiscreteScheduler", {"use_beta_sigmas": True})
    by_name = replace(JOB, scheduler="LMSDiscreteScheduler")
    drawn: list[list[bytes]] = []
    for asked in ([(builds["sd"], JOB), (builds["sd"], by_name)], [(lms, JOB)], [(beta, JOB)]):
        studio = Studio()
        try:
            drawn += [studio.draw(*asked[0]).pictures]
            assert studio.has_loaded("torch")
            assert studio.has_loaded("scipy") == (asked[0][0] != builds["sd"])
            drawn += [studio.draw(*other).pictures for other in asked[1:]]
            assert studio.has_loaded("scipy")
        finally:
            studio.close()
    without, named, own, betas = drawn
    assert without == plain.pictures
    assert named == own
    assert len({without[0], own[0], betas[0]}) == 3


def _settle_scheduler(folder: Path, name: str, settings: dict[str, object]) -> None:
    config = folder / "scheduler/scheduler_config.json"
    told = json.loads(config.read_text("utf-8"))
    config.write_text(json.dumps({**told, "_class_name": name, **settings}), encoding="utf-8")
    index = folder / "model_index.json"
    parts = json.loads(index.read_text("utf-8"))
    index.write_text(json.dumps({**parts, "scheduler": ["diffusers", name]}), encoding="utf-8")


def test_schedulers_are_chosen_by_name_and_counted_in_whole_steps(
    studio: Studio, builds: dict[str, Path], plain: Drawing
) -> None:
    names = ("EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler", "PNDMScheduler", "UniPCMultistepScheduler")
    drawn = [studio.draw(builds["sd"], replace(JOB, scheduler=name)) for name in names]
    assert [drawing.drawn.scheduler for drawing in drawn] == list(names)
    assert len({plain.pictures[0], *(drawing.pictures[0] for drawing in drawn)}) == 5
    assert [drawing.steps[-1] for drawing in drawn] == [(4, 4)] * 4
    assert [drawing.done.pixel_steps for drawing in drawn] == [64 * 64 * 4] * 4
    assert studio.draw(builds["sd"], JOB).pictures == plain.pictures
    refused = studio.draw(builds["sd"], replace(JOB, scheduler="FlowMatchEulerDiscreteScheduler")).failure
    assert (refused.error, "euler" in refused.hint) == ("UsageError", True)
