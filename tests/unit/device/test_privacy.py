"""What the kernel says about swap, hibernation, crashes and disks, read from trees as real machines show them."""

from pathlib import Path

import pytest

from nanolocal.checks import State
from nanolocal.device import privacy
from nanolocal.device.privacy import System

SWAPS = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
MOUNTS = """\
22 1 0:20 / /proc rw,nosuid - proc proc rw
28 1 254:1 / / rw,relatime shared:1 - ext4 /dev/mapper/vg-root rw
30 28 8:1 / /boot rw - ext4 /dev/sda1 rw
31 28 0:44 /@home /home/some\\040body rw - btrfs /dev/sda2 rw
32 28 0:45 / /tmp rw - tmpfs tmpfs rw
"""


def machine(root: Path, files: dict[str, str], name: str = "Linux") -> System:
    """A system whose /proc and /sys hold these files."""
    for path, text in {"proc/self/mountinfo": MOUNTS, **files}.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return System(name, root / "proc", root / "sys")


LUKS = {
    "sys/class/block/dm-0/dm/uuid": "CRYPT-LUKS2-0a1b2c-luks\n",
    "sys/class/block/dm-0/dm/name": "luks-root\n",
    "sys/class/block/dm-0/slaves/sda3/size": "1",
    "sys/class/block/dm-1/dm/uuid": "LVM-abcdef\n",
    "sys/class/block/dm-1/dm/name": "vg-root\n",
    "sys/class/block/dm-1/slaves/dm-0/size": "1",
    "sys/class/block/dm-2/dm/uuid": "LVM-fedcba\n",
    "sys/class/block/dm-2/dm/name": "vg-swap\n",
    "sys/class/block/dm-2/slaves/dm-0/size": "1",
    "sys/class/block/dm-3/dm/uuid": "LVM-cccccc\n",
    "sys/class/block/dm-3/dm/name": "vg-plain\n",
    "sys/class/block/dm-3/slaves/dm-0/size": "1",
    "sys/class/block/dm-3/slaves/sda4/size": "1",
    "sys/class/block/sda2/size": "1",
}


@pytest.mark.parametrize(
    ("areas", "state"),
    [
        ("", State.OK),
        ("/dev/zram0 partition 4194300 0 100\n", State.OK),
        ("/dev/zram1 partition 4194300 0 100\n", State.WARNING),
        ("/dev/dm-2 partition 8388604 0 -2\n", State.OK),
        ("/dev/mapper/vg-swap partition 8388604 0 -2\n", State.OK),
        ("/dev/dm-3 partition 8388604 0 -2\n", State.WARNING),
        ("/dev/sda2 partition 8388604 512 -2\n", State.WARNING),
        ("/swapfile file 2097148 0 -2\n", State.OK),
        ("/home/some\\040body/swap\\040file file 2097148 0 -2\n", State.WARNING),
        ("/dev/zram0 partition 4194300 0 100\n/dev/sda2 partition 8388604 0 -2\n", State.WARNING),
    ],
)
def test_swap_that_could_be_read_is_told_from_swap_that_could_not(tmp_path: Path, areas: str, state: State) -> None:
    zram = {"sys/block/zram0/backing_dev": "none\n", "sys/block/zram1/backing_dev": "/dev/sda2\n"}
    check = privacy.swap(machine(tmp_path, {"proc/swaps": SWAPS + areas, **LUKS, **zram}))
    assert (check.state, bool(check.hint)) == (state, state is State.WARNING)
    assert ("sda2" in check.says) == (state is State.WARNING and "/dev/sda2" in areas)


def test_a_system_that_does_not_tell_is_not_praised(tmp_path: Path) -> None:
    unknown = machine(tmp_path, {}, "Plan9")
    assert privacy.swap(unknown).state is State.SKIPPED
    assert privacy.hibernation(unknown).state is State.SKIPPED
    assert privacy.disk(unknown, Path("/tmp/x")).state is State.SKIPPED
    assert privacy.core_dumps(unknown, None, None).state is State.SKIPPED
    assert privacy.readers_of_memory(None).state is State.SKIPPED


@pytest.mark.parametrize(
    ("sleep", "areas", "state"),
    [
        ("freeze mem disk\n", "/dev/sda2 partition 1 0 -2\n", State.WARNING),
        ("freeze mem disk\n", "/dev/dm-2 partition 1 0 -2\n", State.OK),
        ("freeze mem disk\n", "/dev/zram0 partition 1 0 -2\n", State.OK),
        ("freeze mem\n", "/dev/sda2 partition 1 0 -2\n", State.OK),
    ],
)
def test_hibernation_needs_a_disk_to_write_to(tmp_path: Path, sleep: str, areas: str, state: State) -> None:
    files = {"sys/power/state": sleep, "proc/swaps": SWAPS + areas, **LUKS}
    assert privacy.hibernation(machine(tmp_path, files)).state is state


@pytest.mark.parametrize(
    ("pattern", "limit", "is_dumpable", "state"),
    [
        ("core\n", 0, False, State.OK),
        ("core\n", 0, True, State.OK),
        ("core\n", -1, True, State.WARNING),
        ("|/usr/lib/systemd/systemd-coredump %P %u\n", 0, False, State.OK),
        ("|/usr/lib/systemd/systemd-coredump %P %u\n", 0, True, State.WARNING),
    ],
)
def test_a_crash_handler_behind_a_pipe_heeds_no_limit(
    tmp_path: Path, pattern: str, limit: int, is_dumpable: bool, state: State
) -> None:
    system = machine(tmp_path, {"proc/sys/kernel/core_pattern": pattern})
    check = privacy.core_dumps(system, limit, is_dumpable)
    assert check.state is state
    assert ("/usr/lib/systemd/systemd-coredump" in check.says) == (state is State.WARNING and pattern.startswith("|"))


@pytest.mark.parametrize(
    ("path", "state"),
    [
        ("/home/else/vault", State.OK),
        ("/home/some body/vault", State.WARNING),
        ("/boot/vault", State.WARNING),
        ("/tmp/vault", State.SKIPPED),
    ],
)
def test_the_disk_under_a_path_is_found_through_its_mount(tmp_path: Path, path: str, state: State) -> None:
    assert privacy.disk(machine(tmp_path, LUKS), Path(path)).state is state


def test_this_machine_answers_every_question() -> None:
    checks = privacy.memory_checks(System.here())
    assert [check.id for check in checks] == ["swap", "hibernation", "core_dumps", "memory"]
    assert all(check.says and (check.hint or check.state is not State.WARNING) for check in checks)
