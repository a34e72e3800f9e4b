#!/usr/bin/env python3
"""Puts the governor under pressure: little memory, many builds, engines that break in every way.

    .venv/bin/python scripts/stress_governor.py turns --turns 200
    .venv/bin/python scripts/stress_governor.py cycles --cycles 1000
    .venv/bin/python scripts/stress_governor.py ended --times 10

``turns`` runs one trace of chat, vision and picture turns in two whole sessions, each in a control group with a hard
memory limit, turn by turn in both: in one the governor decides, in the other every engine is ended before another
build is loaded. ``cycles`` loads and unloads a tiny build and breaks its child at each phase in between, then kills the
whole program. ``ended`` takes memory from a group until the kernel ends the engine in the middle of a prompt.
All need Linux; ``turns`` and ``ended`` need root, to make a group. Each prints what it counted, and ends with 1 when
anything was wrong.
"""

import argparse
import asyncio
import gc
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from nanolocal.chat.events import EngineEvent, Finished, Loading, MadeDo, Reading, TextDelta  # noqa: E402
from nanolocal.chat.messages import Attachment, TurnRequest, Wishes  # noqa: E402
from nanolocal.chat.routes import Build  # noqa: E402
from nanolocal.engines.governor import Stay  # noqa: E402
from nanolocal.engines.pool import EnginePool  # noqa: E402
from nanolocal.errors import EngineFailed, NanolocalError  # noqa: E402
from tests.fakes.blank_gguf import Shape, write_blank_gguf  # noqa: E402
from tests.fakes.tiny_gguf import write_tiny_gguf  # noqa: E402
from tests.fakes.tiny_projector import write_tiny_projector  # noqa: E402
from tests.unit.engines.helpers import asking, build_of, children  # noqa: E402

MIB = 2**20
LIMIT_MIB = 1500
TARGET_SAVED, TARGET_BACK = 0.30, 0.02
PAINTER = "nanolocal-starter-image"
WANTED = {"talker": 8, "coder": 3, "seer": 3, PAINTER: 4}
"""How often a run of turns is on each build; a run has 1 to ``LONGEST_RUN`` of them."""
LONGEST_RUN = 5
TURNS_OF_A_CHAT = 6
STALL_S = 1.5
UNLOAD_S = 0.01
LATE_MIB = 3.0
"""How much the program may have grown after so many cycles; the interpreter's own arenas move by a megabyte or two."""


def main() -> int:
    """Run one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    turns = commands.add_parser("turns")
    turns.add_argument("--turns", type=int, default=200)
    turns.add_argument("--skip", type=int, default=0, metavar="N", help="not the first N: a trace in pieces")
    turns.add_argument("--limit", type=int, default=LIMIT_MIB, help="of each group, in MiB")
    cycles = commands.add_parser("cycles")
    cycles.add_argument("--cycles", type=int, default=1000)
    cycles.add_argument("--every", type=int, default=4, help="a fault in every so many cycles")
    ended = commands.add_parser("ended")
    ended.add_argument("--times", type=int, default=10)
    for each in (turns, cycles, ended):
        each.add_argument("--seed", type=int, default=7)
    worker = commands.add_parser("worker")
    worker.add_argument("group", type=Path)
    worker.add_argument("home", type=Path)
    worker.add_argument("--unloads", action="store_true")
    starved = commands.add_parser("starved")
    starved.add_argument("group", type=Path)
    starved.add_argument("build", type=Path)
    doomed = commands.add_parser("doomed")
    doomed.add_argument("build", type=Path)
    args = parser.parse_args()
    match args.command:
        case "turns":
            return compare(args)
        case "cycles":
            return asyncio.run(wear(args))
        case "ended":
            return starve(args)
        case "starved":
            return asyncio.run(hunger(args.group, args.build))
        case "worker":
            return asyncio.run(Worker(args.group, args.unloads).serve(args.home))
        case _:
            return asyncio.run(talk_until_killed(args.build))


# A control group with a hard limit.


class Group:
    """One of version 1 or 2, made by root; processes are put in by writing their ids."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._is_v2 = not (path / "memory.limit_in_bytes").exists()

    @classmethod
    @contextmanager
    def made(cls, limit: int) -> Iterator["Group"]:
        """A new one, gone at the end."""
        v1 = Path("/sys/fs/cgroup/memory")
        path = (v1 if v1.is_dir() else v1.parent) / f"nanolocal-{uuid.uuid4().hex[:8]}"
        path.mkdir()
        group = cls(path)
        names = ("memory.max", "memory.swap.max") if group._is_v2 else ("memory.limit_in_bytes", "")
        (path / names[0]).write_text(str(limit))
        if names[1] and (path / names[1]).exists():
            (path / names[1]).write_text("0")
        try:
            yield group
        finally:
            deadline = time.monotonic() + 5
            while time.monotonic() < deadline:
                with suppress(OSError):
                    path.rmdir()
                    break
                time.sleep(0.05)

    def command(self, *arguments: str) -> list[str]:
        """Python with ``arguments``, in the group from its first instruction."""
        return ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(self.path / "cgroup.procs"), sys.executable, *arguments]

    def held(self) -> int:
        """Bytes in use that cannot be dropped."""
        used = int((self.path / ("memory.current" if self._is_v2 else "memory.usage_in_bytes")).read_text())
        stat = dict(line.split() for line in (self.path / "memory.stat").read_text().splitlines())
        prefix = "" if self._is_v2 else "total_"
        return used - int(stat[f"{prefix}active_file"]) - int(stat[f"{prefix}inactive_file"])

    def most(self) -> int:
        """The most that was ever in use, 0 where the kernel does not tell."""
        file = self.path / ("memory.peak" if self._is_v2 else "memory.max_usage_in_bytes")
        return int(file.read_text()) if file.exists() else 0

    def oom_kills(self) -> int:
        """Processes that the kernel has ended in it."""
        lines = (self.path / ("memory.events" if self._is_v2 else "memory.oom_control")).read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))


