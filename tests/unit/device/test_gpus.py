"""Graphics cards as the kernel and the driver show them."""

from pathlib import Path

import pytest

from nanolocal.device import gpus, nvml
from nanolocal.device.gpus import Gpu
from tests.unit.device.test_power import CC, driver

GIB = 2**30
DRIVER = """
#include <string.h>
typedef struct { unsigned long long total, free, used; } memory;
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    *handle = (void *)(unsigned long)(index + 1);
    return 0;
}
int nvmlDeviceGetName(void *handle, char *name, unsigned length) {
    if (length != 96) return 7;
    strcpy(name, (unsigned long)handle == 1 ? "NVIDIA Big" : "NVIDIA Small");
    return 0;
}
int nvmlDeviceGetMemoryInfo(void *handle, memory *info) {
    if ((unsigned long)handle == 2) return 3;
    info->total = 80ull << 30; info->free = 79ull << 30; info->used = 1ull << 30;
    return 0;
}
"""


def write_card(sysfs: Path, number: int, vendor: str, **files: str) -> None:
    device = sysfs / "class/drm" / f"card{number}" / "device"
    device.mkdir(parents=True)
    (device / "vendor").write_text(f"{vendor}\n")
    for name, text in files.items():
        (device / name).write_text(f"{text}\n")


def write_nvidia(proc: Path, model: str = "NVIDIA GeForce RTX 3060") -> None:
    card = proc / "driver/nvidia/gpus/0000:01:00.0"
    card.mkdir(parents=True)
    (card / "information").write_text(f"Model: \t\t {model}\nIRQ: 24\n")


def test_cards_of_amd_and_intel(tmp_path: Path) -> None:
    vram = {"mem_info_vram_total": str(16 * GIB), "mem_info_vram_used": str(GIB)}
    write_card(tmp_path, 0, "0x1002", device="0x744c", product_name="Radeon RX 7900", **vram)
    write_card(tmp_path, 1, "0x8086", device="0xa7a0")
    write_card(tmp_path, 2, "0x1af4", device="0x1050")
    (tmp_path / "class/drm/card0-HDMI-A-1").mkdir()
    expected = (Gpu("AMD Radeon RX 7900", 16 * GIB, 15 * GIB), Gpu("Intel graphics 0xa7a0"))
    assert gpus.gpus(tmp_path, tmp_path / "proc") == expected
    assert gpus.names(tmp_path, tmp_path / "proc") == ("AMD Radeon RX 7900", "Intel graphics 0xa7a0")


def test_numbers_that_are_none_tell_nothing(tmp_path: Path) -> None:
    write_card(tmp_path, 0, "0x1002", device="0x1", mem_info_vram_total="²", mem_info_vram_used="-1")
    assert gpus.gpus(tmp_path, tmp_path / "proc") == (Gpu("AMD graphics 0x1"),)


def test_a_machine_without_a_card(tmp_path: Path) -> None:
    assert gpus.gpus(tmp_path, tmp_path / "proc") == ()
    assert gpus.names(tmp_path, tmp_path / "proc") == ()


def test_without_the_drivers_library_its_kernel_module_still_names_the_card(tmp_path: Path) -> None:
    write_nvidia(tmp_path / "proc")
    assert gpus.names(tmp_path, tmp_path / "proc") == ("NVIDIA GeForce RTX 3060",)


@pytest.mark.skipif(CC is None, reason="no C compiler")
def test_the_drivers_library_tells_names_and_memory(tmp_path: Path) -> None:
    write_nvidia(tmp_path / "proc")
    cards = nvml.cards(tmp_path, driver(tmp_path, DRIVER), tmp_path / "proc/driver/nvidia/gpus")
    assert cards == [nvml.Card("NVIDIA Big", 80 * GIB, 79 * GIB), nvml.Card("NVIDIA Small", None, None)]


@pytest.mark.skipif(CC is None, reason="no C compiler")
def test_a_card_that_sleeps_is_not_woken(tmp_path: Path) -> None:
    write_nvidia(tmp_path / "proc")
    state = tmp_path / "bus/pci/devices/0000:01:00.0/power/runtime_status"
    state.parent.mkdir(parents=True)
    state.write_text("suspended\n")
    assert nvml.cards(tmp_path, driver(tmp_path, DRIVER), tmp_path / "proc/driver/nvidia/gpus") == []
