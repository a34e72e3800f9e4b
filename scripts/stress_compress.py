#!/usr/bin/env python3
"""Random wishes to the compression lab, each met by a real file or refused with the reason.

    .venv/bin/python scripts/stress_compress.py [--runs N] [--seed N] [--seconds S] [--json]

A wish is a size, bits a weight, memory, a loss, a speed, or several of them, possible or not, for a model of random
weights with as many layers as models have that people use. What is made is looked at here: its bytes, the memory it
takes, its speed, and its loss, next to stock's too. Of a size at least 99.5 % have to be used, unless a speed asks for
less, the source with 16-bit floats takes less, or a file that uses them was measured and is worse; those are counted
apart, and the card has to say why. Exit code 1 where a wish was neither met nor refused with a sentence and the next
thing to do.
"""

import argparse
import asyncio
import json
import math
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from nanolocal.compress.asking import Ask, Made, Prepared  # noqa: E402
from nanolocal.compress.gate import Measured  # noqa: E402
from nanolocal.compress.lab import Lab  # noqa: E402
from nanolocal.compress.plan import Device  # noqa: E402
from nanolocal.compress.targets import BitsPerWeight, Bytes, Memory, Size, Wish  # noqa: E402
from nanolocal.compress.weights.sizes import cost_of, usual_context  # noqa: E402
from nanolocal.errors import NoBuildFits, UsageError  # noqa: E402
from nanolocal.library.fit.layout import read_layout  # noqa: E402
from nanolocal.library.library import Library  # noqa: E402
from tests.fakes.lab_gguf import write_lab_gguf  # noqa: E402

DEVICE = Device(memory=8 * 10**9, disk=50 * 10**9, bandwidth=20e9, cores=2)
LAYERS = 24
CHUNKS = 8
"""Of text, to calibrate and to measure with: how good a file is does not matter here."""
USED = 0.995
FLOATS, READ = "16-bit floats", "can be read"
"""What a plan says where less than the size is right."""


def wish(chance: random.Random, source: Path, seconds: float) -> Wish:
    """What somebody may ask for."""
    source_bytes, layout = source.stat().st_size, read_layout(source)
    beside = cost_of(layout, usual_context(layout)).memory - source_bytes
    size: Size | None = chance.choice(
        (
            None,
            Bytes(int(source_bytes * chance.uniform(0.05, 1.1))),
            Bytes(int(source_bytes * chance.uniform(0.2, 0.5))),
            BitsPerWeight(chance.uniform(1, 12)),
            Memory(beside + int(source_bytes * chance.uniform(0, 1.1))),
        )
    )
    kld = 10 ** chance.uniform(-6, 0) if size is None or chance.random() < 0.3 else None
    speed = 10 ** chance.uniform(1, 5) if chance.random() < 0.3 else None
    return Wish(size, kld, speed, seconds)


async def run(lab: Lab, ask: Ask, measured: list[Measured]) -> tuple[Prepared, Made]:
    """A whole run with little text; files go into ``measured`` as they are."""
    prepared = await lab.prepare(ask)
    prepared = replace(prepared, plan=replace(prepared.plan, chunks=CHUNKS, held_out=CHUNKS))
    return prepared, await lab.make(prepared, lambda progress: None, measured.append)


def used(size: Size, path: Path) -> float:
    """The share of what was asked for that the file takes; above 1 it is too large."""
    layout = read_layout(path)
    match size:
        case Bytes(most):
            return path.stat().st_size / most
        case BitsPerWeight(most):
            weights = sum(tensor.size_bytes for tensor in layout.tensors)
            return 8 * weights / sum(math.prod(tensor.shape) for tensor in layout.tensors) / most
        case Memory(most):
            return cost_of(layout, usual_context(layout)).memory / most


def exempt(asked: Wish, prepared: Prepared, made: Made, measured: Sequence[Measured]) -> str:
    """Why less of the size may be used, nothing where all of it is to be."""
    if asked.size is None or used(asked.size, made.path) >= USED:
        return ""
    if FLOATS in prepared.plan.why:
        return FLOATS
    kept = next(point for point in made.points if point.is_kept)
    fullest = max(measured, key=lambda each: each.size_bytes)
    if fullest.kld > kept.kld and fullest.size_bytes >= kept.size_bytes * USED / used(asked.size, made.path):
        return "quality, as a file that uses it is worse"
    if asked.min_speed is None:
        return ""
    is_slow = any(each.speed < asked.min_speed for each in measured)
    return "speed" if is_slow or READ in prepared.plan.why else ""


def faults(asked: Wish, made: Made, measured: Sequence[Measured]) -> Iterator[str]:
    """What of the wish is not kept, but for how much of a size is used."""
    if asked.size is not None and (share := used(asked.size, made.path)) > 1:
        yield f"{share:.4%} of the size"
    kept = next(point for point in made.points if point.is_kept)
    stock = min(point.kld for point in made.points if point.is_stock and point.size_bytes <= kept.size_bytes)
    if kept.kld > stock:
        yield f"a loss of {kept.kld}, stock has {stock}"
    if asked.max_kld is not None and kept.kld > asked.max_kld:
        yield f"a loss of {kept.kld}, asked for {asked.max_kld}"
    speed = max(each.speed for each in measured if (each.size_bytes, each.kld) == (kept.size_bytes, kept.kld))
    if asked.min_speed is not None and speed < asked.min_speed:
        yield f"{speed} tokens a second, asked for {asked.min_speed}"


def main() -> int:
    """Ask, and look at what comes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each run, about")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    chance = random.Random(args.seed)
    outcomes: Counter[str] = Counter()
    wrong: list[str] = []
    least_used = 1.0
    with tempfile.TemporaryDirectory() as name:
        models = Path(name) / "models"
        (models / "small").mkdir(parents=True)
        source = write_lab_gguf(models / "small/small-F16.gguf", layers=LAYERS, halves=True)
        library = Library([models], Path(name) / "index.json")
        lab = Lab(models, library, DEVICE)
        for number in range(args.runs):
            asked = wish(chance, source, args.seconds)
            measured: list[Measured] = []
            try:
                prepared, made = asyncio.run(run(lab, Ask(library.get("small:F16"), asked), measured))
            except (UsageError, NoBuildFits) as refused:
                outcomes["refused"] += 1
                if not refused.message or not refused.hint:
                    wrong.append(f"{asked}: refused without a reason")
            else:
                outcomes["met"] += 1
                wrong += [f"{asked}: {fault}" for fault in faults(asked, made, measured)]
                if asked.size is not None:
                    share, why = used(asked.size, made.path), exempt(asked, prepared, made, measured)
                    outcomes[f"sizes, less allowed by {why}" if why else "sizes"] += 1
                    if why:
                        told = made.report.get("left")
                        wrong += [] if told else [f"{asked}: {share:.4%} are used, and its card does not say why"]
                    else:
                        least_used = min(least_used, share)
                        outcomes["sizes of which 99.5 % are used"] += share >= USED
                        wrong += [] if share >= USED else [f"{asked}: only {share:.4%} are used"]
                shutil.rmtree(made.path.parent)
                library.forget()
            if (number + 1) % 10 == 0:
                print(f"{number + 1} of {args.runs}: {dict(outcomes)}", file=sys.stderr)
    if args.json:
        print(json.dumps({"outcomes": outcomes, "least_used": least_used, "wrong": wrong}))
    else:
        print(f"{dict(outcomes)}; at least {100 * least_used:.2f} % of a size used; wrong: {wrong or 'none'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