# turns: one trace, two sessions.


def write_builds(home: Path) -> None:
    """Two that talk (290 and 380 MB, experts) and one that sees; the one that paints comes with the program."""
    models = home / "data/models"
    shapes = {
        "talker": Shape("qwen3moe", 1024, 6, 16, 4, 64, 384, 16_000, experts=32, experts_used=2),
        "coder": Shape("qwen3moe", 1024, 8, 16, 4, 64, 384, 16_000, experts=32, experts_used=2),
        "seer": Shape("llama", 768, 8, 12, 4, 64, 2048, 16_000),
    }
    for name, shape in shapes.items():
        write_blank_gguf(models / name / f"{name}-Q8_0.gguf", shape, "Q8_0")
    eyes = models / "seer/mmproj-seer-f32.gguf"
    write_tiny_projector(eyes, embedding=768, side=64, width=256, inner=1024, blocks=4)


def own_memory() -> int:
    """Bytes of this process that are nobody else's."""
    import psutil

    return int(psutil.Process().memory_full_info().uss)


def trace(turns: int, chance: random.Random) -> list[str]:
    """Which build each turn is on: runs of turns, as people work."""
    found: list[str] = []
    while len(found) < turns:
        (name,) = chance.choices(list(WANTED), list(WANTED.values()))
        found += [name] * chance.randint(1, LONGEST_RUN)
    return found[:turns]


def a_picture() -> Attachment:
    """Something to look at."""
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(file, "PNG")
    return Attachment("red.png", "image/png", file.getvalue())


@dataclass(slots=True)
class Worker:
    """A whole session in its own process and ``group``: it takes the name of a build and answers with what it took."""

    group_path: Path
    unloads: bool
    chats: dict[str, str] = field(default_factory=dict)
    turns: Counter[str] = field(default_factory=Counter)
    last: str = ""

    async def serve(self, home: Path) -> int:
        """Until the input ends."""
        from nanolocal import bootstrap
        from nanolocal.paths import Paths

        group = Group(self.group_path)
        session = bootstrap.open_session(Paths.choose(home), None, tells_licences=False)
        session.ledger.top_up(10**9)
        for line in iter(sys.stdin.readline, ""):
            name, began = line.strip(), time.monotonic()
            said: dict[str, object] = {}
            if name == "unload":
                await self._unload(session.engines)
                gc.collect()
            else:
                said = await self._turn(session, name)
            said |= {"s": time.monotonic() - began, "held": group.held(), "own": own_memory()}
            print(json.dumps(said), flush=True)
        await session.close()
        return 0

    async def _turn(self, session: "object", name: str) -> dict[str, object]:
        from nanolocal.bootstrap import Session

        assert isinstance(session, Session)
        if self.unloads and name != self.last:
            await self._unload(session.engines)
        self.last = name
        self.turns[name] += 1
        if self.turns[name] % TURNS_OF_A_CHAT == 1:
            self.chats.pop(name, None)
        build = next(build for build in session.library.builds() if build.id.startswith(name))
        files = (a_picture(),) if name == "seer" and name not in self.chats else ()
        wishes = Wishes(model=build.id, max_tokens=4, temperature=0.0, seed=1)
        if name == PAINTER:
            wishes = Wishes(model=build.id, seed=1, picture=True, width=64, height=64, steps=4)
        request = TurnRequest(f"more {self.turns[name]}", files, wishes, self.chats.get(name))
        loads, remarks = 0, list[str]()
        async with aclosing(session.chat.turn(request, asyncio.Event())) as events:
            async for event in events:
                loads += isinstance(event, Loading) and event.fraction == 1.0
                if isinstance(event, Finished):
                    remarks += event.answer.remarks
                    self.chats[name] = event.answer.chat_id or ""
        return {"loads": loads, "remarks": remarks}

    async def _unload(self, engines: EnginePool) -> None:
        """End every engine, and wait until its memory is free."""
        for status in engines.status():
            engines.kill(status.build_id)
        while engines.status():
            await asyncio.sleep(0.005)


