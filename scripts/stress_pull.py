#!/usr/bin/env python3
"""Tries to make a download come out wrong: a hub that misbehaves in every known way, kill -9, full disks, links.

    scripts/stress_pull.py --disconnects 1000 --others 40 --kills 100

Prints its seed, what each kind of fault cost, and everything that was wrong, and ends with 1 if anything was.
``--rounds`` does all of it so many times. The tests do a small part of the same.

Wrong is a file that is not right, a byte outside the folder, a token at another host, and a fault that made the client
read more than one chunk again. Bits flip as they do with real hubs: below TLS (with a certificate made for the run),
over plain http from a server that sends a digest of parts, and on the disk. Two things are measured and have no such
bound, for nobody could keep it: a file that was exchanged on its server is another file, and where a bit flips in plain
http without a digest of parts, only the hash of the whole shows that some chunk is wrong, so chunks are fetched until
it is found. That is why plain http to another machine is refused unless the user says ``--insecure``.

``sent, never read`` is what the hub had written, and the kernel had taken, when the client closed the connection at the
sight of the headers (at most 64 KiB of it came with them). It is part of the bound on what is sent for a file in all:
the file, and one chunk for each fault.
"""

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.hub import trials
from tests.hub.disks import small_disk
from tests.hub.faults import Kind
from tests.hub.trials import Figures

MEMORY = Path("/dev/shm")  # noqa: S108 - a file system in memory: a thousand files are written


def main() -> int:
    """Run everything, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--disconnects", type=int, default=1000)
    parser.add_argument("--others", type=int, default=40, help="of every other kind of fault")
    parser.add_argument("--kills", type=int, default=100)
    args = parser.parse_args()
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        os.environ.pop(name, None)
        os.environ.pop(name.upper(), None)
    figures, begun = Figures(), time.monotonic()
    for number in range(args.rounds):
        with tempfile.TemporaryDirectory(prefix="stress-", dir=MEMORY if MEMORY.is_dir() else None) as room:
            for step in steps(args, Path(room), random.Random(args.seed + number), figures):
                print(f"{time.monotonic() - begun:6.0f} s  {step}", flush=True)
    tell(figures)
    print(*figures.violations[:50], sep="\n")
    print(f"seed {args.seed}, {args.rounds} rounds: {len(figures.violations)} violations")
    return int(bool(figures.violations))


def steps(args: argparse.Namespace, room: Path, chance: random.Random, figures: Figures) -> Iterator[str]:
    """One round; what was done, as it goes."""
    trials.random_faults(room / "disconnects", chance, figures, {Kind.DISCONNECT: args.disconnects})
    yield f"{args.disconnects} disconnects"
    trials.random_faults(room / "mixed", chance, figures, dict.fromkeys(trials.MIXED, args.others))
    yield f"{args.others} of each of {len(trials.MIXED)} kinds, mixed"
    trials.flipped_below_tls(room / "tls", chance, figures, args.others)
    yield f"{args.others} files with bits flipped below TLS"
    for sends_digest in (True, False):
        trials.flipped(room / f"flipped{sends_digest}", chance, figures, args.others, sends_digest=sends_digest)
    yield f"{args.others} files with bits flipped in plain http, with a digest of parts and without"
    trials.flipped_on_the_disk(room / "flipped", chance, figures, args.others)
    yield f"{args.others} files with bits flipped on the disk"
    trials.changed(room / "changed", chance, figures, args.others)
    yield f"{args.others} files exchanged half-way"
    trials.killed(room / "killed", chance, figures, args.kills)
    yield f"{args.kills} processes killed"
    trials.strange_files(room / "strange", chance, figures)
    trials.names(room / "names", chance, figures)
    trials.limited_file(room / "limited", chance, figures)
    yield "links, names and a limited file"
    with small_disk(room / "disk") as disk:
        if disk is not None:
            trials.full_disk(disk, chance, figures)
        yield "full disk" if disk is not None else "full disk: left out, mounting a small one needs root"


def tell(figures: Figures) -> None:
    """The figures, as one table."""
    print(f"\n{'':42} {'':6} {'bytes read again':>20} {'sent, never read':>20}")
    print(f"{'fault':42} {'times':>6} {'mean':>10} {'max':>9} {'mean':>10} {'max':>9}")
    for what, costs in sorted(figures.again.items()):
        columns = [f"{statistics.fmean(each):10,.0f} {max(each):9,}" for each in (costs, figures.unread.get(what, [0]))]
        print(f"{what:42} {len(costs):6} {' '.join(columns)}")
    print(f"{'without a bound':42} {'files':>6} {'sent again, mean':>20} {'max':>20}")
    for what, costs in sorted(figures.unbounded.items()):
        print(f"{what:42} {len(costs):6} {statistics.fmean(costs):20,.0f} {max(costs):20,}")
    print("refused, or harmless")
    for what, times in sorted(figures.refused.items()):
        print(f"{what:42} {times:6}")
    faults = sum(len(costs) for costs in figures.again.values())
    print(f"{faults} faults in {figures.files} files, {figures.runs} runs; chunks of {trials.CHUNK:,}, at kill -9 x4")
    print(f"{figures.content:,} bytes of files, {figures.served:,} bytes sent by the hub")


if __name__ == "__main__":
    sys.exit(main())
