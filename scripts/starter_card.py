"""The machine-readable card of the starter image pipeline: its files, its training, its measured figures."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from string import Template
from typing import Any

import torch
from PIL import Image, ImageDraw

LIMITS = (
    "draws circles, squares, triangles, stars, hearts and rings in ten colours, up to three on a plain background",
    "draws landscapes of meadow, hill, sea, beach or snow with a house, a tree, a boat, a sun or a moon",
    "other words, as in 'a fox', give some coloured shape and not the thing",
    "English only; 30 tokens of a prompt are read",
    "64 x 64 pixels only: at larger sizes it repeats things",
)
STAGES = ("vae", "text", "unet", "decoder")
BASE, CURVES = "base.json", "curves.png"
FIGURES = {
    "right_colours_and_shapes": "**number, colours and outlines, all pictures**",
    "right_positions": "**places, where asked for**",
    "background": "background (pictures of shapes)",
    "number": "number of shapes",
    "colours": "all colours",
    "shapes": "all colours and outlines",
    "sky_and_ground": "sky and ground of landscapes",
    "things_in_landscapes": "what stands in landscapes",
    "everything_one": "everything: one shape",
    "everything_pair": "everything: two shapes and their relation",
    "everything_count": "everything: two or three alike",
    "everything_row": "everything: three in a row",
    "everything_land": "everything: landscapes",
    "everything": "**everything, all prompts**",
}
ROUTING_QUALITY = {"image_gen": 0.05, "image_edit": 0.02}


def write_card(out: Path, work: Path, side: int) -> None:
    """Write `card.json` under `out` from the checkpoints under `work`; figures for the same weights are kept."""
    paths = sorted(path for path in out.rglob("*") if path.is_file() and path.parent != out)
    files = [_file(path, out) for path in (out / "model_index.json", *paths)]
    card: dict[str, object] = {
        "id": "nanolocal-starter-image",
        "name": "nanolocal starter image",
        "kind": "image",
        "family": "sd",
        "parameters": sum(_weights(path) for path in paths if path.suffix == ".safetensors"),
        "licence": "Apache-2.0",
        "tiny": True,
        "quantization": "f16",
        "defaults": {
            "width": side,
            "height": side,
            "steps": 10,
            "guidance": 2.0,
            "max_width": side,
            "max_height": side,
        },
        "sizes": [[side, side]],
        "quality": ROUTING_QUALITY,
        "data": "drawn by scripts/starter_scenes.py; nothing made by others",
        "limits": LIMITS,
        "training": _training(work),
        **_begun_from(work),
        "files": files,
    }
    path = out / "card.json"
    earlier = json.loads(path.read_text("utf-8")) if path.exists() else {}
    if earlier.get("files") == files:
        card |= {key: earlier[key] for key in ("measured", "measured_before") if key in earlier}
    _write(path, card)
    write_curves(work, out)
    write_readme(out)


def add_figures(out: Path, figures: dict[str, object], before: dict[str, object] | None) -> None:
    """Put what an evaluation measured into the card under `out`, and what it had measured for the build before."""
    path = out / "card.json"
    fresh = {"measured": figures} | ({"measured_before": before} if before else {})
    _write(path, json.loads(path.read_text("utf-8")) | fresh)


def keep_base(base: Path, work: Path) -> None:
    """Remember under `work` what the card of the pipeline that a training goes on from says of itself."""
    said = json.loads((base / "card.json").read_text("utf-8"))
    kept = {key: said[key] for key in ("training", "begun_from", "files") if key in said}
    (work / BASE).write_text(json.dumps(kept, indent=2) + "\n", "utf-8")


def _begun_from(work: Path) -> dict[str, object]:
    path = work / BASE
    return {"begun_from": json.loads(path.read_text("utf-8"))} if path.exists() else {}


def write_curves(work: Path, out: Path) -> None:
    """A small picture of each stage's loss, on a logarithmic scale, over the pictures it saw."""
    curves = {name: _counts(work, name)["curve"] for name in STAGES}
    curves = {name: curve for name, curve in curves.items() if len(curve) > 1}
    wide, high, edge = 240, 160, 24
    picture = Image.new("RGB", (wide * max(1, len(curves)), high), "white")
    pen = ImageDraw.Draw(picture)
    for left, (name, curve) in zip(range(0, picture.width, wide), curves.items(), strict=False):
        heights = [math.log(loss) for _, loss in curve]
        low, top = min(heights), max(heights)
        pen.rectangle((left + edge, edge, left + wide - 8, high - edge), outline=(170, 170, 170))
        pen.text((left + edge, 6), f"{name}: loss {curve[0][1]:.3f} to {curve[-1][1]:.3f}", fill="black")
        pen.text((left + edge, high - edge + 6), f"0 to {curve[-1][0]:,} pictures", fill="black")
        across, down = (wide - 8 - edge) / curve[-1][0], (high - 2 * edge) / max(top - low, 1e-9)
        points = [
            (left + edge + seen * across, edge + (top - height) * down)
            for (seen, _), height in zip(curve, heights, strict=True)
        ]
        pen.line(points, fill=(200, 40, 40), width=1)
    picture.quantize(16).save(out / CURVES, optimize=True)


