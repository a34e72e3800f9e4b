"""NVIDIA's cards: names, memory and energy counters, by the library that comes with the driver (nvml.h).

Where it is missing, nothing is told.
"""

import ctypes
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_NAME = "nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1"
_CARDS = Path("/proc/driver/nvidia/gpus")
_MICRO_PER_MILLI = 1000
_NAME_BYTES = 96
"""NVML_DEVICE_NAME_V2_BUFFER_SIZE."""


@dataclass(frozen=True, slots=True)
class Card:
    """A graphics card; bytes of memory, ``None`` where it does not say."""

    name: str
    memory: int | None
    memory_free: int | None


class _Memory(ctypes.Structure):
    """nvmlMemory_t."""

    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


def cards(sysfs: Path, name: str = _NAME, cards: Path = _CARDS) -> list[Card]:
    """Every card with its memory; none where there is no driver, or while all sleep: asking would wake them."""
    if sys.platform == "linux" and not _is_awake(sysfs, cards):
        return []
    try:
        library = ctypes.CDLL(name)
        handles = _handles(library)
        return [_card(library, handle) for handle in handles]
    except (OSError, AttributeError):
        return []


def _card(library: ctypes.CDLL, handle: ctypes.c_void_p) -> Card:
    name, memory = ctypes.create_string_buffer(_NAME_BYTES), _Memory()
    if library.nvmlDeviceGetName(handle, name, ctypes.c_uint(_NAME_BYTES)):
        name.value = b"NVIDIA graphics"
    shown = name.value.decode("utf-8", "replace")
    if library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)):
        return Card(shown, None, None)
    return Card(shown, memory.total, memory.free)


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
        library.nvmlDeviceGetTotalEnergyConsumption  # noqa: B018 - absent in old drivers: better known now than later
    except (OSError, AttributeError):  # no driver, or one that is too old for these functions
        return lambda: None
    return lambda: _total(library, handles)


def _handles(library: ctypes.CDLL) -> list[ctypes.c_void_p]:
    count = ctypes.c_uint(0)
    if library.nvmlInit_v2() or library.nvmlDeviceGetCount_v2(ctypes.byref(count)):
        return []
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
