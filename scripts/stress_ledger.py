#!/usr/bin/env python3
"""Tries to make the ledger count wrong: any order of events, killed processes, tampering, the engine's tokens.

    scripts/stress_ledger.py machine --sequences 10000
    scripts/stress_ledger.py processes --processes 8 --operations 5000
    scripts/stress_ledger.py tampering
    scripts/stress_ledger.py tokens --answers 10000

Each prints its seed and what it found, and ends with 1 when anything was wrong. The tests do a small part of the same.
"""

import argparse
import asyncio
import json
import os
import queue
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

WORKERS = os.cpu_count() or 1
MEMORY = Path("/dev/shm")  # noqa: S108 - a file system in memory: the machine's sequences are short-lived
BATCH = 50
MOST_OTHERS = 0.02
"""Answers that may come out otherwise when they are written again."""


def main() -> int:
    """Run one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=20)
    parts = parser.add_subparsers(required=True)
    machine = parts.add_parser("machine", help="sequences of events, with every invariant after each of them")
    machine.add_argument("--sequences", type=int, default=10_000)
    machine.add_argument("--steps", type=int, default=20)
    machine.add_argument("--workers", type=int, default=WORKERS, help="processes that work at the same time")
    machine.set_defaults(run=run_machine)
    processes = parts.add_parser("processes", help="many on one wallet, one killed every half second")
    processes.add_argument("--processes", type=int, default=8)
    processes.add_argument("--operations", type=int, default=5000, help="of each process")
    processes.add_argument("--every", type=float, default=0.5, metavar="SECONDS", help="between two kills")
    processes.set_defaults(run=run_processes)
    tampering = parts.add_parser("tampering", help="every way to change a small ledger from outside")
    tampering.add_argument("--rounds", type=int, default=3, help="of some ten entries each")
    tampering.add_argument("--step", type=int, default=1, metavar="N", help="only every N-th")
    tampering.set_defaults(run=run_tampering)
    tokens = parts.add_parser("tokens", help="answers of the starter build, counted once more by another process")
    tokens.add_argument("--answers", type=int, default=10_000)
    tokens.set_defaults(run=run_tokens)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stress-", dir=MEMORY if MEMORY.is_dir() else None) as room:
        return int(args.run(args, Path(room)))


def run_machine(args: argparse.Namespace, room: Path) -> int:
    """Sequences in batches, each with a seed of its own, shared among processes."""
    from tests.fakes.homes import fork

    batches = -(-args.sequences // BATCH)
    sizes = [min(BATCH, args.sequences - number * BATCH) for number in range(batches)]
    first = args.seed * 1000
    print(f"{args.sequences} sequences of up to {args.steps} steps, seeds {first} to {first + batches - 1}")

    def share(number: int, report: Callable[[str], None]) -> None:
        signal.alarm(0)
        from hypothesis import HealthCheck, Phase, seed, settings
        from hypothesis.stateful import run_state_machine_as_test

        from tests.unit.ledger.crasher import crasher
        from tests.unit.ledger.machine import LedgerMachine
        from tests.unit.ledger.playing import Template

        own = room / str(number)
        own.mkdir(mode=0o700)
        with crasher() as ours:
            LedgerMachine.template, LedgerMachine.crasher = Template(own), ours
            for batch in range(number, batches, args.workers):
                LedgerMachine.hits.clear()
                how = settings(
                    max_examples=sizes[batch],
                    stateful_step_count=args.steps,
                    deadline=None,
                    database=None,
                    phases=(Phase.generate, Phase.shrink),
                    suppress_health_check=list(HealthCheck),
                )
                machine = type(f"Batch{batch}", (LedgerMachine,), {})
                try:
                    run_state_machine_as_test(seed(args.seed * 1000 + batch)(machine), settings=how)
                except BaseException:
                    import traceback

                    report(json.dumps({"wrong": f"batch {batch}: {traceback.format_exc()}"}))
                report(json.dumps({"sequences": sizes[batch], "hits": LedgerMachine.hits}))

    begun = time.monotonic()
    children = [fork(partial(share, number)) for number in range(args.workers)]
    hits: Counter[str] = Counter()
    done, wrong = 0, list[str]()
    for line in _lines_of([child.lines for child in children]):
        found = json.loads(line)
        if "wrong" in found:
            wrong.append(found["wrong"])
            print(found["wrong"], flush=True)
            continue
        done += found["sequences"]
        hits.update(found["hits"])
        seconds = time.monotonic() - begun
        print(
            f"{done} of {args.sequences} sequences, {done / seconds:.2f} a second, {seconds / 60:.1f} min", flush=True
        )
    for child in children:
        child.finish()
    for what, times in sorted(hits.items()):
        print(f"{what:40} {times:9}")
    print(f"seed {args.seed}: {done} sequences, {hits.total()} events, {len(wrong)} batches with something wrong")
    return int(bool(wrong) or done < args.sequences)


def run_processes(args: argparse.Namespace, room: Path) -> int:
    """Let them work, kill one every so often, then look at everything that is there."""
    from tests.fakes.homes import open_vault
    from tests.faults.crowd import Crowd, faults

    directory, chance = room / "home", random.Random(args.seed)
    open_vault(directory, None).close()
    begun, total = time.monotonic(), args.processes * args.operations
    at = {"kill": begun + args.every, "tell": begun}

    def is_due(done: int) -> bool:
        now = time.monotonic()
        if now >= at["tell"]:
            at["tell"] = now + 30
            print(f"{done} of {total} operations, {done / max(1, now - begun):.0f} a second", flush=True)
        if now < at["kill"]:
            return False
        at["kill"] = now + args.every
        return True

    heard = Crowd(directory, args.processes, args.operations, chance).run(is_due)
    seconds = time.monotonic() - begun
    print(f"{total} operations by {args.processes} processes in {seconds:.0f} s, {heard.kills} kills", flush=True)
    print(
        f"the wallet was looked at {heard.samples} times; outcomes: {dict(sorted(heard.tally().items()))}", flush=True
    )
    wrong = faults(directory, heard)
    print(*wrong[:50], f"seed {args.seed}: {len(heard.outcomes)} acknowledged, {len(wrong)} wrong", sep="\n")
    return int(bool(wrong) or len(heard.outcomes) < total)


def run_tampering(args: argparse.Namespace, room: Path) -> int:
    """Each attack on a copy, shared among processes."""
    from tests.fakes.homes import fork
    from tests.faults import tampering

    ledger = tampering.small_ledger(room, args.rounds)
    attacks = list(tampering.attacks(ledger))[:: args.step]
    print(f"{len(ledger.rows)} entries, {len(ledger.states)} states, {len(attacks)} attacks", flush=True)

    def share(number: int, report: Callable[[str], None]) -> None:
        signal.alarm(0)
        own = room / f"worker{number}"
        own.mkdir(mode=0o700)
        for attack in attacks[number::WORKERS]:
            noticed, wrong = tampering.outcome(ledger, attack, own)
            report(json.dumps([attack.name, noticed, wrong]))

    children = [fork(partial(share, number)) for number in range(WORKERS)]
    noticed: Counter[str] = Counter()
    wrong = 0
    for line in _lines_of([child.lines for child in children]):
        if not line.startswith("["):
            print(line)
            wrong += 1
            continue
        name, who, found = json.loads(line)
        noticed[who] += 1
        if noticed.total() % 500 == 0:
            print(f"{noticed.total()} of {len(attacks)} attacks", flush=True)
        wrong += len(found)
        for what in [*found, *(["not noticed"] if who == "SILENT" else [])]:
            print(f"{name}: {what}", flush=True)
    for child in children:
        child.finish()
    for who, times in sorted(noticed.items()):
        print(f"{who:10} {times:6}")
    silent, tried = noticed["SILENT"], noticed.total() - noticed["impossible"]
    print(f"{tried} attacks that the tables take, {tried - silent} noticed, {wrong} went on wrongly")
    return int(bool(silent or wrong))


def run_tokens(args: argparse.Namespace, room: Path) -> int:
    """The answers first, then the other process over all of them."""
    from tests.fakes.homes import fork, home
    from tests.faults import counting

    build, begun = counting.starter(room / "index"), time.monotonic()
    done = list[counting.Counted]()

    async def answer() -> None:
        with home(room / "home", None) as here:
            here.wallet.top_up(10**12)
            async for counted in counting.answers(here, build, args.answers, random.Random(args.seed)):
                done.append(counted)
                if len(done) % 500 == 0:
                    print(f"{len(done)} answers, {len(done) / (time.monotonic() - begun):.1f} a second", flush=True)
            here.wallet.verify((here.vault.anchor.seq, here.vault.anchor.head))

    asyncio.run(answer())

    def again(report: Callable[[str], None]) -> None:
        signal.alarm(0)
        counting.recount(build.path, iter(done), report)

    child, wrong, others = fork(again), list[str](), 0
    for job, line in zip(done, child.lines, strict=True):
        wrong += [f"seed {job.seed}: {what}" for what in counting.differences(job, json.loads(line))]
        others += counting.came_out_otherwise(job, json.loads(line))
    child.finish()
    charged = [job.charged for job in done if job.charged is not None]
    print(*wrong[:50], sep="\n")
    print(f"stopped: {dict(Counter(job.stopped for job in done))}; {len(done) - len(charged)} charged nothing")
    prompts, answers = (sum(each[name] for each in charged) for name in ("prompt_tokens", "completion_tokens"))
    print(f"{prompts} prompt tokens, {answers} answer tokens, {time.monotonic() - begun:.0f} s")
    print(f"seed {args.seed}: {len(done)} answers, {others} came out otherwise, {len(wrong)} differences in the rest")
    return int(bool(wrong) or len(done) < args.answers or others > MOST_OTHERS * len(done))


def _lines_of(sources: list[Iterator[str]]) -> Iterator[str]:
    """The lines of several processes, as they come."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read(source: Iterator[str]) -> None:
        for line in source:
            lines.put(line)
        lines.put(None)

    for source in sources:
        threading.Thread(target=read, args=(source,), daemon=True).start()
    ended = 0
    while ended < len(sources):
        line = lines.get()
        if line is None:
            ended += 1
        else:
            yield line


if __name__ == "__main__":
    sys.exit(main())