def write_readme(out: Path) -> None:
    """`README.md` under `out` from its card and `starter_image.md`."""
    card = json.loads((out / "card.json").read_text("utf-8"))
    measured, before = card.get("measured", {}), card.get("measured_before", {})
    values = {
        "millions": f"{card['parameters'] / 1e6:.1f}",
        "megabytes": f"{sum(file['bytes'] for file in card['files']) / 1e6:.1f}",
        "steps": card["defaults"]["steps"],
        "guidance": card["defaults"]["guidance"],
        "count": measured.get("count", 0),
        "seconds": measured.get("cpu_seconds_per_picture", "not yet measured"),
        "figures": "\n".join(_figure_rows(measured, before)),
        "stages": "\n".join(_stage_rows(card)),
    }
    frame = Template(Path(__file__).with_name("starter_image.md").read_text("utf-8"))
    (out / "README.md").write_text(frame.substitute(values), "utf-8")


def _figure_rows(measured: dict[str, Any], before: dict[str, Any]) -> list[str]:
    """One row for each property: its share now and before, and of how many."""
    rows = []
    for key, words in FIGURES.items():
        now, then = measured.get(key), before.get(key)
        if now and now["of"]:
            earlier = f"{then['right']:.1%}" if then else "-"
            rows.append(f"| {words} | {now['right']:.1%} | {earlier} | {now['of']} |")
    return rows


def _stage_rows(card: dict[str, Any]) -> list[str]:
    """One row for each stage of every build that led to this one, the first build's first."""
    builds = [card]
    while "begun_from" in builds[0]:
        builds.insert(0, builds[0]["begun_from"])
    rows = []
    for number, build in enumerate(builds, 1):
        for stage, counts in build["training"].items():
            if counts["steps"]:
                numbers = f"{counts['steps']:,} | {counts['samples']:,} | {counts['minutes']} | {counts['loss']}"
                rows.append(f"| {number} | {stage} | {numbers} |")
    return rows


def _write(path: Path, card: dict[str, object]) -> None:
    path.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _file(path: Path, out: Path) -> dict[str, object]:
    data = path.read_bytes()
    return {"path": path.relative_to(out).as_posix(), "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def _weights(path: Path) -> int:
    """The number of weights in a safetensors file, from its header."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    sizes = (torch.Size(entry["shape"]).numel() for name, entry in header.items() if name != "__metadata__")
    return sum(sizes)


def _counts(work: Path, stage: str) -> dict[str, Any]:
    state = torch.load(work / f"{stage}.pt", map_location="cpu", weights_only=True, mmap=True)
    counts: dict[str, Any] = state["counts"]
    return counts


def _training(work: Path) -> dict[str, object]:
    """Steps, samples, minutes and last loss of each stage."""
    stages: dict[str, object] = {}
    for name in STAGES:
        counts = _counts(work, name)
        stages[name] = {
            "steps": counts["step"],
            "samples": counts["samples"],
            "minutes": round(counts["spent"] / 60, 1),
            "loss": round(counts["loss"], 4),
        }
    return stages
