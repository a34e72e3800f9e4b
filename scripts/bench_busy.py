#!/usr/bin/env python3
"""Whether the text engine stays fast while another program holds a core: beside fixed settings of bare llama.cpp.

    .venv/bin/python scripts/bench_busy.py [--rounds N] [--written N] [--quick] [--json]

The build has the shape of Qwen3 0.6B in Q4_K_M; its weights lie in a hole of the file and cost what real ones cost.
Every fixed setting is a bare loop over llama.cpp (decode, sample) with its wait policy and threads, in a process and
session of its own; the engine is a real child, asked over its pipes. In each round each of them reads a prompt and
writes, once on a quiet machine and once while an endless loop, pinned to a core, keeps that core busy; all of them
first write a few tokens that do not count. A figure taken while further programs used the machine is taken again.
Ratios are between medians. A fresh child's first answer on the busy machine is measured too. An asyncio loop in this
process ticks every 10 ms beside each of them, as a screen does: the heartbeat is how late it does beside the engine,
whose words it takes.

Ends with 1 when a target is missed: 97 % of the best fixed setting on the quiet machine; 80 % of the best, and 20 times
llama-bench's default (all cores, the wait policy of the library), on the busy one; a heartbeat p95 under 100 ms.
Needs Linux.
"""

import argparse
import asyncio
import ctypes
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from nanolocal.engines import protocol  # noqa: E402
from nanolocal.engines.client import Child  # noqa: E402
from nanolocal.engines.ggml import Context, Model, Part  # noqa: E402
from nanolocal.engines.launch import child_environment, usable_cores  # noqa: E402
from nanolocal.engines.pace import Pace, Usage  # noqa: E402
from nanolocal.engines.sampling import Sampler, Sampling  # noqa: E402
from tests.fakes.blank_gguf import Shape, write_blank_gguf  # noqa: E402

SHAPE = Shape("qwen3", 1024, 28, 16, 8, 128, 3072, 151_936, is_tied=True)
TARGET_QUIET, TARGET_BUSY, TARGET_DEFAULT, TARGET_HEARTBEAT_S = 0.97, 0.8, 20.0, 0.1
SAMPLING = Sampling(1.0, 0.95, 40, 0.05, 1.0, 1)
N_CTX, WARM_UP, BATCH = 1024, 16, 256
LONGEST_S = 8.0
"""A setting that writes more slowly than its tokens in this time is stopped."""
TICK_S = 0.01
FOREIGN, ATTEMPTS = 0.08, 8
"""Cores that further programs may use while a figure is taken; how often it is taken again."""
STALL_S = 900.0
ENDLESS = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"
WAITS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
DEFAULT = "llama-bench"


@dataclass(frozen=True, slots=True)
class Setting:
    """A fixed setting: how the threads of the library wait, and how many there are."""

    name: str
    waits: Mapping[str, str]
    threads: int


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens a second."""

    prompt: float
    decode: float


@dataclass(slots=True)
class Figures:
    """What one situation gave, by setting; how late the ticks were in seconds."""

    speeds: dict[str, list[Speed]] = field(default_factory=dict)
    late: list[float] = field(default_factory=list)

    def median(self, name: str, what: str) -> float:
        """Of the speeds of a setting, the field ``what``."""
        return statistics.median(float(getattr(speed, what)) for speed in self.speeds[name])

    def best(self, what: str) -> str:
        """The fixed setting with the highest median."""
        fixed = [name for name in self.speeds if not name.startswith("engine")]
        return max(fixed, key=lambda name: self.median(name, what))


class Fixed(Pace):
    """Threads that stay as they are."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads, lambda: Usage(0.0, 0.0, 0.0))

    def before(self, now: float) -> int:
        """``threads``, whatever the machine does."""
        return self.threads


