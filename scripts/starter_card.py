"""The machine-readable card of the starter image pipeline: its files, its training, its measured figures."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch

LIMITS = (
    "draws circles, squares, triangles, stars, hearts and rings in ten colours, up to three on a plain background",
    "draws landscapes of meadow, hill, sea, beach or snow with a house, a tree, a boat, a sun or a moon",
    "other words, as in 'a fox', give some coloured shape and not the thing",
    "English only; 30 tokens of a prompt are read",
    "64 x 64 pixels only: at larger sizes it repeats things",
)
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
            "steps": 20,
            "guidance": 2.0,
            "max_width": side,
            "max_height": side,
        },
        "sizes": [[side, side]],
        "quality": ROUTING_QUALITY,
        "data": "drawn by scripts/starter_scenes.py; nothing made by others",
        "limits": LIMITS,
        "training": _training(work),
        "files": files,
    }
    path = out / "card.json"
    earlier = json.loads(path.read_text("utf-8")) if path.exists() else {}
    if earlier.get("files") == files and "measured" in earlier:
        card["measured"] = earlier["measured"]
    _write(path, card)


def add_figures(out: Path, figures: dict[str, object]) -> None:
    """Put what an evaluation measured into the card under `out`."""
    path = out / "card.json"
    _write(path, {**json.loads(path.read_text("utf-8")), "measured": figures})


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


def _training(work: Path) -> dict[str, object]:
    """Steps, samples, minutes and last loss of each stage."""
    stages: dict[str, object] = {}
    for name in ("vae", "text", "unet", "decoder"):
        counts = torch.load(work / f"{name}.pt", map_location="cpu", weights_only=True, mmap=True)["counts"]
        minutes = round(counts["spent"] / 60, 1)
        stages[name] = {
            "steps": counts["step"],
            "samples": counts["samples"],
            "minutes": minutes,
            "loss": round(counts["loss"], 4),
        }
    return stages
