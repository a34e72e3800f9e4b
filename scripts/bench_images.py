#!/usr/bin/env python3
"""The picture engine, held against a bare diffusers script on the same pipeline, steps and seed.

    .venv/bin/python scripts/bench_images.py [--only NAME] [--rounds N] [--seconds S] [--receipts N]
                                               [--build DIR] [--json]

``application``  a picture through all of it (route, ledger, vault, child process, previews), against the bare script
``slow``         the same with a larger UNet of random weights, whose pictures take about ``--seconds``: at most 2 %
``receipts``     as many pictures as ``--receipts`` says, each drawn again from its receipt: the same SHA-256
``stopping``     a stop at each step: how long until the memory is back, what is charged, and the next picture

Both sides draw in turn, each in a process that has drawn before, and every ratio is of two pictures that followed each
other: of the time that passed, and of the CPU time that both took to draw. Both clocks run from the prompt until the
picture is on the disk: for the bare script that is a PNG file that it has written, for the application the encrypted
picture, which has reached the disk with its answer, its route and its charge. Each pair has a prompt of its own, so
that what the engine remembers of earlier ones is of no use. What the application takes beside that is told in
milliseconds too, as it hardly depends on the picture. ``taskset -c 0`` in front gives both one thread, which a busy
machine disturbs least. Exit code 1 when a target is missed.
"""

import argparse
import asyncio
import hashlib
import io
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from figures import Row, as_json  # noqa: E402

from nanolocal import bootstrap  # noqa: E402
from nanolocal.bootstrap import Session  # noqa: E402
from nanolocal.chat.drawing import Drawing, PictureReceipt  # noqa: E402
from nanolocal.chat.events import Finished, ImageStep  # noqa: E402
from nanolocal.chat.messages import Answer, Attachment, TurnRequest, Wishes  # noqa: E402
from nanolocal.paths import Paths, starter_models  # noqa: E402
from tests.fakes.pipelines import SLOW, write_pipelines  # noqa: E402

