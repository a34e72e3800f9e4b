#!/usr/bin/env python3
"""Whether the memory that is predicted for a picture is the memory it takes: the formula against real engines.

    .venv/bin/python scripts/bench_picture_fit.py [--only WORD] [--skip N] [--cells N] [--json]

Each cell is a pipeline, its precision on disk, a size and a way to save memory. The pipeline has the shape of a real
one of its family, with some hundred million weights that lie in holes of their files (``tests/fakes/blank_pipelines``);
a real engine child loads it and draws one step. Measured is the peak of that process' resident memory while it draws,
as the kernel counted it (``VmHWM``, set back when it has loaded: until then the system keeps as many pages of the
files as it likes), so this needs Linux and, as an engine shows itself to nobody else, root. Cells marked with * were
looked at when the multiples of the formula were chosen; the others were not. Ends with 1 when one is off by more than
10 %, or fewer than 12 were measured.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from nanolocal.engines import protocol  # noqa: E402
from nanolocal.engines.client import Child  # noqa: E402
from nanolocal.formats.pipeline_folder import check_folder  # noqa: E402
from nanolocal.library.fit.pictures import canvas_of  # noqa: E402

TARGET_CELLS, TARGET_WORST = 12, 10.0
STALL_S = 900.0
STEPS, GUIDANCE, THREADS = 1, 4.5, 2
RESET_PEAK, SETTLE_S = "5", 0.2


@dataclass(frozen=True, slots=True)
class Cell:
    """What is loaded and drawn, and how; ``is_held_out`` where the formula was not fitted to it."""

    pipeline: str
    dtype: str
    width: int
    height: int
    rung: str = "full"
    is_held_out: bool = True

    @property
    def label(self) -> str:
        """In a line."""
        return f"{self.pipeline} {self.dtype} {self.width}x{self.height} {self.rung}{'' if self.is_held_out else ' *'}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Bytes measured and predicted, and how far off that is in per cent; a negative one was too low."""

    cell: str
    measured: int
    predicted: int
    error: float
    is_held_out: bool


CELLS = (
    Cell("sd wide", "F16", 512, 384),
    Cell("sdxl", "F16", 384, 384),
    Cell("flux", "F16", 384, 384, is_held_out=False),
    Cell("pixart", "F16", 384, 384),
    Cell("sana", "F16", 512, 512, is_held_out=False),
    Cell("sd", "BF16", 384, 384, "half"),
    Cell("sd3", "F16", 448, 320),
    Cell("pixart", "F16", 384, 320, "int8"),
    Cell("sd wide", "F16", 640, 512, "tiled"),
    Cell("sd3", "BF16", 384, 256, "half"),
    Cell("flux", "F16", 320, 320, "int8"),
    Cell("sd", "F16", 320, 320, is_held_out=False),
    Cell("sana", "F16", 640, 512),
    Cell("sdxl", "F16", 256, 256),
)


def main(arguments: Sequence[str]) -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description="Predicted memory of pictures against the memory of real engines.")
    parser.add_argument("--cells", type=int, default=0, metavar="N", help="only the first N")
    parser.add_argument("--skip", type=int, default=0, metavar="N", help="not the first N")
    parser.add_argument("--only", default="", metavar="WORD", help="only cells whose line begins with this")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    args = parser.parse_args(arguments)
    if not Path("/proc/self/clear_refs").exists() or os.geteuid():
        print("this needs Linux and root: the kernel's own account of another process' peak memory")
        return 2
    chosen = [cell for cell in CELLS if cell.label.startswith(args.only)][args.skip :][: args.cells or None]
    if not args.json:
        print(f"{'CELL':36} {'MEASURED':>9} {'PREDICTED':>9} {'ERROR':>7}")
    outcomes = []
    for outcome in _measured(chosen):
        outcomes.append(outcome)
        if not args.json:
            print(_row(outcome), flush=True)
    summary = summarize(outcomes)
    print(json.dumps({"cells": [asdict(outcome) for outcome in outcomes], **summary}) if args.json else _say(summary))
    is_met = all(abs(outcome.error) <= TARGET_WORST for outcome in outcomes)
    return 0 if is_met and len(outcomes) >= min(TARGET_CELLS, args.cells or TARGET_CELLS) else 1


def _measured(cells: Sequence[Cell]) -> Iterator[Outcome]:
    with tempfile.TemporaryDirectory() as scratch:
        for cell in cells:
            folder = Path(scratch) / f"{cell.pipeline}-{cell.dtype}"
            if not folder.exists():
                build = (str(ROOT / "tests" / "fakes" / "blank_pipelines.py"), str(folder), cell.pipeline, cell.dtype)
                subprocess.run([sys.executable, "-W", "ignore", *build], check=True, capture_output=True)
            ways = canvas_of(check_folder(folder)).ways
            way = next(way for way in ways if way.rung == cell.rung)
            predicted = way.drawing(cell.width, cell.height)
            measured = asyncio.run(measure(folder, cell))
            yield Outcome(cell.label, measured, predicted, 100 * (predicted / measured - 1), cell.is_held_out)


async def measure(folder: Path, cell: Cell) -> int:
    """The peak in bytes of an engine child while it draws."""
    child = await Child.start("image", STALL_S)
    try:
        child.send(protocol.LoadImage("cell", str(folder), THREADS, rung=cell.rung))
        await _until(child, protocol.Loaded)
        await asyncio.sleep(SETTLE_S)
        Path(f"/proc/{child.pid}/clear_refs").write_text(RESET_PEAK, encoding="ascii")
        child.send(
            protocol.RunImage(
                job=1, prompt="a red circle on blue", negative="", width=cell.width, height=cell.height, steps=STEPS,
                guidance=GUIDANCE, seed=1,
            )
        )  # fmt: skip
        await _until(child, protocol.Done, job=1)
        lines = Path(f"/proc/{child.pid}/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    finally:
        await child.close()


async def _until(child: Child, wanted: type[protocol.Reply], job: int = protocol.LOADING) -> None:
    """Take replies up to one of the kind."""
    while True:
        reply = await child.receive(job)
        if isinstance(reply, protocol.Failed):
            raise RuntimeError(reply.message)
        if isinstance(reply, wanted):
            return


def summarize(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Mean error and the worst on each side, of all and of those that the formula had not seen."""
    unseen = [abs(outcome.error) for outcome in outcomes if outcome.is_held_out]
    errors = [outcome.error for outcome in outcomes]
    return {
        "count": len(outcomes),
        "mean_error": statistics.fmean(map(abs, errors)) if errors else 0.0,
        "worst_under": min(errors, default=0.0),
        "worst_over": max(errors, default=0.0),
        "held_out_count": len(unseen),
        "held_out_mean_error": statistics.fmean(unseen) if unseen else 0.0,
        "held_out_worst_error": max(unseen, default=0.0),
    }


def _row(outcome: Outcome) -> str:
    measured, predicted = outcome.measured / 2**20, outcome.predicted / 2**20
    return f"{outcome.cell:36} {measured:6.0f}MiB {predicted:6.0f}MiB {outcome.error:+6.1f}%"


def _say(summary: dict[str, float]) -> str:
    return (
        f"{summary['count']:.0f} cells: mean error {summary['mean_error']:.1f} %, "
        f"worst {summary['worst_under']:+.1f} % and {summary['worst_over']:+.1f} %; "
        f"of {summary['held_out_count']:.0f} that the formula had not seen: "
        f"mean {summary['held_out_mean_error']:.1f} %, worst {summary['held_out_worst_error']:.1f} %"
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
