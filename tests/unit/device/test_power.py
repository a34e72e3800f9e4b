"""Energy from real counter files in the layout of the kernel, from a real shared library, and by estimate."""

import shutil
import subprocess
from pathlib import Path

import pytest

from nanolocal.device import nvml
from nanolocal.device.machine import estimate_joules
from nanolocal.device.power import Meter

CC = shutil.which("cc")


def zone(sysfs: Path, name: str, called: str, energy: int, wraps: int = 262_143_328_850) -> Path:
    """A zone of the kernel's power capping; returns its counter."""
    folder = sysfs / "class/powercap" / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{called}\n")
    (folder / "max_energy_range_uj").write_text(f"{wraps}\n")
    (folder / "energy_uj").write_text(f"{energy}\n")
    return folder / "energy_uj"


def battery(sysfs: Path, **facts: str) -> Path:
    folder = sysfs / "class/power_supply/BAT0"
    folder.mkdir(parents=True)
    for name, value in ({"type": "Battery", "status": "Discharging"} | facts).items():
        (folder / name).write_text(f"{value}\n")
    return folder


def no_cards() -> int | None:
    return None


def test_the_packages_are_added_up_and_their_parts_left_out(tmp_path: Path) -> None:
    first = zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 7)
    others = [
        zone(tmp_path, "intel-rapl:0:0", "core", 5),
        zone(tmp_path, "intel-rapl:2", "psys", 5),
        zone(tmp_path, "intel-rapl-mmio:0", "package-0", 5),
    ]
    reading = Meter.open(tmp_path, no_cards).start()
    first.write_text("3500000\n")
    second.write_text("1500007\n")
    for other in others:
        other.write_text("99999999\n")
    measured = reading.so_far(1.0)
    assert (measured.joules, measured.is_measured) == (4.0, True)
    assert measured.source == "measured: processor package by RAPL"


def test_a_counter_that_began_again_is_no_loss(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 9_000_000, wraps=9_999_999)
    reading = Meter.open(tmp_path, no_cards).start()
    counter.write_text("500000\n")
    assert reading.so_far(1.0).joules == 1.5


@pytest.mark.parametrize("content", ["", "secret", "-", "1e5", "9" * 30])
def test_a_counter_that_cannot_be_read_is_not_there(tmp_path: Path, content: str) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 1)
    counter.write_text(content)
    measured = Meter.open(tmp_path, no_cards).start().so_far(2.0)
    assert (measured.joules, measured.is_measured) == (estimate_joules(2.0), False)
    assert measured.source == "estimated from processor time"


def test_a_counter_that_vanishes_meanwhile_leaves_the_estimate(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 1)
    reading = Meter.open(tmp_path, no_cards).start()
    counter.unlink()
    assert not reading.so_far(2.0).is_measured


@pytest.mark.parametrize("facts", [{"power_now": "12000000"}, {"voltage_now": "12000000", "current_now": "-1000000"}])
def test_a_discharging_battery_tells_what_the_whole_machine_draws(tmp_path: Path, facts: dict[str, str]) -> None:
    battery(tmp_path, **facts)
    moments = iter([100.0, 110.0])
    meter = Meter.open(tmp_path, no_cards)
    measured = Meter((), no_cards, meter.supplies, lambda: next(moments)).start().so_far(1.0)
    assert (measured.joules, measured.is_measured) == (120.0, True)
    assert "battery" in measured.source
    assert "times the seconds" in measured.source


@pytest.mark.parametrize("facts", [{"status": "Charging", "power_now": "9"}, {"type": "Mains", "power_now": "9"}, {}])
def test_a_battery_that_does_not_tell_is_not_used(tmp_path: Path, facts: dict[str, str]) -> None:
    battery(tmp_path, **facts)
    assert not Meter.open(tmp_path, no_cards).start().so_far(1.0).is_measured


def test_cards_are_added_to_the_packages_and_never_stand_for_the_processor(tmp_path: Path) -> None:
    cards = iter([1_000_000, 4_000_000])
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 0)
    reading = Meter.open(tmp_path, lambda: next(cards)).start()
    counter.write_text("2000000")
    both = reading.so_far(1.0)
    assert (both.joules, both.is_measured) == (5.0, True)
    assert both.source == "measured: processor package by RAPL and graphics card by NVML"

    cards = iter([1_000_000, 4_000_000])
    alone = Meter.open(tmp_path / "empty", lambda: next(cards)).start().so_far(1.0)
    assert (alone.joules, alone.is_measured) == (3.0 + estimate_joules(1.0), False)
    assert alone.source == "graphics card by NVML, processor estimated from processor time"


DRIVER = """
static unsigned long long told = 0;
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 3; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    *handle = (void *)(unsigned long)(index + 1);
    return 0;
}
int nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *mj) {
    if ((unsigned long)handle == 2) return 3;
    *mj = (told += 1000);
    return 0;
}
"""


def driver(folder: Path, source: str) -> str:
    """A library with the functions of the driver's, built here: no card is needed to prove how they are called."""
    assert CC is not None
    library = folder / "libnvidia-ml.so.1"
    (folder / "nvml.c").write_text(source)
    subprocess.run([CC, "-shared", "-fPIC", "-o", library, folder / "nvml.c"], check=True)
    return str(library)


@pytest.mark.skipif(CC is None, reason="no C compiler")
def test_every_card_that_has_a_counter_is_read(tmp_path: Path) -> None:
    (tmp_path / "gpus/0000:01:00.0").mkdir(parents=True)
    read = nvml.reader(tmp_path, driver(tmp_path, DRIVER), tmp_path / "gpus")
    assert read() == 3_000_000
    assert read() == 7_000_000


@pytest.mark.skipif(CC is None, reason="no C compiler")
def test_an_old_driver_has_no_counter(tmp_path: Path) -> None:
    (tmp_path / "gpus/0000:01:00.0").mkdir(parents=True)
    old = DRIVER.replace("nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetPowerUsage")
    assert nvml.reader(tmp_path, driver(tmp_path, old), tmp_path / "gpus")() is None


def test_without_a_driver_or_while_every_card_sleeps_nothing_is_loaded(tmp_path: Path) -> None:
    address = "0000:01:00.0"
    assert nvml.reader(tmp_path, "no such library", tmp_path / "gpus")() is None
    (tmp_path / "gpus" / address).mkdir(parents=True)
    assert nvml.reader(tmp_path, "no such library", tmp_path / "gpus")() is None
    state = tmp_path / "bus/pci/devices" / address / "power/runtime_status"
    state.parent.mkdir(parents=True)
    state.write_text("suspended\n")
    assert nvml.reader(tmp_path, str(tmp_path / "absent.so"), tmp_path / "gpus")() is None
