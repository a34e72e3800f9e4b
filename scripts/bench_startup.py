#!/usr/bin/env python3
"""What starting costs: the help text, each room's import and the terminal app's first paint, next to a bare Python.

    .venv/bin/python scripts/bench_startup.py [--repeat N] [--json]

Every case runs in fresh interpreters, the cases in turn, N times, after one start that does not count; the figures are
medians. All are of compiled modules, as installed, whatever the environment says of bytecode. A case that fails is
reported as such. Exit code 1 when one did.
"""

import argparse
import fcntl
import json
import os
import pty
import re
import select
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "diffusers", "transformers", "llama_cpp", "numpy", "textual", "cryptography", "sqlcipher3")
PAINT_TIMEOUT_S = 60.0
PAINTED_LETTERS = 20
"""So many letters on the screen count as the first paint: more than a cleared screen, less than any page."""

_NOTE = f"""
import json, os, sys
def note(*_):
    with open(os.environ["BENCH_LOADED"], "w") as file:
        json.dump([name for name in {HEAVY!r} if name in sys.modules], file)
"""
_AT_EXIT = f"{_NOTE}\nimport atexit; atexit.register(note)\n"
_ON_SIGNAL = f"{_NOTE}\nimport signal; signal.signal(signal.SIGUSR1, note)\n"
_ENTRY = "sys.argv[0] = 'nanolocal'\nfrom nanolocal.cli.main import entry; entry()"
_IMPORT_ROOM = """
import importlib, pkgutil
room = importlib.import_module(sys.argv[1])
for found in pkgutil.walk_packages(room.__path__, room.__name__ + "."):
    if not found.name.endswith("__main__"): importlib.import_module(found.name)
"""
_ESCAPES = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]P_^][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-~])")


@dataclass(frozen=True, slots=True)
class Sample:
    """One start: seconds on the clock and of the processor, and the heavy packages it loaded."""

    wall_s: float
    cpu_s: float
    loads: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One case: medians over its samples, the CPU time as a multiple of the bare Python's, or why it failed."""

    case: str
    wall_s: float = 0.0
    cpu_s: float = 0.0
    cpu_ratio: float = 0.0
    loads: tuple[str, ...] = ()
    failure: str = ""


class CaseFailed(Exception):
    """The case's program did not do its work."""


Case = Callable[[Path], Sample]


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description="What starting nanolocal costs, next to a bare Python.")
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="starts of each case (default 5)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as compiled:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = compiled
        rows = measure(cases(), max(1, args.repeat))
    print(json.dumps({"rows": [asdict(row) for row in rows]}) if args.json else table(rows))
    return int(any(row.failure for row in rows))


def cases() -> dict[str, Case]:
    """Every case by name; the first is what the others are compared with."""
    rooms = sorted(path.parent.name for path in (ROOT / "nanolocal").glob("*/__init__.py"))
    return {
        "python -c pass": program("pass"),
        "nanolocal --help": program(_AT_EXIT + _ENTRY, "--help"),
        "models list": program(_AT_EXIT + _ENTRY, "models", "list"),
        "import router": program("import nanolocal.routing.router"),
        **{f"import {room}": program(_AT_EXIT + _IMPORT_ROOM, f"nanolocal.{room}") for room in rooms},
        "first paint": first_paint,
    }


def measure(todo: dict[str, Case], repeat: int) -> list[Row]:
    """The cases in turn, so that a busy moment of the machine does not fall on one of them alone."""
    samples: dict[str, list[Sample]] = {name: [] for name in todo}
    failures: dict[str, str] = {}
    for turn in range(repeat + 1):
        for name in [name for name in todo if name not in failures]:
            try:
                with tempfile.TemporaryDirectory() as home:
                    sample = todo[name](Path(home))
            except CaseFailed as problem:
                failures[name] = str(problem)
            else:
                samples[name] += [sample] if turn else []
    base = statistics.median(sample.cpu_s for sample in next(iter(samples.values())))
    return [summary(name, taken, base, failures.get(name, "")) for name, taken in samples.items()]


def summary(name: str, samples: list[Sample], base_cpu_s: float, failure: str) -> Row:
    """One row of the table."""
    if failure:
        return Row(name, failure=failure)
    cpu_s = statistics.median(sample.cpu_s for sample in samples)
    wall_s = statistics.median(sample.wall_s for sample in samples)
    return Row(name, wall_s, cpu_s, cpu_s / base_cpu_s, samples[-1].loads)