class Bare:
    """A process that runs the bare loop for fixed settings with the same wait policy."""

    def __init__(self, path: Path, waits: Mapping[str, str]) -> None:
        plain = {name: value for name, value in child_environment(os.environ).items() if name not in WAITS}
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--bare", str(path)],
            env=plain | dict(waits), start_new_session=True, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._line()

    async def run(self, threads: int, read: int, written: int) -> Speed:
        """Read and write so many tokens."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([threads, read, written]) + "\n")
        self.process.stdin.flush()
        return Speed(*json.loads(await asyncio.to_thread(self._line)))

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the bare loop has ended")
        return line


def serve_bare(path: Path) -> None:
    """The other side of ``Bare``."""
    model = Model(path, lambda _: None)
    pace = Fixed(1)
    context = Context(model, N_CTX, pace, ctypes.create_string_buffer(2))
    print("[]", flush=True)
    for line in sys.stdin:
        pace.threads, read, written = json.loads(line)
        context.keep(0, 0)
        sampler = Sampler(model, SAMPLING, [])
        began = time.perf_counter()
        for position in range(0, read, BATCH):
            count = min(BATCH, read - position)
            context.decode([Part(0, [300 + (position + index) % 1000 for index in range(count)], position, 1)])
        middle = time.perf_counter()
        tokens = 0
        while tokens < written and time.perf_counter() - middle < LONGEST_S:
            context.decode([Part(0, [sampler.choose(context)], read + tokens, 1)])
            tokens += 1
        print(json.dumps([read / (middle - began), tokens / (time.perf_counter() - middle)]), flush=True)
        sampler.close()


class Engine:
    """A real engine child."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self._jobs = 0

    @classmethod
    async def start(cls, path: Path) -> "Engine":
        """Start one and load the build with all cores."""
        child = await Child.start("text", STALL_S)
        child.send(protocol.LoadText("bench", str(path), N_CTX, usable_cores()))
        while not isinstance(await child.receive(), protocol.Loaded):
            pass
        return cls(child)

    async def run(self, read: int, written: int) -> Speed:
        """Read about and write so many tokens."""
        self._jobs += 1
        text = chr(ord("a") + self._jobs % 26) * read  # no merge joins these, and no two prompts begin alike
        self.child.send(
            protocol.RunText(
                self._jobs, (("user", text),), N_CTX, written, SAMPLING.temperature, SAMPLING.top_p, SAMPLING.top_k,
                SAMPLING.min_p, SAMPLING.repeat_penalty, SAMPLING.seed,
            )
        )  # fmt: skip
        while not isinstance(reply := await self.child.receive(self._jobs), protocol.Done):
            if isinstance(reply, protocol.Failed):
                raise RuntimeError(reply.message)
        self.child.rest(self._jobs)
        return Speed(reply.prompt_tok_s, reply.decode_tok_s)


@contextmanager
def busy_core(core: int | None) -> Iterator[list[int]]:
    """An endless loop on ``core`` meanwhile, ``None`` for none; the process ids."""
    if core is None:
        yield []
        return
    process = subprocess.Popen([sys.executable, "-c", ENDLESS], start_new_session=True)
    os.sched_setaffinity(process.pid, {core})
    try:
        yield [process.pid]
    finally:
        process.kill()
        process.wait()


class Bench:
    """Runs everything in turn, on a machine of ``cores``."""

    def __init__(self, path: Path, read: int, written: int) -> None:
        self._path, self._read, self._written = path, read, written
        self._cores = sorted(os.sched_getaffinity(0))
        everything, ours = (
            usable_cores(),
            {name: value for name, value in child_environment({}).items() if name in WAITS},
        )
        self._settings = [
            Setting(DEFAULT, {}, everything),
            Setting("passive", {"OMP_WAIT_POLICY": "passive"}, everything),
            Setting("our wait", ours, everything),
            Setting("one thread less", ours, max(everything - 1, 1)),
        ]
        self.figures = {"quiet": Figures(), "busy": Figures()}
        self.again = 0

    async def run(self, rounds: int) -> None:
        """All rounds."""
        waits = {json.dumps(dict(setting.waits)): setting.waits for setting in self._settings}
        bare = {key: Bare(self._path, wait) for key, wait in waits.items()}
        engine = await Engine.start(self._path)
        try:
            for number in range(rounds):
                for situation, figures in self.figures.items():
                    core = self._cores[number % len(self._cores)] if situation == "busy" else None
                    with busy_core(core) as others:
                        for setting in self._settings:
                            process = bare[json.dumps(dict(setting.waits))]
                            run = partial(process.run, setting.threads)
                            async with ticking([]):
                                await self._take(figures, setting.name, [*others, process.process.pid], run)
                        async with ticking(figures.late):
                            await self._take(figures, "engine", [*others, engine.child.pid], engine.run)
                        if situation == "busy":
                            await self._take_fresh(figures)
        finally:
            await engine.child.close()
            for process in bare.values():
                process.close()

    async def _take_fresh(self, figures: Figures) -> None:
        """The first answer of a child that starts on a busy machine."""
        engine = await Engine.start(self._path)
        figures.speeds.setdefault("engine, first answer", []).append(await engine.run(self._read, WARM_UP))
        await engine.child.close()

    async def _take(
        self, figures: Figures, name: str, pids: Sequence[int], run: Callable[[int, int], Awaitable[Speed]]
    ) -> None:
        for _ in range(ATTEMPTS):
            await run(1, WARM_UP if name != DEFAULT else 1)
            began, before = time.monotonic(), _free(pids)
            speed = await run(self._read, self._written)
            cores = (_free(pids) - before) / (time.monotonic() - began)
            if cores > len(self._cores) - FOREIGN:
                break
            self.again += 1
            await asyncio.sleep(1)
        figures.speeds.setdefault(name, []).append(speed)


