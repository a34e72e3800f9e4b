"""Train the vision starter build and write it under models/: eyes, then the text starter behind them, export, card."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starter_vision.model import EyeShape
    from starter_vision.reader import Parent
    from starter_vision.train import Stage, Step

ROOT = Path(__file__).resolve().parent.parent
TEXT = ROOT / "models/nanolocal-starter-text/nanolocal-starter-text-Q8_0.gguf"


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", type=Path, default=TEXT, help="the text starter to begin with")
    parser.add_argument("--from", dest="earlier", type=Path, help="the folder of an earlier build, to train it further")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "models/nanolocal-starter-vision", help="where the build is written"
    )
    parser.add_argument(
        "--work", type=Path, default=ROOT / "build/starter-vision", help="checkpoints and the loss curves"
    )
    parser.add_argument("--eye-minutes", type=float, default=20.0, help="time budget of the eyes' own lesson")
    parser.add_argument("--minutes", type=float, default=70.0, help="time budget of the lesson with the text model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--smoke", action="store_true", help="all stages on a tiny budget, written under build/")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoints in --work")
    parser.add_argument("--export-only", action="store_true", help="write the build from the last checkpoints")
    parser.add_argument("--note", default="", help="what the model card shall say about this run")
    chosen = parser.parse_args(words)
    if chosen.smoke and chosen.work == parser.get_default("work"):
        chosen.work = ROOT / "build/starter-vision-smoke"
    if chosen.smoke and chosen.out == parser.get_default("out"):
        chosen.out = chosen.work / "out"
    has_checkpoint = (chosen.work / "eyes.pt").exists()
    if chosen.export_only and not (chosen.work / "reader.pt").exists():
        parser.error(f"{chosen.work} holds no checkpoint to export")
    if has_checkpoint and not (chosen.resume or chosen.export_only or chosen.smoke):
        parser.error(f"{chosen.work} holds a checkpoint: go on with --resume, or give another --work")
    return chosen


def train(chosen: argparse.Namespace, shape: EyeShape, parent: Parent) -> bool:
    """Both stages; False when one was stopped before its end."""
    import torch
    from starter_vision.export import SIGHT_FILE
    from starter_vision.eyes import EyeLesson, Heads, Speech
    from starter_vision.model import Seeing
    from starter_vision.reader import ReaderLesson, Writer, read_weights
    from starter_vision.train import Budget, Stage

    torch.manual_seed(chosen.seed)
    model, heads = Seeing(shape, parent.shape), Heads(shape)
    model.reader.load_state_dict(parent.weights)
    if chosen.earlier:
        model.sight.load_state_dict(read_weights(chosen.earlier / SIGHT_FILE))
    counts = (8, 4) if chosen.smoke else (64, 16)
    steps = 12 if chosen.smoke else 0
    print(f"{sum(weight.numel() for weight in model.parameters()):,} parameters, process {os.getpid()}", flush=True)
    eyes = Stage("eyes", {"sight": model.sight, "heads": heads}, Budget(chosen.eye_minutes, steps), chosen.work)
    table = parent.weights["token_embd.weight"]
    lesson = EyeLesson(model.sight, heads, Speech(parent.tokenizer), table, counts[0], chosen.seed)
    if not _finish(eyes, lesson, counts[0], chosen):
        return False
    eyes.settle()
    model.sight.requires_grad_(False)
    budget = Budget(chosen.minutes, steps, muon=0.01, adam=1e-3)
    reader = Stage("reader", {"model": model}, budget, chosen.work)
    writer = Writer(parent.tokenizer, shape.patches)
    return _finish(reader, ReaderLesson(model, writer, counts[1], chosen.seed), counts[1], chosen)


def _finish(stage: Stage, lesson: Step, pictures: int, chosen: argparse.Namespace) -> bool:
    """Train a stage to its end, from its checkpoint where that is wished; False when it was stopped before."""
    if not (chosen.resume and stage.resume()):
        stage.curve.unlink(missing_ok=True)
    return stage.run(lesson, pictures)


def export(chosen: argparse.Namespace, shape: EyeShape) -> None:
    """Write both GGUF files, the curves, card.json and README.md from the last checkpoints."""
    from starter_vision.card import write_card, write_curves, write_readme
    from starter_vision.export import load, write_build
    from starter_vision.reader import Writer, answered_right
    from tokenizers import Tokenizer

    finished = load(chosen.work, shape)
    for path in write_build(finished, chosen.work, chosen.out):
        print(f"wrote {path} ({path.stat().st_size:,} bytes)", flush=True)
    writer = Writer(Tokenizer.from_file(str(finished.tokenizer)), shape.patches)
    right = answered_right(finished.model(), writer, 8 if chosen.smoke else 200, seed=7)
    for kind, answers in sorted(right.items()):
        print(f"{kind}: {sum(answers)} of {len(answers)}", flush=True)
    write_curves(chosen.work, chosen.out)
    note = chosen.work / "note.txt"
    said = note.read_text(encoding="utf-8").strip() if note.exists() else ""
    write_card(finished, right, chosen.out, said)
    write_readme(chosen.out)


def main() -> int:
    """Run the stages; 0 when the build was written, 130 when the training was stopped."""
    chosen = arguments()
    import torch
    from starter_vision.export import TEXT_FILE
    from starter_vision.model import EYES
    from starter_vision.reader import read_parent

    torch.set_num_threads(chosen.threads)
    chosen.work.mkdir(parents=True, exist_ok=True)
    if chosen.note:
        (chosen.work / "note.txt").write_text(chosen.note, encoding="utf-8")
    shape = EYES["smoke" if chosen.smoke else "small"]
    if not chosen.export_only:
        parent = read_parent(chosen.earlier / TEXT_FILE if chosen.earlier else chosen.text)
        parent.note(chosen.work)
        if not train(chosen, shape, parent):
            print("stopped; go on with --resume", file=sys.stderr)
            return 130
    export(chosen, shape)
    return 0


if __name__ == "__main__":
    sys.exit(main())