class Session:
    """A worker process, asked line by line."""

    def __init__(self, group: Group, home: Path, *, unloads: bool) -> None:
        self.group = group
        command = group.command(__file__, "worker", str(group.path), str(home), *(["--unloads"] if unloads else []))
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line: str) -> dict[str, float]:
        """Have it do that; raises ``RuntimeError`` when it is gone."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the session is gone: {self._process.wait()}")
        found: dict[str, float] = json.loads(answer)
        return found

    def close(self) -> None:
        """Let it end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)


def compare(args: argparse.Namespace) -> int:
    """The trace in both sessions; what each took, and what was wrong."""
    names = trace(args.skip + args.turns, random.Random(args.seed))[args.skip :]
    switches = sum(one != other for one, other in pairwise(names))
    print(
        f"{args.turns} turns, {switches} changes of build: {dict(Counter(names))}; limit {args.limit} MiB", flush=True
    )
    with (
        tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two,
        Group.made(args.limit * MIB) as first, Group.made(args.limit * MIB) as second,
    ):  # fmt: skip
        for home in (one, two):
            write_builds(Path(home))
        sessions = {
            "governor": Session(first, Path(one), unloads=False),
            "unload": Session(second, Path(two), unloads=True),
        }
        wrong = measure(names, sessions, args.limit)
    print(*wrong, sep="\n")
    print(f"{len(wrong)} things were wrong")
    return int(bool(wrong))


def measure(names: Sequence[str], sessions: dict[str, Session], limit_mib: int) -> list[str]:
    """Take every turn in each session, one after the other."""
    seconds, loads, remarks = dict.fromkeys(sessions, 0.0), Counter[str](), Counter[str]()
    start: dict[str, dict[str, float]] = {}
    for who, session in sessions.items():
        for name in WANTED:  # what is imported and cached once is no leak
            session.ask(name)
        start[who] = session.ask("unload")
    for number, name in enumerate(names, 1):
        for who, session in sessions.items():
            said = session.ask(name)
            seconds[who] += said["s"]
            loads[who] += int(said["loads"])
            remarks[who] += len(said["remarks"])  # type: ignore[arg-type]
        if number % 25 == 0:
            print(f"{number:4d} turns: " + ", ".join(f"{who} {seconds[who]:.1f} s" for who in sessions), flush=True)
    wrong = []
    for who, session in sessions.items():
        end = session.ask("unload")
        held, own = ((start[who][what] / MIB, end[what] / MIB) for what in ("held", "own"))
        lost, kills = (held[1] - held[0]) / (limit_mib - held[0]), session.group.oom_kills()
        print(
            f"{who:9} {seconds[who]:7.1f} s, {loads[who]} loads, most in use {session.group.most() / MIB:.0f} MiB, "
            f"{kills} ended by the kernel, {remarks[who]} remarks; in use after unload {held[0]:.1f} MiB at the start, "
            f"{held[1]:.1f} MiB at the end ({lost:.2%} less is free); by the program {own[0]:.1f} and {own[1]:.1f}"
        )
        if kills:
            wrong.append(f"{who}: the kernel ended {kills} processes")
        if lost > TARGET_BACK:
            wrong.append(f"{who}: {lost:.1%} less memory is free than at the start")
        session.close()
    saved = 1 - seconds["governor"] / seconds["unload"]
    print(f"the governor took {saved:.0%} less time")
    return wrong if saved >= TARGET_SAVED else [*wrong, f"only {saved:.0%} of the time was saved"]


# cycles: load, break, unload.


