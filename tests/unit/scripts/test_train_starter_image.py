"""The drawer of training pictures, its captions and their reader; and the whole training in small."""

import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from eval_starter_image import ask, summary, unseen_scene  # noqa: E402
from starter_reader import Marks, mark, mark_land, read_picture  # noqa: E402
from starter_scenes import (  # noqa: E402
    COLOURS,
    SHAPES,
    Scene,
    Thing,
    caption,
    draw,
    held_out,
    plain_background,
    sample_crowd,
    sample_scene,
    signature,
    training_scene,
)

QUIET = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
RED_ABOVE_BLUE = Scene(
    "pair",
    "white",
    (Thing("circle", "red", "", 0.5, 0.26, 0.16), Thing("square", "blue", "", 0.5, 0.74, 0.16)),
    relation="above",
)


def test_a_red_circle_above_a_blue_square_is_drawn_and_read_as_such() -> None:
    background, found = read_picture(draw(RED_ABOVE_BLUE, 64))
    assert background == "white"
    seen = {(thing.colour, thing.shape): thing.y for thing in found}
    assert set(seen) == {("red", "circle"), ("blue", "square")}
    assert seen["red", "circle"] < seen["blue", "square"]


def test_its_caption_names_both_in_that_order() -> None:
    for seed in range(30):
        text = caption(RED_ABOVE_BLUE, random.Random(seed))
        above = [text.index(word) for word in ("above", "over", "on top of") if word in text]
        assert text.index("red") < above[0] < text.index("blue")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("colour", COLOURS)
def test_every_shape_in_every_colour_is_read_back(shape: str, colour: str) -> None:
    thing = Thing(shape, colour, "", 0.4, 0.6, 0.2)
    background, found = read_picture(draw(Scene("one", plain_background([thing]), (thing,)), 64))
    assert background == plain_background([thing])
    assert [(one.shape, one.colour) for one in found] == [(shape, colour)]
    assert (found[0].x, found[0].y) == pytest.approx((0.4, 0.6), abs=0.05)


def test_drawn_scenes_get_full_marks_and_other_scenes_do_not() -> None:
    rng = random.Random(7)
    scenes = [sample_scene(rng) for _ in range(300)]
    shapes = [scene for scene in scenes if scene.layout != "land"]
    lands = [scene for scene in scenes if scene.layout == "land"]
    right = [mark(draw(scene, 64), scene).everything for scene in shapes]
    assert sum(right) >= 0.98 * len(shapes)
    wrong = [mark(draw(other, 64), scene).everything for scene, other in pairwise(shapes)]
    assert sum(wrong) <= 0.05 * len(shapes)
    assert all(mark_land(draw(scene, 64), scene).everything for scene in lands)
    assert not any(mark_land(Image.new("RGB", (64, 64), "white"), scene).everything for scene in lands)


def test_swapped_positions_are_marked_wrong() -> None:
    first, second = RED_ABOVE_BLUE.things
    upside_down = Scene("pair", "white", (second, first), relation="above")
    marks = mark(draw(RED_ABOVE_BLUE, 64), upside_down)
    assert marks.shapes
    assert marks.position is False


def test_same_seed_same_scenes_and_words() -> None:
    def made() -> list[tuple[Scene, str]]:
        rng = random.Random(3)
        return [(scene, caption(scene, rng)) for scene in (sample_scene(rng) for _ in range(50))]

    assert made() == made()


def test_no_scene_and_no_wording_of_the_evaluation_is_in_the_training() -> None:
    rng = random.Random(11)
    trained = [training_scene(rng) for _ in range(4000)]
    words = {caption(scene, rng) for scene in trained for _ in range(3)}
    met = {signature(sample_scene(rng)) for _ in range(2000)}
    asked = [ask(unseen_scene(rng, met), rng) for _ in range(300)]
    assert {scene.layout for scene, _ in asked} == {"one", "pair", "count", "row", "land"}
    assert not words & {text for _, text in asked}
    assert not {signature(scene) for scene in trained} & {signature(scene) for scene, _ in asked}
    assert not met & {signature(scene) for scene, _ in asked if scene.layout != "land"}


def test_one_scene_in_ten_is_held_out_whatever_its_jitter() -> None:
    rng = random.Random(12)
    scenes = [sample_scene(rng) for _ in range(2000)]
    assert 0.07 < sum(map(held_out, scenes)) / len(scenes) < 0.13
    moved = [replace(s, things=tuple(replace(t, x=t.x + 0.005) for t in s.things)) for s in scenes]
    assert [held_out(scene) for scene in scenes] == [held_out(scene) for scene in moved]


