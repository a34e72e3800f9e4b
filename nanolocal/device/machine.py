"""Cores, memory and accelerators of this machine, as far as this process may use them."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from nanolocal.device import cgroup, gpus

_WATTS_PER_CORE = 7.5
"""What one busy core draws: a 30 W laptop processor with four of them. An estimate, and called one wherever shown."""


@dataclass(frozen=True, slots=True)
class Battery:
    """How full it is, in percent, and whether the machine is plugged in; ``None`` where that is not known."""

    percent: int
    is_plugged_in: bool | None


@dataclass(frozen=True, slots=True)
class Machine:
    """Memory in bytes; ``cores`` counts what this process may run on, and ``accelerators`` names graphics cards.

    ``cores_limit`` and ``memory_limit`` are those of a container or service manager: processors' worth of time, and
    bytes, which ``memory_total`` and ``memory_available`` respect.
    """

    system: str
    processor: str
    cores: int
    memory_total: int
    memory_available: int
    accelerators: tuple[str, ...] = ()
    cores_physical: int = 0
    cores_logical: int = 0
    cores_limit: float | None = None
    memory_limit: int | None = None
    swap_total: int = 0
    swap_free: int = 0
    battery: Battery | None = None

    @property
    def fingerprint(self) -> str:
        """What a measured speed depends on: another one, and it has to be measured anew."""
        cards = "".join(f", {card}" for card in self.accelerators)
        return f"{self.processor}, {self.cores} of {self.cores_logical} cores{cards}"

    def memory_budget(self, wanted_mb: int = 0) -> int:
        """Bytes that engines may hold: what the user allows, else what is free now less a reserve."""
        if wanted_mb:
            return min(wanted_mb * 2**20, self.memory_total)
        reserve = min(2**30, self.memory_total // 8)
        return max(self.memory_available - reserve, 0)


def inspect() -> Machine:
    """Look at this machine now; takes a few milliseconds."""
    import psutil

    memory, swap, limited = psutil.virtual_memory(), psutil.swap_memory(), cgroup.limits()
    total, available = memory.total, memory.available
    if limited.memory is not None and limited.memory < total:
        total = limited.memory
        available = min(available, limited.memory_free or 0)
    return Machine(
        system=f"{platform.system()} {platform.release()}",
        processor=_processor_name(),
        cores=_usable_cores(),
        memory_total=total,
        memory_available=max(available, 0),
        accelerators=gpus.names(),
        cores_physical=psutil.cpu_count(logical=False) or 0,
        cores_logical=psutil.cpu_count() or 0,
        cores_limit=limited.cores,
        memory_limit=limited.memory if limited.memory == total else None,
        swap_total=swap.total,
        swap_free=swap.free,
        battery=_battery(),
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


def _battery() -> Battery | None:
    """The first battery; systems without a way to tell have none."""
    import psutil

    try:
        found = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    except (OSError, ValueError):
        return None
    return None if found is None else Battery(round(found.percent), found.power_plugged)