def kill(pid: int) -> None:
    """As the kernel does."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def stop(pid: int) -> None:
    """It stands still."""
    os.kill(pid, signal.SIGSTOP)


def garble(pid: int) -> None:
    """Put garbage into what the child says: its pipe is opened once more."""
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        flags = (descriptor.parent.parent / "fdinfo" / descriptor.name).read_text().split()[3]
        is_writable = int(flags, 8) & os.O_ACCMODE == os.O_WRONLY
        if is_writable and int(descriptor.name) > 2 and descriptor.readlink().name.startswith("pipe:"):
            opened = os.open(descriptor, os.O_WRONLY)
            os.write(opened, b"\xffgarbage")
            os.close(opened)
            return


def at(kind: type[EngineEvent], number: int = 1) -> Callable[[EngineEvent, Counter[type]], bool]:
    """Whether this is the ``number``th event of a kind."""
    return lambda event, seen: isinstance(event, kind) and seen[kind] == number


FAULTS = {
    "killed at spawn": (at(Loading), kill),
    "killed at load": (at(Loading, 2), kill),
    "killed at read": (at(Reading), kill),
    "killed at write": (at(TextDelta, 3), kill),
    "stopped at load": (at(Loading, 2), stop),
    "stopped at write": (at(TextDelta, 3), stop),
    "garbage at read": (at(Reading), garble),
    "garbage at write": (at(TextDelta, 3), garble),
}
STANDING_STILL = ("stopped at load", "stopped at write")
"""These cost ``STALL_S`` each, so they come less often."""
LEAVING = "killed at leave"


@dataclass(slots=True)
class Counts:
    """What happened in all the cycles."""

    cycles: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


async def wear(args: argparse.Namespace) -> int:
    """All cycles in one pool, then the death of whole programs."""
    import psutil

    me, counts, began = psutil.Process(), Counts(), time.monotonic()
    chance = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        build = build_of(write_tiny_gguf(Path(folder) / "tiny.gguf", layers=2))
        pool = EnginePool(10**10, threads=1, stall_s=STALL_S, stay=Stay(idle_s=UNLOAD_S))
        samples: list[tuple[int, float]] = []
        for number in range(1, args.cycles + 1):
            await cycle(pool, build, fault_of(number, args.every, chance), counts)
            if number % max(args.cycles // 20, 1) == 0:
                gc.collect()
                samples.append((me.num_fds(), me.memory_info().rss / MIB))
                fds, rss = samples[-1]
                print(f"{number:5d} cycles, {time.monotonic() - began:4.0f} s: {fds} fds, {rss:.1f} MiB", flush=True)
        await pool.close()
        orphans = [program_killed(build.path, phase) for phase in ("loading", "reading", "writing") * 2]
    judge(samples, counts, sum(orphans))
    print(f"cycles: {dict(sorted(counts.cycles.items()))}")
    print(f"ends: {dict(sorted(counts.ends.items()))}")
    print(f"{len(orphans)} programs killed, {sum(orphans)} orphans")
    print(*counts.wrong[:20], sep="\n")
    print(f"{len(counts.wrong)} things were wrong")
    return int(bool(counts.wrong))


def fault_of(number: int, every: int, chance: random.Random) -> str:
    """What happens in a cycle, nothing in most."""
    if number % every:
        return ""
    if chance.random() < 0.05:
        return chance.choice(STANDING_STILL)
    return chance.choice([LEAVING, *(name for name in FAULTS if name not in STANDING_STILL)])


async def cycle(pool: EnginePool, build: Build, fault: str, counts: Counts) -> None:
    """Load, answer, unload; with a fault, the turn ends in one clear error, and the next cycle is whole again."""
    counts.cycles[fault or "whole"] += 1
    seen, done = Counter[type](), False
    when, act = FAULTS.get(fault, (None, None))
    job = asking("hi " * 40, max_tokens=400 if fault.endswith("write") else 12)
    try:
        async with aclosing(pool.run(build, job, asyncio.Event())) as events:
            async for event in events:
                seen[type(event)] += 1
                if when is not None and act is not None and not done and when(event, seen):
                    done = True
                    act(await the_child())
        counts.ends["answered"] += 1
        if done:
            counts.wrong.append(f"{fault}: answered all the same")
    except EngineFailed as error:
        counts.ends[error.message.partition(":f32 ")[2].split(":")[0][:60]] += 1
        if not done:
            counts.wrong.append(f"{fault or 'whole'}: {error.message}")
    pids = [child.pid for child in children()]
    while status := pool.status():
        if fault == LEAVING and status[0].state == "leaving":
            for pid in pids:
                kill(pid)
        await asyncio.sleep(0.001)
    if left := children():
        counts.wrong.append(f"{fault or 'whole'}: {len(left)} children are left")


async def the_child() -> int:
    """Its process id; one that was just started may not show what it is yet."""
    while not (found := children()):
        await asyncio.sleep(0.001)
    return found[0].pid


def judge(samples: Sequence[tuple[int, float]], counts: Counts, orphans: int) -> None:
    """Descriptors as many as before, memory no more than before."""
    if orphans:
        counts.wrong.append(f"{orphans} orphans")
    if len(samples) < 4:
        return
    fds = [fds for fds, _ in samples]
    if fds[-1] > fds[0]:
        counts.wrong.append(f"{fds[0]} descriptors became {fds[-1]}")
    quarter = len(samples) // 4
    memory = [rss for _, rss in samples]
    early, late = statistics.median(memory[quarter : 2 * quarter]), statistics.median(memory[-quarter:])
    print(f"memory {early:.1f} MiB in the second quarter of the cycles, {late:.1f} MiB in the last")
    if late - early > LATE_MIB:
        counts.wrong.append(f"the program grew from {early:.1f} to {late:.1f} MiB")


def program_killed(build: Path, phase: str) -> int:
    """Kill a program of its own while its engine is at ``phase``; how many of its engines outlive it for long."""
    import psutil

    command = [sys.executable, __file__, "doomed", str(build)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        while (line := program.stdout.readline()) and line.strip() != phase:
            pass
        engines = [child for child in psutil.Process(program.pid).children() if "host" in " ".join(child.cmdline())]
        program.kill()
    _, alive = psutil.wait_procs(engines, timeout=10)
    return len(alive)


async def talk_until_killed(path: Path) -> int:
    """Tell each phase, and go on for long."""
    names = {Loading: "loading", Reading: "reading", TextDelta: "writing"}
    job = asking("hi " * 2000, n_ctx=16_384, max_tokens=9000)
    async for event in EnginePool(10**10).run(build_of(path), job, asyncio.Event()):
        print(names.get(type(event), ""), flush=True)
    return 0


# ended: the kernel ends the engine for its memory.


def starve(args: argparse.Namespace) -> int:
    """Every time, others in the group take what is left while a prompt is read; the answer has to come all the same."""
    found, wrong = Counter[str](), list[str]()
    with tempfile.TemporaryDirectory() as folder:
        shape = Shape("llama", 512, 8, 8, 8, 64, 1536, 32_000)
        path = write_blank_gguf(Path(folder) / "model-Q8_0.gguf", shape, "Q8_0")
        for number in range(args.times):
            with Group.made(700 * MIB) as group:
                process = subprocess.run(
                    group.command(__file__, "starved", str(group.path), str(path)),
                    capture_output=True, text=True, check=False, timeout=300,
                )  # fmt: skip
                kills = group.oom_kills()
            print(f"{number + 1:3d}: {kills} ended by the kernel; {process.stdout.strip()}", flush=True)
            found["kills"] += kills
            found["answered"] += process.stdout.startswith("answered")
            if process.returncode or not kills or not process.stdout.startswith("answered"):
                wrong.append(process.stderr[-2000:] or process.stdout)
    print(f"{args.times} times: {dict(found)}")
    print(*wrong, sep="\n")
    return int(bool(wrong))


BALLAST = """
import time
held = []
while True:
    held.append(bytearray(b'x' * 2**20 * 4))
    print(len(held), flush=True)
    time.sleep(0.002)
