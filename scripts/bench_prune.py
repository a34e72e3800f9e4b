"""Prune a build of a few million parameters, recover it by distillation, and print what came back, on held-out text.

Damage is the mean KL divergence of the pruned model from the original, in nats a token; "refitted" is what pruning
with least squares leaves of it without any training. The last column is how far llama.cpp's scores for the written
file are from torch's. CPU seconds are all threads' together: on two idle cores half of them go by.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from nanolocal.compress.torch.model import Model
    from nanolocal.compress.torch.prune import Goal

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
ROW, HELD_ROW = 128, 256


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=ROOT / "models/nanolocal-starter-text")
    parser.add_argument("--steps", type=int, default=300, help="steps of recovering, of 12 rows of 128 tokens each")
    parser.add_argument("--rate", type=float, default=0.0, help="of AdamW, 0 for one chosen by the damage")
    parser.add_argument("--matrix-rate", type=float, default=0.0, help="of Muon, 0 for AdamW alone")
    parser.add_argument("--rounds", type=int, default=1, help="prune and recover in so many turns")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--held-out", type=int, default=40, help="rows of 256 tokens to measure with")
    parser.add_argument("--only", default="", help="the cases with this word in their names")
    return parser.parse_args()


def text_for(build: Path, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The built-in text as rows of tokens: to recover with, and ``most`` of other documents to measure with."""
    from nanolocal.compress.measuring.calibration import built_in
    from nanolocal.engines.ggml import Model

    model, text = Model(build, lambda done: None), built_in()
    try:
        return rows(model.tokenize(text.calibration_text(), special=False), ROW), rows(
            model.tokenize(text.held_out_text(), special=False), HELD_ROW
        )[:most]
    finally:
        model.close()


def rows(tokens: list[int], length: int) -> np.ndarray:
    """Tokens as (rows, length)."""
    return np.asarray(tokens[: len(tokens) // length * length], np.int32).reshape(-1, length)


def difference(model: Model, like: Path, tokens: np.ndarray) -> float:
    """The largest difference between torch's scores and llama.cpp's for the file that is written."""
    import torch

    from nanolocal.compress.torch.files import read, write
    from tests.fakes.llama_logits import llama_logits

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pruned.gguf"
        write(model, path, like, kind="F32")
        with torch.no_grad():
            own = read(path).logits(torch.from_numpy(tokens.astype(np.int64))).numpy()
        return float(np.abs(own - llama_logits(path, tokens)).max())


def bench(chosen: argparse.Namespace, build: Path, cases: dict[str, Goal]) -> None:
    """Print one line for each case."""
    from nanolocal.compress.torch.distill import shrink
    from nanolocal.compress.torch.divergence import measured
    from nanolocal.compress.torch.files import read
    from nanolocal.compress.torch.loop import Plan
    from nanolocal.compress.torch.prune import prune
    from nanolocal.compress.torch.shape import parameters_of

    teacher = read(build)
    text, held_out = text_for(build, chosen.held_out)
    print(f"{text.size:,} tokens to recover with, {held_out.size // 2:,} scored; load {os.getloadavg()[0]:.1f}, "
          f"{chosen.steps} steps, {chosen.threads} threads")  # fmt: skip
    print(f"{'':22}{'parameters':>12}{'pruned':>9}{'refitted':>9}{'recovered':>10}{'of damage':>10}"
          f"{'CPU s':>8}{'wall s':>8}{'to llama.cpp':>14}", flush=True)  # fmt: skip
    plan = Plan(steps=chosen.steps, rate=chosen.rate, matrix_rate=chosen.matrix_rate)
    for name, goal in cases.items():
        model, rounds = shrink(teacher, goal, text, held_out, plan, rounds=chosen.rounds)
        damage = rounds[0].pruned
        if goal.hidden or chosen.rounds > 1:
            damage = float(measured(teacher, prune(teacher, goal, text[:64], refits=False), held_out).mean())
        left, cpu = rounds[-1].recovered, sum(one.trained.cpu_seconds for one in rounds)
        wall = sum(one.trained.seconds for one in rounds)
        print(f"{name:22}{parameters_of(model.shape):>12,}{damage:>9.4f}{rounds[0].pruned:>9.4f}{left:>10.4f}"
              f"{1 - left / damage:>10.1%}{cpu:>8.0f}{wall:>8.0f}{difference(model, build, held_out[:2, :64]):>14.1e}",
              flush=True)  # fmt: skip


def main() -> int:
    """Run all cases; 0 at the end."""
    import torch

    from nanolocal.compress.torch.files import read
    from nanolocal.compress.torch.prune import Goal

    chosen = arguments()
    torch.set_num_threads(chosen.threads)
    build = next(chosen.model.glob("*.gguf")) if chosen.model.is_dir() else chosen.model
    shape = read(build).shape
    fewer, narrow = shape.layers - 1, shape.hidden * 2 // 3
    cases = {
        "one layer less": Goal(layers=fewer),
        "a third fewer channels": Goal(hidden=narrow),
        "both": Goal(layers=fewer, hidden=narrow),
    }
    bench(chosen, build, {name: goal for name, goal in cases.items() if chosen.only in name})
    return 0


if __name__ == "__main__":
    sys.exit(main())
