"""How fast memory can be read here: what sets the pace at which a model writes."""

import json
import os
import platform
import threading
import time
from pathlib import Path

_BLOCK_BYTES, _MOST_BYTES = 128 * 2**20, 2**30
"""For each core, and together: more than the caches of most machines."""
_MEASURED_S = 0.4
_GUESS = 10e9
"""Bytes a second of a modest laptop, for a machine that cannot be measured."""


def memory_bandwidth(cache: Path | None = None) -> float:
    """Bytes a second that all usable cores read together; measured once, then kept in ``cache`` for this machine."""
    machine = _machine()
    known = _read(cache, machine)
    if known:
        return known
    measured = _measure(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    _keep(cache, machine, measured)
    return measured


def known_bandwidth(cache: Path) -> float:
    """What was measured before on this machine, 0 if nothing was."""
    return _read(cache, _machine())


def _measure(cores: int) -> float:
    """Look through large arrays on every core for a while; the best round counts, as others may use the machine too.

    The largest of single bytes takes so little computing that reading is all that takes time.
    """
    import numpy as np

    size = min(_BLOCK_BYTES, _MOST_BYTES // cores)
    try:
        blocks = [np.ones(size, dtype=np.uint8) for _ in range(cores)]
    except MemoryError:
        return _GUESS
    best = 0.0
    ends = time.perf_counter() + _MEASURED_S
    while not best or time.perf_counter() < ends:
        readers = [threading.Thread(target=block.max) for block in blocks]
        began = time.perf_counter()
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        best = max(best, cores * size / (time.perf_counter() - began))
    return best


def _machine() -> str:
    return f"{platform.node()} {platform.machine()} {os.cpu_count()}"


def _read(cache: Path | None, machine: str) -> float:
    """The figure kept for this machine, 0 when there is none."""
    try:
        kept = json.loads(cache.read_text(encoding="utf-8")) if cache is not None else {}
    except (OSError, ValueError):
        return 0.0
    value = kept.get("bytes_per_second") if isinstance(kept, dict) and kept.get("machine") == machine else None
    return float(value) if isinstance(value, int | float) and value > 0 else 0.0


def _keep(cache: Path | None, machine: str, measured: float) -> None:
    """Write it down; a cache that cannot be written is not an error."""
    if cache is None:
        return
    try:
        cache.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        cache.write_text(json.dumps({"machine": machine, "bytes_per_second": measured}), encoding="utf-8")
    except OSError:
        return
