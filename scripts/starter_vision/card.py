"""The build's card for programs (card.json), its model card for people (README.md) and its curves (curves.png)."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from starter_vision.export import ID, NAME, SIGHT_FILE, TEXT_FILE, Finished

CARD, README, CURVES = "card.json", "README.md", "curves.png"
LIMITS = (
    "sees drawn scenes such as those of the picture starter: six shapes in ten colours, simple landscapes",
    "of photographs, faces, writing, diagrams and everything else it says something wrong",
    "pictures are made 64 x 64 pixels: small things are lost",
    "English questions only, and only about what is there, how many, which colour, which shape and where",
    "has learned how those scenes are arranged: of 150 questions on two shapes across a corner it answered 132 "
    "rightly, on one shape anywhere 129, on one that fills the picture 115",
    "its commonest mistake is to count a shape that is not there",
    "does not know that it does not know",
    "chats worse than the text starter that it was made from",
)


def write_card(finished: Finished, right: Mapping[str, Sequence[bool]], out: Path, note: str) -> None:
    """Write card.json, `note` telling what was special in the run; what was measured of the same files is kept."""
    files = [_file(out / name) for name in (TEXT_FILE, SIGHT_FILE)]
    card: dict[str, object] = {
        "id": ID,
        "name": NAME,
        "kind": "text",
        "family": "nanolocal-starter",
        "parameters": sum(weight.numel() for weight in finished.weights.values()),
        "context": finished.text.context,
        "quantization": "Q8_0",
        "licence": "Apache-2.0",
        "data": [
            {
                "what": "pictures and the questions about them",
                "by": "drawn and made by this project (scripts/starter_scenes.py, scripts/starter_vision)",
                "licence": "Apache-2.0",
            },
            {
                "what": f"the text model it begins with, sha256 {finished.parent}",
                "by": "nanolocal-starter-text, or an earlier build made from it; its card lists what it learned from",
                "licence": "Apache-2.0",
            },
        ],
        "tiny": True,
        "defaults": {"temperature": 0.0, "max_tokens": 60},
        "files": files,
        "training": {name: _figures(progress) for name, progress in finished.progress.items()},
        "held_out": {kind: {"asked": len(found), "right": sum(found)} for kind, found in sorted(right.items())},
        "note": note,
        "limits": LIMITS,
    }
    path = out / CARD
    earlier = json.loads(path.read_text("utf-8")) if path.exists() else {}
    if earlier.get("files") == files and "measured" in earlier:
        card["measured"] = earlier["measured"]
    _write(path, card)


def add_figures(out: Path, figures: Mapping[str, object]) -> None:
    """Put what an evaluation measured into the card under `out`."""
    path = out / CARD
    _write(path, {**json.loads(path.read_text("utf-8")), "measured": figures})


def _write(path: Path, card: Mapping[str, object]) -> None:
    path.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")


def _file(path: Path) -> dict[str, object]:
    return {"path": path.name, "sha256": _hash(path), "bytes": path.stat().st_size}


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _figures(progress: Mapping[str, float]) -> dict[str, float]:
    minutes = round(progress["seconds"] / 60, 1)
    return {"steps": progress["step"], "pictures": progress["pictures"], "minutes": minutes,
            "loss": round(progress["loss"], 4), "right": round(progress["right"], 4)}  # fmt: skip


def write_curves(work: Path, out: Path) -> None:
    """A small picture with the loss (red) and the share of right answers (blue) of both stages over their steps."""
    width, height, edge = 320, 160, 20
    picture = Image.new("RGB", (2 * width, height), "white")
    pen = ImageDraw.Draw(picture)
    for left, stage in ((0, "eyes"), (width, "reader")):
        rows = [tuple(map(float, row)) for row in csv.reader((work / f"{stage}.csv").read_text("utf-8").splitlines())]
        pen.rectangle((left + edge, edge, left + width - edge, height - edge), outline=(180, 180, 180))
        pen.text((left + edge, 4), f"{stage}: loss 0 to {max(row[3] for row in rows):.1f}, right 0 to 1", fill="black")
        for column, colour in ((3, (200, 40, 40)), (4, (40, 80, 200))):
            top = max(row[column] for row in rows) if column == 3 else 1.0
            points = [
                (left + edge + row[0] / rows[-1][0] * (width - 2 * edge),
                 height - edge - row[column] / max(top, 1e-9) * (height - 2 * edge))
                for row in rows
            ]  # fmt: skip
            pen.line([*points, points[-1]], fill=colour, width=2)
    picture.save(out / CURVES, optimize=True)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def write_readme(out: Path) -> None:
    """README.md from card.json and card.md."""
    card = json.loads((out / CARD).read_text("utf-8"))
    measured = card.get("measured", {})
    kinds = measured.get("kinds", {})
    stages = [
        (name, f"{run['steps']:,}", f"{run['pictures']:,}", run["minutes"], run["loss"])
        for name, run in card["training"].items()
    ]
    values = {
        "name": card["name"],
        "millions": f"{card['parameters'] / 1e6:.1f}",
        "megabytes": f"{sum(file['bytes'] for file in card['files']) / 1e6:.1f}",
        "text_file": TEXT_FILE,
        "sight_file": SIGHT_FILE,
        "note": card["note"],
        "stages": table(("stage", "steps", "pictures", "minutes", "last loss"), stages),
        "asked": measured.get("asked", 0),
        "right": measured.get("right", 0),
        "share": f"{measured.get('right', 0) / max(1, measured.get('asked', 0)):.1%}",
        "processes": measured.get("processes", 0),
        "kinds": table(("questions", "right", "asked"), [(k, v["right"], v["asked"]) for k, v in kinds.items()]),
        "samples": "\n\n".join(
            f"    {one['picture']}\n    > {one['question']}\n    {one['said']}" for one in measured.get("samples", [])
        ),
        "limits": "\n".join(f"* {limit[0].upper()}{limit[1:]}." for limit in card["limits"]),
    }
    frame = (Path(__file__).parent / "card.md").read_text(encoding="utf-8")
    (out / README).write_text(frame.format_map(values), encoding="utf-8", newline="\n")
