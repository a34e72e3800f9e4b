"""Graphics cards and their memory: NVIDIA's by its own library, others by what the Linux kernel tells, Apple's by name.

A card without memory of its own, as in most laptops, uses the machine's: its ``memory`` is ``None``.
"""

import platform
import re
from dataclasses import dataclass
from pathlib import Path

from nanolocal.device import nvml

_CARD = re.compile(r"card\d+")
_NVIDIA = "driver/nvidia/gpus"
_MAKERS = {"0x1002": "AMD", "0x8086": "Intel"}
"""PCI ids of makers; NVIDIA's cards are asked for through its library."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A graphics card: its memory and what is free of it, in bytes, ``None`` where it has none or nobody says."""

    name: str
    memory: int | None = None
    memory_free: int | None = None


def gpus(sysfs: Path = Path("/sys"), proc: Path = Path("/proc")) -> tuple[Gpu, ...]:
    """The graphics cards of this machine; loads the driver's library, and wakes no card that sleeps."""
    told = [Gpu(card.name, card.memory, card.memory_free) for card in nvml.cards(sysfs, cards=proc / _NVIDIA)]
    return (*(told or _nvidia(proc / _NVIDIA)), *_drm(sysfs / "class/drm"), *_apple())


def names(sysfs: Path = Path("/sys"), proc: Path = Path("/proc")) -> tuple[str, ...]:
    """What they are called, from the kernel alone: quick."""
    return tuple(gpu.name for gpu in (*_nvidia(proc / _NVIDIA), *_drm(sysfs / "class/drm"), *_apple()))


def _apple() -> list[Gpu]:
    is_apple = platform.system() == "Darwin" and platform.machine() == "arm64"
    return [Gpu("Apple GPU (Metal)")] if is_apple else []


def _nvidia(cards: Path) -> list[Gpu]:
    lines = [line for info in sorted(cards.glob("*/information")) for line in _text(info).splitlines()]
    return [Gpu(line.partition(":")[2].strip()) for line in lines if line.startswith("Model:")]


def _drm(folder: Path) -> list[Gpu]:
    """Documentation/gpu/amdgpu/driver-misc.rst: mem_info_vram_total and mem_info_vram_used, in bytes."""
    try:
        entries = sorted(entry for entry in folder.iterdir() if _CARD.fullmatch(entry.name))
    except OSError:
        return []
    found = []
    for entry in entries:
        device = entry / "device"
        maker = _MAKERS.get(_text(device / "vendor"))
        if maker is None:
            continue
        total, used = _number(device / "mem_info_vram_total"), _number(device / "mem_info_vram_used")
        name = _text(device / "product_name") or f"graphics {_text(device / 'device')}"
        free = None if total is None or used is None else max(total - used, 0)
        found.append(Gpu(name if name.startswith(maker) else f"{maker} {name}", total, free))
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isdecimal() and text.isascii() else None
