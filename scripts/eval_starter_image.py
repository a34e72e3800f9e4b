"""Draw pictures for fresh prompts with the starter pipeline, read them back by program, and print what is right.

`python scripts/eval_starter_image.py --count 500 --card --sheet sheet.png`

Every prompt describes a scene that training leaves out (`starter_scenes.held_out`). The present build descends
from a first one: shapes that this had met are left out too; it had met nearly all landscapes.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Iterable, Set
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from starter_card import add_figures, write_readme
from starter_reader import Marks, mark, mark_land
from starter_scenes import SHAPES, Scene, caption, held_out, sample_scene, signature

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

ROOT = Path(__file__).resolve().parent.parent
BATCH = 10
FIRST_BUILD = ("latents 1", 24_000)  # the seed and the number of the first build's training scenes
SHEET_PROMPTS = (
    "a red circle above a blue square",
    "two green stars on a white background",
    "a big yellow heart",
    "a black ring on a pink background",
    "three small purple triangles",
    "an orange star to the left of a green ring",
    "a white circle below a red triangle on blue",
    "Draw a red circle, a blue square and a green star",
    "a house and a tree on a green hill with a sun",
    "a boat on the sea at sunset",
    "a tree in the snow at night with a moon",
    "a fox",
)


def load(directory: Path) -> StableDiffusionPipeline:
    """The pipeline in float32 on the CPU, silent."""
    import diffusers
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    diffusers.utils.logging.disable_progress_bar()
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(
        directory, local_files_only=True, use_safetensors=True, low_cpu_mem_usage=False
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def paint(
    pipeline: StableDiffusionPipeline, prompts: list[str], seeds: list[int], steps: int, guidance: float
) -> list[Image.Image]:
    """One picture for each prompt and seed."""
    import torch

    dice = [torch.Generator().manual_seed(seed) for seed in seeds]
    pictures: list[Image.Image] = pipeline(
        prompts, num_inference_steps=steps, guidance_scale=guidance, generator=dice
    ).images
    return pictures


def met_before() -> set[str]:
    """The signatures of the scenes that the first build was trained on."""
    seed, count = FIRST_BUILD
    rng = random.Random(seed)
    return {signature(sample_scene(rng)) for _ in range(count)}


def unseen_scene(rng: random.Random, met: Set[str]) -> Scene:
    """A random scene that no training has shown; of landscapes, that none since the first build's has shown."""
    while True:
        scene = sample_scene(rng)
        if held_out(scene) and (scene.layout == "land" or signature(scene) not in met):
            return scene


def ask(scene: Scene, rng: random.Random) -> tuple[Scene, str]:
    """The scene and a wording of it that leaves nothing open."""
    while True:
        text = caption(scene, rng)
        if scene.layout == "land" or all(
            t.colour in text and any(n in text for n in SHAPES[t.shape]) for t in scene.things
        ):
            return scene, text


def share(marks: Iterable[bool | None]) -> dict[str, float | int]:
    """How many of the marks that apply are right, as a part of one, with their number."""
    asked = [mark for mark in marks if mark is not None]
    return {"right": round(sum(asked) / max(1, len(asked)), 3), "of": len(asked)}


def summary(results: list[tuple[Scene, Marks]]) -> dict[str, dict[str, float | int]]:
    """Shares right: of each property for pictures of shapes, of landscapes, and of everything by layout."""
    shapes = [marks for scene, marks in results if scene.layout != "land"]
    lands = [marks for scene, marks in results if scene.layout == "land"]
    figures = {
        name: share(getattr(marks, name) for marks in shapes)
        for name in ("background", "number", "colours", "shapes", "position")
    }
    figures["sky_and_ground"] = share(marks.background for marks in lands)
    figures["things_in_landscapes"] = share(marks.shapes for marks in lands)
    for layout in ("one", "pair", "count", "row", "land"):
        figures[f"everything_{layout}"] = share(marks.everything for scene, marks in results if scene.layout == layout)
    figures["everything"] = share(marks.everything for _, marks in results)
    figures["right_colours_and_shapes"] = share(rightly_drawn(marks) for _, marks in results)
    figures["right_positions"] = figures["position"]
    return figures


def rightly_drawn(marks: Marks) -> bool:
    """Whether number, colours and outlines are right; of a landscape, sky, ground and what stands there."""
    return all(mark is not False for mark in (marks.background, marks.number, marks.colours, marks.shapes))


def sheet(pipeline: StableDiffusionPipeline, steps: int, guidance: float) -> Image.Image:
    """The fixed prompts in a row of six, three seeds below each other, two such blocks."""
    side, block = pipeline.unet.config.sample_size * pipeline.vae_scale_factor, len(SHEET_PROMPTS) // 2
    page = Image.new("RGB", ((side + 4) * block, (side + 4) * 6), (110, 110, 110))
    for seed in range(3):
        for number, picture in enumerate(
            paint(pipeline, list(SHEET_PROMPTS), [seed + 1] * len(SHEET_PROMPTS), steps, guidance)
        ):
            page.paste(picture, (number % block * (side + 4) + 2, (number // block * 3 + seed) * (side + 4) + 2))
    return page


def main(arguments: list[str]) -> int:
    """Evaluate, print the figures as JSON, and write what was asked for."""
    parser = argparse.ArgumentParser(description="What the starter image pipeline gets right, read by program.")
    parser.add_argument("--dir", type=Path, default=ROOT / "models/nanolocal-starter-image")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=31_000)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--guidance", type=float, default=2.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--card", action="store_true", help="put the figures into the pipeline's card.json")
    parser.add_argument("--before", type=Path, help="what this printed for an earlier build, for the card")
    parser.add_argument("--sheet", type=Path, help="write a sheet of pictures at fixed prompts and seeds")
    options = parser.parse_args(arguments)
    import torch

    torch.set_num_threads(options.threads)
    pipeline = load(options.dir)
    rng, met = random.Random(f"fresh {options.seed}"), met_before()
    asked = [ask(unseen_scene(rng, met), rng) for _ in range(options.count)]
    results, began = [], time.process_time()
    for start in range(0, len(asked), BATCH):
        part = asked[start : start + BATCH]
        seeds = [options.seed + start + k for k in range(len(part))]
        drawn = paint(pipeline, [text for _, text in part], seeds, options.steps, options.guidance)
        for (scene, _), picture in zip(part, drawn, strict=True):
            results.append((scene, (mark_land if scene.layout == "land" else mark)(picture, scene)))
    seconds = (time.process_time() - began) / max(1, len(asked))
    figures: dict[str, object] = {
        "count": len(asked),
        "steps": options.steps,
        "guidance": options.guidance,
        "cpu_seconds_per_picture": round(seconds, 3),
    }
    figures |= summary(results)
    print(json.dumps(figures, indent=2))
    if options.card:
        add_figures(options.dir, figures, json.loads(options.before.read_text("utf-8")) if options.before else None)
        write_readme(options.dir)
    if options.sheet:
        sheet(pipeline, options.steps, options.guidance).save(options.sheet, optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
