#!/usr/bin/env python3
"""Tries to make a vault lose something: kills, failing system calls, flipped bytes. Exit 1 when anything was lost.

    scripts/stress_vault.py kills --count 1000
    scripts/stress_vault.py calls [--fault HOW ...] [--scenario NAME ...] [--beside]    (needs strace)
    scripts/stress_vault.py flips [--step N]
    scripts/stress_vault.py backups [--step N]

The tests of tests/faults do a small part of the same.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path
from threading import local

sys.path.insert(0, str(Path(__file__).parents[1]))

from nanolocal.vault.scan import leaks
from tests.fakes.homes import fork, home, open_vault
from tests.faults import machinery
from tests.faults.machinery import POINTS, Fault, Flip, Flipper
from tests.faults.scenario import SCENARIOS, SHARED

WORKERS = os.cpu_count() or 1


def main() -> int:
    """Run one of the four."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=20)
    parts = parser.add_subparsers(required=True)
    kills = parts.add_parser("kills", help="kill -9 at random moments, one writer and two")
    kills.add_argument("--count", type=int, default=1000)
    kills.set_defaults(run=run_kills)
    calls = parts.add_parser("calls", help="a fault at each write, fsync, rename, truncation and removal")
    calls.add_argument("--fault", nargs="+", choices=POINTS, default=list(POINTS))
    calls.add_argument("--scenario", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    calls.add_argument("--beside", action="store_true", help="another process writes all the while")
    calls.set_defaults(run=run_calls)
    flips = parts.add_parser("flips", help="every byte of every file of a small vault")
    flips.add_argument("--step", type=int, default=29, metavar="N", help=run_flips.__doc__)
    flips.set_defaults(run=run_flips)
    backups = parts.add_parser("backups", help="every byte of a small backup changed, and a cut at every block")
    backups.add_argument("--step", type=int, default=1, help="only every N-th byte of the database in it")
    backups.set_defaults(run=run_backups)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stress-") as room:
        return int(args.run(args, Path(room)))


def run_kills(args: argparse.Namespace, room: Path) -> int:
    """Kill writers, alternately one and two at a time; an assertion fails where anything is lost."""
    chance, directory = random.Random(args.seed), room / "home"
    open_vault(directory).close()
    acknowledged = killed = 0
    progress = Progress("kills", args.count)
    while killed < args.count:
        processes = 1 + killed % 3 // 2
        acknowledged += machinery.kill_at_random(directory, f"r{killed}n", chance, processes)
        killed += processes
        progress.at(killed)
    with home(directory) as here:
        wrong = here.vault.verify()
    wrong += leaks(directory, ["prompt r", "answer r"])
    progress.end()
    print(f"{killed} kills, {acknowledged} turns acknowledged, 0 lost, {len(wrong)} faults: {wrong[:3]}")
    return int(bool(wrong))


def run_calls(args: argparse.Namespace, room: Path) -> int:
    """Inject each fault at each call of each scenario."""
    if not machinery.can_trace():
        print("strace is not here, or may not trace: nothing was tried")
        return 2
    whole = machinery.small_vault(room / "whole")
    faults = []
    for what in args.scenario:
        calls = machinery.count_calls(what, whole, room)
        faults += [
            Fault(what, call, step, how)
            for how in args.fault
            for call in POINTS[how]
            for step in range(1, calls[call] + 1)
        ]
    progress, place, number = Progress("faults", len(faults)), local(), count()
    tally: Counter[tuple[str, str]] = Counter()
    wrong: list[str] = []

    def one(fault: Fault) -> None:
        if not hasattr(place, "room"):
            place.room = room / f"worker{next(number)}"
            place.room.mkdir()
        struck, found = machinery.injected(fault, whole, place.room, beside=args.beside and fault.what in SHARED)
        tally[fault.what, fault.how] += struck
        wrong.extend(f"{fault}: {item}" for item in found)
        progress.step()

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(one, faults))
    progress.end()
    for (what, how), points in sorted(tally.items()):
        print(f"{what:12} {how:16} {points:5} points")
    print(f"{sum(tally.values())} faults struck, {len(wrong)} left something wrong")
    for item in wrong[:50]:
        print(f"  {item}")
    return int(bool(wrong))