_STARTER = "nanolocal-starter-image"
_PROMPT = "a red circle on a blue background"
_MIB = 2**20
_SLACK = 8 * _MIB
"""What an engine may hold more after a stop than before the picture; its allocator keeps 32 MiB of small blocks."""
_POLL_S, _LONGEST_S = 0.005, 10.0
_TRIAL_STEPS = 4
_ENOUGH_MICRO = 10**9
_FEWEST_STEPS, _MOST_STEPS = 4, 100
_BARE = """
import json, os, sys, time, warnings
warnings.simplefilter("ignore")
import torch
from diffusers import DiffusionPipeline
folder, threads, file = sys.argv[1], int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(threads)
pipeline = DiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32)
pipeline.set_progress_bar_config(disable=True)
print("ready", flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    seed = torch.Generator("cpu").manual_seed(asked.pop("seed"))
    began, used = time.monotonic(), time.process_time()
    image = pipeline(generator=seed, **asked).images[0]
    image.save(file)
    took = [time.monotonic() - began, time.process_time() - used]
    with open(file, "rb") as written:
        print(json.dumps([*took, written.read().hex()]), flush=True)
    os.remove(file)
"""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture, and what it took: seconds from asking to the stored answer, CPU seconds of its engine and of the rest.

    It was stopped at ``stopped_at`` of the monotonic clock, 0 where it was not.
    """

    answer: Answer
    wall_s: float
    cpu_s: float
    own_s: float
    stopped_at: float = 0.0

    @property
    def receipt(self) -> PictureReceipt:
        """How it was drawn."""
        return PictureReceipt.from_json(self.answer.pictures[0].receipt)

    @property
    def pixels(self) -> bytes:
        """What it shows."""
        return Image.open(io.BytesIO(self.answer.pictures[0].data)).tobytes()


class App:
    """An open session that draws with one build."""

    def __init__(self, session: Session, model: str) -> None:
        self.session = session
        self._model = model

    async def draw(
        self, seed: int, steps: int | None = None, stop_at: int = 0, prompt: str = _PROMPT, **asked: object
    ) -> Drawn:
        """One picture, as a face has it drawn; ``stop_at`` stops it after so many steps."""
        stop = asyncio.Event()
        wishes = Wishes(model=self._model, picture=True, seed=seed, steps=steps, drawing=Drawing(**asked))  # type: ignore[arg-type]
        began, used = time.monotonic(), time.process_time()
        stopped_at = 0.0
        answer: Answer | None = None
        async with aclosing(self.session.chat.turn(TurnRequest(prompt, wishes=wishes), stop)) as events:
            async for event in events:
                if isinstance(event, ImageStep) and event.step == stop_at:
                    stop.set()
                    stopped_at = time.monotonic()
                if isinstance(event, Finished):
                    answer = event.answer
        if answer is None:
            raise RuntimeError("the turn ended without an answer")
        ended, own_s = time.monotonic(), time.process_time() - used
        return Drawn(answer, ended - began, answer.timing.cpu_s, own_s, stopped_at)

    async def memory_back(self, before: int) -> float:
        """The moment of the monotonic clock at which the engine holds no more than ``before``; infinity if never."""
        deadline = time.monotonic() + _LONGEST_S
        while self.memory() > before + _SLACK:
            if time.monotonic() > deadline:
                return math.inf
            await asyncio.sleep(_POLL_S)
        return time.monotonic()

    def memory(self) -> int:
        """Bytes that the engine holds now."""
        children = psutil.Process().children(recursive=True)
        return max(child.memory_info().rss for child in children if "nanolocal.engines.host" in child.cmdline())


@asynccontextmanager
async def application(home: Path, build: Path) -> AsyncIterator[App]:
    """A session of its own, which has drawn once."""
    session = bootstrap.open_session(Paths.choose(home), None)
    try:
        session.ledger.top_up(_ENOUGH_MICRO, "bench")
        app = App(session, session.library.adopt(build).id)
        await app.draw(0)
        await app.draw(1)
        yield app
    finally:
        await session.close()


class Bare:
    """The bare script in a process of its own, which has drawn twice."""

    def __init__(self, build: Path, threads: int, folder: Path) -> None:
        command = [sys.executable, "-W", "ignore", "-c", _BARE, str(build), str(threads), str(folder / "bare.png")]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)
        self._answer()

    def draw(self, told: PictureReceipt) -> tuple[float, float, bytes]:
        """Seconds, CPU seconds and the PNG of the same picture."""
        asked = {
            "prompt": told.prompt, "width": told.width, "height": told.height, "num_inference_steps": told.steps,
            "guidance_scale": told.guidance, "seed": told.seed,
        }  # fmt: skip
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        wall_s, cpu_s, png = json.loads(self._answer())
        return wall_s, cpu_s, bytes.fromhex(png)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the bare script ended")
        return line


@dataclass(frozen=True, slots=True)
class Bench:
    """What all parts need."""

    home: Path
    build: Path
    rounds: int
    receipts: int
    seconds: float


async def in_the_application(bench: Bench) -> list[Row]:
    """Pictures of both sides in turn."""
    walls, cpus, *others = await _in_turn(bench, bench.build)
    wall = Row("time of a picture, from asking to the stored answer", walls.values, note=walls.note)
    return [replace(cpus, target=1.02, is_most=True), wall, *others]


async def of_seconds(bench: Bench) -> list[Row]:
    """The same of a pipeline whose pictures take seconds, against which the time of ledger and vault is little."""
    build = write_pipelines(bench.home / "builds", SLOW)[SLOW]
    walls, cpus, *others = await _in_turn(bench, build, is_sized=True)
    wall = Row("time of a slow picture", walls.values, 1.02, is_most=True, note=walls.note)
    return [wall, replace(cpus, name="CPU time of the engine for a slow picture", target=1.02, is_most=True), *others]


async def _in_turn(bench: Bench, build: Path, *, is_sized: bool = False) -> list[Row]:
    """Wall time, CPU time, what is beside it, and how many are the same.

    With ``is_sized`` in as many steps as take the wanted seconds.
    """
    walls, cpus, more, own, alike = [], [], [], [], 0
    async with application(bench.home, build) as app:
        tried = await app.draw(2, _TRIAL_STEPS if is_sized else None)
        steps = _steps_in(bench.seconds, tried) if is_sized else None
        bare = Bare(build, tried.receipt.threads, bench.home)
        try:
            for seed in (0, 1):
                bare.draw((await app.draw(seed, steps)).receipt)
            told = tried.receipt if steps is None else replace(tried.receipt, steps=steps)
            for seed in range(10, 10 + bench.rounds):
                asked = replace(told, seed=seed, prompt=f"{_PROMPT}, number {seed}")
                if seed % 2:
                    theirs, ours = bare.draw(asked), await app.draw(seed, steps, prompt=asked.prompt)
                else:
                    ours, theirs = await app.draw(seed, steps, prompt=asked.prompt), bare.draw(asked)
                walls.append(ours.wall_s / theirs[0])
                cpus.append(ours.cpu_s / theirs[1])
                more.append(1000 * (ours.wall_s - theirs[0]))
                own.append(1000 * ours.own_s)
                alike += Image.open(io.BytesIO(theirs[2])).tobytes() == ours.pixels
        finally:
            bare.close()
    spent = f"{ours.wall_s:.3f} to {theirs[0]:.3f} s, {ours.cpu_s:.3f} to {theirs[1]:.3f} CPU-s"
    note = f"{spent}, {ours.receipt.steps} steps"
    return [
        Row("time of a picture", tuple(walls), note=note),
        Row("CPU time of the engine for a picture", tuple(cpus), note=note),
        Row("milliseconds more than the bare script", tuple(more)),
        Row("CPU milliseconds of all but the engine", tuple(own)),
        Row("the same picture", (alike / bench.rounds,), 1.0, note=f"{alike} of {bench.rounds}"),
    ]


def _steps_in(seconds: float, tried: Drawn) -> int:
    """How many steps take so long, by the CPU time that each of its threads took for a few."""
    each = tried.cpu_s / tried.receipt.threads / tried.receipt.steps
    return min(max(round(seconds / each), _FEWEST_STEPS), _MOST_STEPS)


async def again_from_receipts(bench: Bench) -> list[Row]:
    """Every picture once more in another engine."""
    told: list[tuple[str, PictureReceipt]] = []
    async with application(bench.home, bench.build) as app:
        for seed in range(bench.receipts):
            drawn = await app.draw(seed, steps=4 + seed % 5, negative="fog" if seed % 2 else None)
            told.append((_sha256(drawn.answer.pictures[0]), drawn.receipt))
    same = 0
    async with application(bench.home, bench.build) as app:
        for sha256, receipt in told:
            drawn = await app.draw(receipt.seed, receipt.steps, negative=receipt.negative, scheduler=receipt.scheduler)
            same += _sha256(drawn.answer.pictures[0]) == sha256 and drawn.receipt == receipt
    share = same / max(1, bench.receipts)
    return [Row("the same bytes from a receipt", (share,), 1.0, note=f"{same} of {bench.receipts}")]


async def stopping(bench: Bench) -> list[Row]:
    """A stop after each step of a picture."""
    exact, usable, ends, backs = 0, 0, [], []
    async with application(bench.home, bench.build) as app:
        whole = await app.draw(5)
        steps = whole.receipt.steps
        for at in range(1, steps):
            before, balance = app.memory(), app.session.ledger.balance()
            stopped = await app.draw(5, stop_at=at)
            ends.append(time.monotonic() - stopped.stopped_at)
            backs.append(await app.memory_back(before) - stopped.stopped_at)
            exact += _is_exact(app, stopped.answer, whole.receipt, at, balance)
            usable += (await app.draw(5)).pixels == whole.pixels
    return [
        Row("charged by the steps that were drawn, to the micro-credit", (exact / (steps - 1),), 1.0),
        Row("the next picture is as ever", (usable / (steps - 1),), 1.0),
        Row("seconds from a stop to the end of the turn", tuple(ends), note=f"at worst {max(ends):.3f} s"),
        Row("seconds until the memory is back, at worst", (max(backs),), 1.0, is_most=True, note=f"{steps - 1} stops"),
    ]


def _is_exact(app: App, answer: Answer, whole: PictureReceipt, at: int, balance: int) -> bool:
    """Whether as many steps are charged as were drawn, at their price, and nothing is held any longer."""
    done, rest = divmod(answer.usage.pixel_steps, whole.width * whole.height)
    cost = app.session.ledger.price(answer.route.build).cost(answer.usage)
    is_paid = answer.cost_micro == cost == balance - app.session.ledger.balance()
    return rest == 0 and done in (at, at + 1) and is_paid


def _sha256(picture: Attachment) -> str:
    return hashlib.sha256(picture.data).hexdigest()


PARTS: dict[str, Callable[[Bench], Coroutine[object, object, list[Row]]]] = {
    "application": in_the_application,
    "slow": of_seconds,
    "receipts": again_from_receipts,
    "stopping": stopping,
}


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description="The picture engine next to a bare diffusers script.")
    parser.add_argument("--only", choices=PARTS, action="append", help="this part; may be given again")
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="pictures of both sides (default 20)")
    parser.add_argument("--seconds", type=float, default=3.0, metavar="S", help="of a slow picture (default 3)")
    parser.add_argument("--receipts", type=int, default=100, metavar="N", help="pictures drawn twice (default 100)")
    parser.add_argument("--build", type=Path, default=starter_models() / _STARTER, metavar="DIR", help="a pipeline")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    args = parser.parse_args(arguments)
    os.environ.pop("NANOLOCAL_HOME", None)
    rows: list[Row] = []
    for name in args.only or PARTS:
        with tempfile.TemporaryDirectory() as home:
            Path(home).chmod(0o700)
            bench = Bench(Path(home), args.build.resolve(), max(1, args.rounds), max(1, args.receipts), args.seconds)
            found = asyncio.run(PARTS[name](bench))
        rows += found
        if not args.json:
            print(*found, sep="\n", flush=True)
    if args.json:
        print(as_json(rows))
    return int(not all(row.is_met for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
