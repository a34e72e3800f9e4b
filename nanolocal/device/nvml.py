"""NVIDIA's own energy counters, by the library that comes with the driver. Where it is missing, there is no counter."""

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path

_NAME = "nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1"
_CARDS = Path("/proc/driver/nvidia/gpus")
_MICRO_PER_MILLI = 1000


def reader(sysfs: Path, name: str = _NAME, cards: Path = _CARDS) -> Callable[[], int | None]:
    """A function that gives the microjoules of all cards since the driver was loaded; ``None`` if none tells them.

    The library is loaded when it is first asked, and not while every card sleeps: loading it would wake them.
    """
    loaded: list[Callable[[], int | None]] = []

    def read() -> int | None:
        if not loaded:
            if sys.platform == "linux" and not _is_awake(sysfs, cards):
                return None
            loaded.append(_load(name))
        return loaded[0]()

    return read


def _is_awake(sysfs: Path, cards: Path) -> bool:
    try:
        addresses = [card.name for card in cards.iterdir()]
    except OSError:
        return False
    return any(_power_state(sysfs, address) != "suspended" for address in addresses)


def _power_state(sysfs: Path, address: str) -> str:
    try:
        return (sysfs / "bus/pci/devices" / address / "power/runtime_status").read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _load(name: str) -> Callable[[], int | None]:
    try:
        library = ctypes.CDLL(name)
        handles = _handles(library)
    except (OSError, AttributeError):  # no driver, or one that is too old for these functions
        return lambda: None
    return lambda: _total(library, handles)


def _handles(library: ctypes.CDLL) -> list[ctypes.c_void_p]:
    count = ctypes.c_uint(0)
    if library.nvmlInit_v2() or library.nvmlDeviceGetCount_v2(ctypes.byref(count)):
        return []
    library.nvmlDeviceGetTotalEnergyConsumption  # noqa: B018 - absent in old drivers: better known now than later
    handles = []
    for index in range(count.value):
        handle = ctypes.c_void_p()
        if library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(handle)) == 0:
            handles.append(handle)
    return handles


def _total(library: ctypes.CDLL, handles: list[ctypes.c_void_p]) -> int | None:
    """The sum over the cards that have a counter; older ones (before Volta) have none."""
    total, told = 0, False
    for handle in handles:
        millijoules = ctypes.c_ulonglong(0)
        if library.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(millijoules)) == 0:
            total, told = total + millijoules.value, True
    return total * _MICRO_PER_MILLI if told else None
