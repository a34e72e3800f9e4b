#!/usr/bin/env python3
"""How much faster two Dask workers fill the table of probes than one, a thread each, and whether the plan is the same.

    .venv/bin/python scripts/bench_cluster.py [--build FILE] [--chunks N] [--ctx N] [--types A,B] [--tensors N]
                                              [--rounds N] [--json]

One, two, two, one worker, and so on, all on this machine and over TLS, in one run; the figures are medians. The time
is that of the table alone: the build has been sent and loaded before, by probes that are not counted.

``busy`` is the load of this machine per core when it began. Where other programs want the cores, seconds say little;
``by_cpu`` is the processor time of one worker over that of the busier one of two: how much faster they are with a core
each.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import psutil  # noqa: E402

from nanolocal.compress.measuring.calibration import built_in  # noqa: E402
from nanolocal.compress.native.quantizer import tensors_of  # noqa: E402
from nanolocal.compress.search.losses import Table  # noqa: E402
from nanolocal.compress.search.program import choose  # noqa: E402
from nanolocal.compress.weights.encodings import tensor_bytes  # noqa: E402
from nanolocal.compress.work.cluster import Cluster, Public, Scheduler  # noqa: E402
from nanolocal.compress.work.tasks import Base, Chunks, Probe, Source, Tokenize  # noqa: E402
from nanolocal.compress.work.workers import Workers  # noqa: E402
from nanolocal.paths import starter_models  # noqa: E402

STARTER = starter_models() / "nanolocal-starter-text/nanolocal-starter-text-Q8_0.gguf"


@dataclass(frozen=True, slots=True)
class Work:
    """The probes of a table, tensor by tensor, and what they are scored on."""

    source: Source
    chunks: Chunks
    base: str
    tensors: tuple[str, ...]
    types: tuple[str, ...]

    def probes(self) -> list[Probe]:
        """All of them."""
        return [
            Probe(self.source, tensor, kind, self.chunks, self.base) for tensor in self.tensors for kind in self.types
        ]


@dataclass(frozen=True, slots=True)
class Farm:
    """A scheduler, and the processes of its workers."""

    scheduler: Scheduler
    workers: tuple[psutil.Process, ...]

    def cpu_seconds(self) -> list[float]:
        """What each has used so far."""
        return [times.user + times.system for times in (worker.cpu_times() for worker in self.workers)]


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Two Dask workers against one on the table of probes.")
    parser.add_argument("--build", type=Path, default=STARTER, metavar="FILE", help="a GGUF (default: the starter)")
    parser.add_argument("--chunks", type=int, default=4, metavar="N", help="pieces of text (default 4)")
    parser.add_argument("--ctx", type=int, default=256, metavar="N", help="tokens of each (default 256)")
    parser.add_argument("--types", default="Q3_K,Q4_K,Q6_K", metavar="A,B", help="encodings (default Q3_K,Q4_K,Q6_K)")
    parser.add_argument("--tensors", type=int, default=0, metavar="N", help="only so many tensors (default all)")
    parser.add_argument("--rounds", type=int, default=2, metavar="N", help="times one-two-two-one (default 2)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    args = parser.parse_args(arguments)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        report = measure(Path(scratch), args)
    report["busy"] = load / (os.cpu_count() or 1)
    if args.json:
        print(json.dumps(report))
    else:
        for name, value in report.items():
            print(f"{name:16} {value:.3f}" if isinstance(value, float) else f"{name:16} {value}")
    return 0


def measure(scratch: Path, args: argparse.Namespace) -> dict[str, object]:
    """Seconds of the table with one worker and with two, and their plans."""
    work = asyncio.run(prepared(scratch, args))
    seconds: dict[int, list[float]] = {1: [], 2: []}
    cpu: dict[int, list[float]] = {1: [], 2: []}
    tables = []
    with farm(scratch, 1) as one, farm(scratch, 2) as two:
        for _ in range(args.rounds):
            for workers in (1, 2, 2, 1):
                spent, busiest, found = asyncio.run(filled(scratch, one if workers == 1 else two, work))
                seconds[workers].append(spent)
                cpu[workers].append(busiest)
                tables.append(found)
                print(f"{workers} worker(s): {spent:.1f} s, {busiest:.1f} s of processor time", file=sys.stderr)
    plans = [plan(work, found) for found in tables]
    one_s, two_s = (statistics.median(seconds[workers]) for workers in (1, 2))
    one_cpu_s, two_cpu_s = (statistics.median(cpu[workers]) for workers in (1, 2))
    return {
        "probes": len(work.probes()),
        "one_s": one_s,
        "two_s": two_s,
        "times_as_fast": one_s / two_s,
        "one_cpu_s": one_cpu_s,
        "two_cpu_s": two_cpu_s,
        "by_cpu": one_cpu_s / two_cpu_s,
        "same_numbers": all(found == tables[0] for found in tables),
        "same_plan": all(each == plans[0] for each in plans),
    }


async def prepared(scratch: Path, args: argparse.Namespace) -> Work:
    """Tokens of the built-in text, and the reference logits."""
    work = scratch / "work"
    work.mkdir()
    source = Source(str(args.build))
    runner = Workers(work)
    try:
        text = built_in().calibration_text()
        chunks = await runner.run(Tokenize(source, text, n_ctx=args.ctx, most=args.chunks))
        assert isinstance(chunks, Chunks)
        await runner.run(Base(source, chunks, str(work / "base")))
    finally:
        runner.close()
    matrices = [name for name, tensor in tensors_of(args.build).items() if len(tensor.shape) > 1]
    return Work(
        source, chunks, str(work / "base"), tuple(matrices[: args.tensors or None]), tuple(args.types.split(","))
    )


@contextmanager
def farm(scratch: Path, workers: int) -> Iterator[Farm]:
    """A scheduler and so many workers with one thread each, in processes of their own."""
    from distributed import LocalCluster, Security

    security = Security.temporary()
    files = []
    for name in ("tls_ca_file", "tls_client_cert", "tls_client_key"):
        files.append(scratch / f"{workers}-{name}")
        files[-1].write_text(getattr(security, name))
    settings = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    settings["DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED"] = "False"
    with LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        security=security,
        dashboard_address="127.0.0.1:0",
        local_directory=str(scratch / f"space-{workers}"),
        env={"NANOLOCAL_HOME": str(scratch / f"home-{workers}")} | settings,
    ) as cluster:
        processes = tuple(psutil.Process(worker.process.pid) for worker in cluster.workers.values())
        yield Farm(Scheduler(cluster.scheduler_address, *files), processes)


async def filled(scratch: Path, farm: Farm, work: Work) -> tuple[float, float, list[float]]:
    """Seconds, those of processor time of the busiest worker, and what every probe found."""
    probes = work.probes()
    cluster = Cluster(farm.scheduler, Workers(scratch / "work"), Public(chunks=(work.chunks,)))
    try:
        workers = len(farm.workers)
        await cluster.join()
        assert len(cluster.addresses) == workers
        await asyncio.gather(*(cluster.run(probes[0], lambda done: None) for _ in range(2 * workers)))
        began, before = time.perf_counter(), farm.cpu_seconds()
        found = await asyncio.gather(*(cluster.run(probe, lambda done: None) for probe in probes))
        spent = time.perf_counter() - began
        busiest = max(after - earlier for earlier, after in zip(before, farm.cpu_seconds(), strict=True))
        return spent, busiest, [float(value) for value in found if isinstance(value, float)]
    finally:
        await cluster.leave()


def plan(work: Work, found: Sequence[float]) -> dict[str, str]:
    """The types that the integer program chooses, in the middle of what is possible."""
    shapes = {name: tensor.shape for name, tensor in tensors_of(Path(work.source.path)).items()}
    sizes = np.array([[tensor_bytes(kind, shapes[name]) for kind in work.types] for name in work.tensors], np.int64)
    table = Table(work.tensors, work.types, np.array(found).reshape(sizes.shape), sizes, "measured KL divergence")
    return choose(table, int(sizes.min(1).sum() + sizes.max(1).sum()) // 2)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