"""


async def hunger(group_path: Path, path: Path) -> int:
    """One answer in a group where another process takes all that is left, until the kernel has ended an engine."""
    from nanolocal.device.memory import Memory
    from nanolocal.library.fit.formula import footprint_of
    from nanolocal.library.fit.layout import read_layout

    group = Group(group_path)
    build = replace(build_of(path), footprint=footprint_of(read_layout(path)), kv_bytes_per_token=8 * 8 * 64 * 4)
    pool, ballast = EnginePool(10**10, threads=2, gauge=Memory()), None
    words: list[str] = []
    tokens = 0

    async def feed() -> None:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", BALLAST, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        while not group.oom_kills() and await process.stdout.readline():
            pass
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    try:
        async with aclosing(pool.run(build, asking("x" * 600, n_ctx=8192, max_tokens=8), asyncio.Event())) as events:
            async for event in events:
                if isinstance(event, Reading) and ballast is None:
                    ballast = asyncio.create_task(feed())
                    await ballast
                words += [event.what] if isinstance(event, MadeDo) else []
                tokens += event.tokens if isinstance(event, TextDelta) else 0
    except NanolocalError as error:
        print(f"failed: {error.message}")
        return 1
    finally:
        await pool.close()
    print(f"answered with {tokens} tokens; {' '.join(words)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