@asynccontextmanager
async def ticking(late: list[float]) -> AsyncIterator[None]:
    """Meanwhile a loop ticks, and notes how late each tick is."""
    async with asyncio.TaskGroup() as group:
        loop = group.create_task(tick(late))
        yield
        loop.cancel()


async def tick(late: list[float]) -> None:
    """Note how late each tick is."""
    while True:
        due = time.perf_counter() + TICK_S
        await asyncio.sleep(TICK_S)
        late.append(time.perf_counter() - due)


def _free(pids: Sequence[int]) -> float:
    """Core-seconds that were idle so far, or used by this process and ``pids``."""
    cores = psutil.cpu_times(percpu=True)
    usable = os.sched_getaffinity(0)
    idle = sum(core.idle + core.iowait for number, core in enumerate(cores) if number in usable)
    used = [psutil.Process(pid).cpu_times() for pid in pids]
    return float(idle + sum(times.user + times.system for times in used) + time.process_time())


def p95(values: Sequence[float]) -> float:
    """The nearest rank."""
    return sorted(values)[max(round(0.95 * len(values)) - 1, 0)]


def summarize(figures: Mapping[str, Figures]) -> dict[str, float]:
    """The figures that the targets are about."""
    quiet, busy = figures["quiet"], figures["busy"]
    return {
        "quiet_of_best": quiet.median("engine", "decode") / quiet.median(quiet.best("decode"), "decode"),
        "quiet_prompt_of_best": quiet.median("engine", "prompt") / quiet.median(quiet.best("prompt"), "prompt"),
        "busy_of_best": busy.median("engine", "decode") / busy.median(busy.best("decode"), "decode"),
        "busy_prompt_of_best": busy.median("engine", "prompt") / busy.median(busy.best("prompt"), "prompt"),
        "busy_of_default": busy.median("engine", "decode") / busy.median(DEFAULT, "decode"),
        "quiet_heartbeat_p95_s": p95(quiet.late),
        "busy_heartbeat_p95_s": p95(busy.late),
    }


def _table(figures: Mapping[str, Figures]) -> Iterator[str]:
    for situation, found in figures.items():
        yield f"{situation.upper():24} {'PROMPT tok/s':>14} {'of best':>8} {'DECODE tok/s':>14} {'of best':>8}"
        best = {what: found.median(found.best(what), what) for what in ("prompt", "decode")}
        for name in found.speeds:
            cells = [(found.median(name, what), found.median(name, what) / best[what]) for what in ("prompt", "decode")]
            yield f"{name:24} " + " ".join(f"{speed:14.2f} {ratio:8.3f}" for speed, ratio in cells)


def main(arguments: Sequence[str]) -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description="The text engine on a quiet and on a busy machine.")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--read", type=int, default=128, metavar="N", help="tokens of the prompt")
    parser.add_argument("--written", type=int, default=64, metavar="N", help="tokens of each answer")
    parser.add_argument("--quick", action="store_true", help="one round of short answers")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--bare", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.bare is not None:
        serve_bare(args.bare)
        return 0
    if sys.platform != "linux":
        print("this needs Linux: programs are pinned to cores")
        return 2
    with tempfile.TemporaryDirectory() as scratch:
        path = write_blank_gguf(Path(scratch) / "model.gguf", SHAPE, "Q4_K_M")
        bench = Bench(path, args.read, 16 if args.quick else args.written)
        asyncio.run(bench.run(1 if args.quick else args.rounds))
    summary = summarize(bench.figures)
    if args.json:
        speeds = {
            situation: {name: [asdict(speed) for speed in speeds] for name, speeds in found.speeds.items()}
            for situation, found in bench.figures.items()
        }
        print(json.dumps({"speeds": speeds, "again": bench.again, **summary}))
    else:
        print("\n".join(_table(bench.figures)))
        print(f"taken again: {bench.again}; " + ", ".join(f"{name} {value:.3f}" for name, value in summary.items()))
    is_met = (
        summary["quiet_of_best"] >= TARGET_QUIET
        and summary["busy_of_best"] >= TARGET_BUSY
        and summary["busy_of_default"] >= TARGET_DEFAULT
        and max(summary["quiet_heartbeat_p95_s"], summary["busy_heartbeat_p95_s"]) < TARGET_HEARTBEAT_S
    )
    return 0 if is_met else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
