"""The energy that an answer took: read from the machine's own counters where they can be read, else estimated.

In this order: the counters of the processor packages (RAPL) and of the graphics cards (NVML), both whole devices with
all that ran on them meanwhile; a discharging battery, which is the whole machine; an estimate from processor time.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nanolocal.chat.messages import Measured
from nanolocal.device import nvml
from nanolocal.device.machine import estimate_joules

ESTIMATED = "estimated from processor time"
_PACKAGES = "processor package by RAPL"
_CARDS = "graphics card by NVML"
_BATTERY = "battery, its draw at the beginning and at the end times the seconds: the whole machine"
_PACKAGE = re.compile(r"(?:intel|amd)-rapl:\d+")


@dataclass(frozen=True, slots=True)
class _Package:
    """A processor package's counter in microjoules, which begins again at 0 at ``wraps_at``."""

    counter: Path
    wraps_at: int


@dataclass(frozen=True, slots=True)
class Meter:
    """Implements ``chat.ports.Meter``; ``open`` looks for what can be read here.

    ``cards`` reads the microjoules of all graphics cards, ``None`` where there are none or they do not tell.
    """

    packages: tuple[_Package, ...]
    cards: Callable[[], int | None]
    supplies: Path
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def open(cls, sysfs: Path = Path("/sys"), cards: Callable[[], int | None] | None = None) -> "Meter":
        """The meters below ``sysfs``; counters that only root may read count as not there."""
        return cls(_packages(sysfs / "class/powercap"), cards or nvml.reader(sysfs), sysfs / "class/power_supply")

    def start(self) -> "Reading":
        """Begin to measure. Two measurements at a time each see the energy of both."""
        return Reading(self)


class Reading:
    """One measurement, from when it was made."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._packages = _counters(meter.packages)
        self._cards = meter.cards()
        self._watts = None if self._packages else _battery_microwatts(meter.supplies)
        self._began = meter.clock()

    def so_far(self, cpu_seconds: float) -> Measured:
        """Joules since the beginning; ``cpu_seconds`` of work are what an estimate rests on."""
        cards = _rise(self._cards, self._meter.cards())
        packages = self._package_joules()
        if packages is not None:
            parts = [_PACKAGES] if cards is None else [_PACKAGES, _CARDS]
            return Measured(packages + (cards or 0.0), f"measured: {' and '.join(parts)}", True)
        battery = self._battery_joules()
        if battery is not None:
            return Measured(battery, f"measured: {_BATTERY}", True)
        estimate = estimate_joules(cpu_seconds)
        if cards is not None:
            return Measured(cards + estimate, f"{_CARDS}, processor {ESTIMATED}", False)
        return Measured(estimate, ESTIMATED, False)

    def _package_joules(self) -> float | None:
        now = _counters(self._meter.packages)
        if not now or len(now) != len(self._packages):
            return None
        both = zip(self._meter.packages, self._packages, now, strict=True)
        return sum((after - before) % package.wraps_at for package, before, after in both) / 1e6

    def _battery_joules(self) -> float | None:
        now = _battery_microwatts(self._meter.supplies)
        if self._watts is None or now is None:
            return None
        return (self._watts + now) / 2e6 * (self._meter.clock() - self._began)


def _packages(powercap: Path) -> tuple[_Package, ...]:
    """Whole packages only: their parts, and what repeats them under another name, would count twice."""
    zones = sorted(zone for zone in _entries(powercap) if _PACKAGE.fullmatch(zone.name))
    found = [
        _Package(zone / "energy_uj", (_read_int(zone / "max_energy_range_uj") or 2**63 - 1) + 1)
        for zone in zones
        if _read_text(zone / "name").startswith("package")
    ]
    return tuple(package for package in found if _read_int(package.counter) is not None)


def _counters(packages: tuple[_Package, ...]) -> list[int]:
    """What the counters say now; empty when one cannot be read."""
    values = [_read_int(package.counter) for package in packages]
    read = [value for value in values if value is not None]
    return read if len(read) == len(values) else []


def _battery_microwatts(supplies: Path) -> int | None:
    """What the batteries give now; ``None`` unless one of them is discharging and says how fast."""
    drawn = [
        watts
        for supply in _entries(supplies)
        if _read_text(supply / "type") == "Battery" and _read_text(supply / "status") == "Discharging"
        if (watts := _supply_microwatts(supply)) is not None
    ]
    return sum(drawn) if drawn else None


def _supply_microwatts(supply: Path) -> int | None:
    power = _read_int(supply / "power_now")
    if power is not None:
        return abs(power)
    volts, amperes = _read_int(supply / "voltage_now"), _read_int(supply / "current_now")
    return None if volts is None or amperes is None else abs(volts * amperes) // 1_000_000


def _rise(before: int | None, after: int | None) -> float | None:
    """Joules between two readings in microjoules; a counter that fell (a driver was loaded anew) tells nothing."""
    return None if before is None or after is None or after < before else (after - before) / 1e6


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _read_text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def _read_int(path: Path) -> int | None:
    text = _read_text(path)
    return int(text) if re.fullmatch(r"-?\d{1,19}", text, re.ASCII) else None