def run_flips(args: argparse.Namespace, room: Path) -> int:
    """Flip every byte. In databases the check of all pages has to see it; every N-th goes the whole way as well."""
    vaults = {"log": machinery.vault_with_log(room / "log"), "snapshots": machinery.small_vault(room / "snapshots")}
    silent = 0
    for name, whole in vaults.items():
        flips = list(machinery.every_flip(whole, 1, random.Random(args.seed)))
        tally = in_processes(flips, whole, room / name, args.step)
        for (file, outcome), times in sorted(tally.items()):
            print(f"{name:10} {file:15} {outcome:10} {times:7}", flush=True)
            silent += times if outcome == "SILENT" else 0
    print(f"{silent} silent")
    return int(bool(silent))


def run_backups(args: argparse.Namespace, room: Path) -> int:
    """Damage a backup at each place, and cut it off at each block; each worker has a copy of its own."""
    file, code = machinery.small_backup(room / "small")
    with tarfile.open(file) as archive:
        database = archive.getmember("vault.db")
    inside = range(database.offset_data, database.offset_data + database.size)
    size = file.stat().st_size
    places = [at for at in range(size) if at not in inside or at % args.step == 0]

    def share(number: int, report: Callable[[str], None]) -> None:
        signal.alarm(0)
        own, chance = room / f"worker{number}", random.Random(args.seed)
        own.mkdir()
        copy = Path(shutil.copy(file, own))
        for at in places[number::WORKERS]:
            if not machinery.damage_noticed(copy, code, at, own, chance):
                report(f"SILENT at byte {at}")
        for end in range(512 * number, size, 512 * WORKERS):
            if not machinery.damage_noticed(copy, code, end, own, None):
                report(f"SILENT when cut at {end}")

    children = [fork(partial(share, number)) for number in range(WORKERS)]
    silent = [line for child in children for line in child.finish()]
    print(*silent, f"{size} bytes: {len(places)} changed, {-(-size // 512)} cuts, {len(silent)} silent", sep="\n")
    return int(bool(silent))


def examined(whole: Path, room: Path, flips: Iterable[Flip], step: int) -> Counter[tuple[str, str]]:
    """What each flip came to, by file and outcome, on a copy of this process's own."""
    directory = room.with_name(f"{room.name}-{os.getpid()}")
    shutil.copytree(whole, directory)
    flipper = Flipper(directory)
    tally: Counter[tuple[str, str]] = Counter()
    for flip in flips:
        name = flip.file if "/" not in flip.file else flip.file.partition("/")[0]
        outcome = ""
        if flip.file.endswith(".db"):
            outcome = "seen" if flipper.is_seen_by_page_check(flip) else "SILENT"
        if outcome != "seen" or flip.position % step == 0:
            outcome = flipper.outcome(flip)
        tally[name, outcome] += 1
        if outcome == "SILENT":
            print(f"SILENT {flip}", flush=True)
    return tally


def in_processes(flips: list[Flip], whole: Path, room: Path, step: int) -> Counter[tuple[str, str]]:
    """The same, shared among one process a core."""

    def share(number: int, report: Callable[[str], None]) -> None:
        signal.alarm(0)
        for (file, outcome), times in examined(whole, room, flips[number::WORKERS], step).items():
            report(f"{file} {outcome} {times}")

    children = [fork(partial(share, number)) for number in range(WORKERS)]
    tally: Counter[tuple[str, str]] = Counter()
    for line in (line for child in children for line in child.finish()):
        file, outcome, times = line.rsplit(" ", 2)
        tally[file, outcome] += int(times)
    return tally


class Progress:
    """A line on stderr with what is done and how long the rest takes."""

    def __init__(self, name: str, total: int) -> None:
        self._name, self._total, self._done, self._begun = name, total, 0, time.monotonic()

    def step(self) -> None:
        """One more."""
        self.at(self._done + 1)

    def at(self, done: int) -> None:
        """So many are done."""
        self._done = done
        left = (time.monotonic() - self._begun) / max(1, done) * max(0, self._total - done)
        sys.stderr.write(f"\r{self._name}: {done} of {self._total}, about {left / 60:.0f} min left ")
        sys.stderr.flush()

    def end(self) -> None:
        """Leave the line."""
        sys.stderr.write("\n")


if __name__ == "__main__":
    sys.exit(main())
