"""Cores, memory and accelerators of this machine, as far as this process may use them."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_WATTS_PER_CORE = 7.5
"""What one busy core draws: a 30 W laptop processor with four of them. An estimate, and called one wherever shown."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Memory in bytes; ``cores`` counts what this process may run on."""

    system: str
    processor: str
    cores: int
    memory_total: int
    memory_available: int
    accelerators: tuple[str, ...] = ()

    def memory_budget(self, wanted_mb: int = 0) -> int:
        """Bytes that engines may hold: what the user allows, else what is free now less a reserve."""
        if wanted_mb:
            return min(wanted_mb * 2**20, self.memory_total)
        reserve = min(2**30, self.memory_total // 8)
        return max(self.memory_available - reserve, 0)


def inspect() -> Machine:
    """Look at this machine now."""
    import psutil

    memory = psutil.virtual_memory()
    total, available = memory.total, memory.available
    limit, used = _read_int(_CGROUP / "memory.max"), _read_int(_CGROUP / "memory.current")
    if limit is not None and limit < total:
        total = limit
        available = min(available, limit - (used or 0))
    return Machine(
        system=f"{platform.system()} {platform.release()}",
        processor=_processor_name(),
        cores=_usable_cores(),
        memory_total=total,
        memory_available=max(available, 0),
        accelerators=_accelerators(),
    )


def estimate_joules(cpu_seconds: float) -> float:
    """Energy of ``cpu_seconds`` of one busy core, from a typical laptop's power."""
    return cpu_seconds * _WATTS_PER_CORE


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _accelerators() -> tuple[str, ...]:
    found = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    names = [line.partition(":")[2].strip() for info in found for line in _lines(info) if line.startswith("Model:")]
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        names.append("Apple GPU (Metal)")
    return tuple(names)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _read_int(path: Path) -> int | None:
    lines = _lines(path)
    return int(lines[0]) if lines and lines[0].isdigit() else None
