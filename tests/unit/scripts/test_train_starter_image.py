"""The drawer of training pictures, its captions and their reader; and the whole training in small."""

import os
import random
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from starter_reader import mark, mark_land, read_picture  # noqa: E402
from starter_scenes import COLOURS, SHAPES, Scene, Thing, caption, draw, plain_background, sample_scene  # noqa: E402

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


@pytest.mark.slow
def test_smoke_training_writes_a_pipeline_that_draws(tmp_path: Path) -> None:
    script = str(SCRIPTS / "train_starter_image.py")
    out, work = tmp_path / "out", tmp_path / "work"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    command = [sys.executable, script, "--smoke", "--out", str(out), "--work", str(work)]
    trained = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert trained.returncode == 0, trained.stderr
    assert "loss" in trained.stdout
    again = tmp_path / "again"
    command = [sys.executable, script, "--smoke", "--export-only", "--out", str(again), "--work", str(work)]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=120)
    names = sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file())
    assert Path("unet/diffusion_pytorch_model.safetensors") in names
    for name in names:
        assert (out / name).read_bytes() == (again / name).read_bytes(), name
        assert str(tmp_path).encode() not in (out / name).read_bytes(), name
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
    command = [sys.executable, "-c", draw_one, str(out)]
    drawn = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert drawn.returncode == 0, drawn.stderr
    assert drawn.stdout.strip() == "(64, 64)"