def program(code: str, *arguments: str) -> Case:
    """A case that runs Python code to its end."""

    def run(home: Path) -> Sample:
        errors = home / "stderr"
        with errors.open("wb") as stderr:
            begun = time.perf_counter()
            child = subprocess.Popen(
                [sys.executable, "-c", code, *arguments],
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env=environment(home),
            )
            _, status, usage = os.wait4(child.pid, 0)
            wall_s = time.perf_counter() - begun
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            said = errors.read_text(errors="replace").strip().splitlines()
            raise CaseFailed(said[-1] if said else f"exit code {child.returncode}")
        return Sample(wall_s, usage.ru_utime + usage.ru_stime, loaded(home))

    return run


def first_paint(home: Path) -> Sample:
    """The terminal app in a terminal of 80x24, up to the first letters on its screen."""
    terminal, inner = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    begun = time.perf_counter()
    app = subprocess.Popen(
        [sys.executable, "-c", _ON_SIGNAL + _ENTRY],
        stdin=inner,
        stdout=inner,
        stderr=inner,
        start_new_session=True,
        env=environment(home),
    )
    os.close(inner)
    try:
        read_until_painted(terminal, begun + PAINT_TIMEOUT_S)
        wall_s = time.perf_counter() - begun
        spent = psutil.Process(app.pid).cpu_times()
        app.send_signal(signal.SIGUSR1)
        drain(terminal, home / "loaded", time.perf_counter() + 5)
    finally:
        app.kill()
        app.wait()
        os.close(terminal)
    return Sample(wall_s, spent.user + spent.system, loaded(home))


def read_until_painted(terminal: int, deadline: float) -> None:
    """Read the app's output until letters, not counting escape sequences, are on its own (alternate) screen."""
    output = b""
    while time.perf_counter() < deadline:
        chunk = read(terminal)
        if chunk is None:
            break
        output += chunk
        _, entered, screen = output.partition(b"\x1b[?1049h")
        if entered and len(re.findall(rb"[A-Za-z]", _ESCAPES.sub(b"", screen))) >= PAINTED_LETTERS:
            return
    said = _ESCAPES.sub(b"", output).decode(errors="replace").strip().splitlines()
    raise CaseFailed(said[-1] if said else "nothing was painted")


def drain(terminal: int, awaited: Path, deadline: float) -> None:
    """Keep the app's output flowing until it has written the awaited file."""
    while not loaded(awaited.parent) and time.perf_counter() < deadline:
        if read(terminal) is None:
            return


def read(terminal: int) -> bytes | None:
    """What there is within a tenth of a second; None when the other side has closed."""
    if not select.select([terminal], [], [], 0.1)[0]:
        return b""
    try:
        return os.read(terminal, 65536) or None
    except OSError:
        return None


def environment(home: Path) -> dict[str, str]:
    """The caller's, with a home of its own and a place to note the loaded packages."""
    own = {"NANOLOCAL_HOME": str(home / "nanolocal"), "BENCH_LOADED": str(home / "loaded"), "TERM": "xterm-256color"}
    return os.environ | own


def loaded(home: Path) -> tuple[str, ...]:
    """The heavy packages that the program noted; none when it has noted nothing."""
    try:
        return tuple(json.loads((home / "loaded").read_text()))
    except (FileNotFoundError, json.JSONDecodeError):
        return ()


def table(rows: Sequence[Row]) -> str:
    """The rows for people."""
    base = rows[0].cpu_s
    lines = [f"{'':18}{'wall ms':>9}{'CPU ms':>9}{'beyond ms':>11}{'x python':>10}  loads"]
    for row in rows:
        if row.failure:
            lines.append(f"{row.case:18}  failed: {row.failure}")
        else:
            beyond = f"{(row.cpu_s - base) * 1000:11.1f}"
            figures = f"{row.wall_s * 1000:9.0f}{row.cpu_s * 1000:9.0f}{beyond}{row.cpu_ratio:10.1f}"
            lines.append(f"{row.case:18}{figures}  {' '.join(row.loads) or '-'}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
