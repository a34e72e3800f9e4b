"""What the machine report says must agree with the system's own words."""

import os
from dataclasses import replace
from pathlib import Path

from nanolocal.device.disk import free_bytes
from nanolocal.device.machine import estimate_joules, inspect


def test_it_agrees_with_the_system() -> None:
    machine = inspect()
    assert machine.cores == len(os.sched_getaffinity(0))
    total_kb = int(
        next(x for x in Path("/proc/meminfo").read_text().splitlines() if x.startswith("MemTotal")).split()[1]
    )
    assert 0 < machine.memory_available <= machine.memory_total <= total_kb * 1024


def test_the_budget_leaves_a_reserve_and_follows_the_user() -> None:
    machine = replace(inspect(), memory_total=8 * 2**30, memory_available=4 * 2**30)
    assert machine.memory_budget() == 3 * 2**30
    assert machine.memory_budget(512) == 512 * 2**20
    assert machine.memory_budget(10**9) == 8 * 2**30
    assert replace(machine, memory_available=0).memory_budget() == 0


def test_energy_grows_with_work() -> None:
    assert estimate_joules(0.0) == 0.0
    assert estimate_joules(2.0) == 2 * estimate_joules(1.0) > 0


def test_a_limit_is_never_above_what_there_is() -> None:
    machine = inspect()
    assert machine.memory_limit is None or machine.memory_limit == machine.memory_total
    assert machine.cores_logical >= machine.cores_physical >= 0
    assert machine.cores_logical >= machine.cores
    assert 0 <= machine.swap_free <= machine.swap_total


def test_room_is_told_of_the_disk_on_which_a_folder_would_be_made(tmp_path: Path) -> None:
    before = free_bytes(tmp_path)
    assert before > 0
    assert abs(free_bytes(tmp_path / "not" / "there" / "yet") - before) < 2**30