def test_a_crowd_has_nine_things_that_are_read_back() -> None:
    rng = random.Random(13)
    crowds = [sample_crowd(rng) for _ in range(20)]
    assert sum(len(read_picture(draw(crowd, 64))[1]) == 9 for crowd in crowds) >= 18


def test_landscapes_count_among_colours_and_shapes_by_what_they_show() -> None:
    land = Scene("land", "", (), sky="day", ground="sea")
    results = [
        (RED_ABOVE_BLUE, Marks(True, True, True, False, True)),
        (RED_ABOVE_BLUE, Marks(True, True, True, True, False)),
        (land, Marks(True, None, None, None, None)),
        (land, Marks(True, None, None, False, None)),
    ]
    figures = summary(results)
    assert figures["right_colours_and_shapes"] == {"right": 0.5, "of": 4}
    assert figures["right_positions"] == {"right": 0.5, "of": 2}


@dataclass(frozen=True, slots=True)
class Trained:
    """A smoke training: the pipeline that it wrote, its checkpoints, what it printed."""

    out: Path
    work: Path
    told: str


def train(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / "train_starter_image.py"), "--smoke", *map(str, arguments)]
    return subprocess.run(command, env=QUIET, capture_output=True, text=True, timeout=280, check=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    place = tmp_path_factory.mktemp("starter")
    run = train("--out", place / "out", "--work", place / "work")
    assert run.returncode == 0, run.stderr
    return Trained(place / "out", place / "work", run.stdout)


def card_of(out: Path) -> dict[str, Any]:
    card: dict[str, Any] = json.loads((out / "card.json").read_text())
    return card


@pytest.mark.slow
def test_smoke_training_writes_a_pipeline_that_draws(trained: Trained) -> None:
    assert "loss" in trained.told
    assert all(stage["steps"] for stage in card_of(trained.out)["training"].values())
    with Image.open(trained.out / "curves.png") as curves:
        assert curves.width > curves.height
    draw_one = (
        "import sys, torch, diffusers\n"
        "pipe = diffusers.AutoPipelineForText2Image.from_pretrained(\n"
        "    sys.argv[1], local_files_only=True, use_safetensors=True, low_cpu_mem_usage=False)\n"
        "assert type(pipe) is diffusers.StableDiffusionPipeline\n"
        "def one():\n"
        "    dice = torch.Generator().manual_seed(1)\n"
        "    return pipe('A RED circle, 漢!', num_inference_steps=3, generator=dice).images[0]\n"
        "first, second = one(), one()\n"
        "assert first.tobytes() == second.tobytes()\n"
        "print(first.size)\n"
    )
    command = [sys.executable, "-c", draw_one, str(trained.out)]
    drawn = subprocess.run(command, env=QUIET, capture_output=True, text=True, timeout=280, check=False)
    assert drawn.returncode == 0, drawn.stderr
    assert drawn.stdout.strip() == "(64, 64)"


@pytest.mark.slow
def test_the_last_checkpoint_gives_the_same_files_again(trained: Trained, tmp_path: Path) -> None:
    again = tmp_path / "again"
    run = train("--export-only", "--out", again, "--work", trained.work)
    assert run.returncode == 0, run.stderr
    names = sorted(path.relative_to(trained.out) for path in trained.out.rglob("*") if path.is_file())
    assert Path("unet/diffusion_pytorch_model.safetensors") in names
    for name in names:
        data = (trained.out / name).read_bytes()
        assert data == (again / name).read_bytes(), name
        assert str(trained.out.parent).encode() not in data, name


@pytest.mark.slow
def test_a_training_goes_on_from_a_pipeline(trained: Trained, tmp_path: Path) -> None:
    further, work = tmp_path / "further", tmp_path / "work"
    run = train("--from", trained.out, "--out", further, "--work", work)
    assert run.returncode == 0, run.stderr
    card = card_of(further)
    assert card["begun_from"]["files"] == card_of(trained.out)["files"]
    assert "begun_from" not in card_of(trained.out)
    assert card["training"]["vae"]["steps"] == 0 < card["training"]["unet"]["steps"]
    told = (further / "README.md").read_text()
    assert all(row in told for row in ("| 1 | vae |", "| 1 | unet |", "| 2 | unet |"))
    learnt = "unet/diffusion_pytorch_model.safetensors"
    for kept in ("text_encoder/config.json", "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json"):
        assert (further / kept).read_bytes() == (trained.out / kept).read_bytes()
    assert (further / learnt).read_bytes() != (trained.out / learnt).read_bytes()
    refused = train("--resume", "--out", further, "--work", work)
    assert refused.returncode == 2
    assert "--from" in refused.stderr
