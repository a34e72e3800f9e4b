"""Limits of control groups, in trees laid out as the kernel does, both versions, nested."""

from pathlib import Path

import pytest

from nanolocal.device.cgroup import Limits, limits, oom_kills

GIB = 2**30
V1_NONE = "9223372036854771712"


class Kernel:
    """What the kernel shows below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "proc/self").mkdir(parents=True)

    def belongs(self, *lines: str) -> None:
        (self.root / "proc/self/cgroup").write_text("".join(f"{line}\n" for line in lines))

    def mounts(self, *lines: str) -> None:
        (self.root / "proc/self/mountinfo").write_text("".join(f"{line}\n" for line in lines))

    def group(self, path: str, **files: str) -> None:
        folder = self.root / path
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name.replace("__", ".")).write_text(text + "\n")

    def limits(self) -> Limits:
        return limits(self.root / "proc", self.root)


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


V2 = "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"


def test_the_tightest_level_of_version_2_counts(kernel: Kernel) -> None:
    kernel.belongs("0::/user.slice/app.scope")
    kernel.mounts("22 1 8:1 / / rw - ext4 /dev/sda1 rw", V2)
    kernel.group(
        "sys/fs/cgroup/user.slice/app.scope", memory__max="max", memory__current=str(GIB), cpu__max="max 100000"
    )
    stat = f"anon 5\ninactive_file {GIB}\nactive_file {GIB // 2}\nslab 7"
    kernel.group(
        "sys/fs/cgroup/user.slice", memory__max=str(4 * GIB), memory__current=str(3 * GIB), memory__stat=stat,
        cpu__max="150000 100000",
    )  # fmt: skip
    assert kernel.limits() == Limits(4 * GIB, 4 * GIB - (3 * GIB - GIB - GIB // 2), 1.5)


def test_a_container_of_version_2_sees_itself_as_the_top(kernel: Kernel) -> None:
    kernel.belongs("0::/")
    kernel.mounts(V2)
    kernel.group("sys/fs/cgroup", memory__max=str(2 * GIB), memory__current="100", cpu__max="200000 100000")
    assert kernel.limits() == Limits(2 * GIB, 2 * GIB - 100, 2.0)


def test_a_container_of_version_1_is_mounted_at_its_own_group(kernel: Kernel) -> None:
    kernel.belongs("4:memory:/docker/abc", "3:cpu,cpuacct:/docker/abc", "0::/")
    kernel.mounts(
        "35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory",
        "36 31 0:33 /docker/abc /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct",
    )
    stat = f"total_inactive_file {GIB}\ntotal_active_file 0"
    kernel.group(
        "sys/fs/cgroup/memory", memory__limit_in_bytes=str(3 * GIB), memory__usage_in_bytes=str(2 * GIB),
        memory__stat=stat,
    )  # fmt: skip
    kernel.group("sys/fs/cgroup/cpu,cpuacct", cpu__cfs_quota_us="50000", cpu__cfs_period_us="100000")
    assert kernel.limits() == Limits(3 * GIB, 2 * GIB, 0.5)


def test_nested_groups_of_version_1_without_a_limit_limit_nothing(kernel: Kernel) -> None:
    kernel.belongs("4:memory:/a/b", "1:cpu:/", "0::/")
    kernel.mounts(
        "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory",
        "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu",
        "37 31 0:40 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
    )
    for level in ("a/b", "a", ""):
        kernel.group(f"sys/fs/cgroup/memory/{level}", memory__limit_in_bytes=V1_NONE, memory__usage_in_bytes="1")
    kernel.group("sys/fs/cgroup/cpu", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    assert kernel.limits() == Limits()
    kernel.group("sys/fs/cgroup/memory/a", memory__limit_in_bytes=str(GIB), memory__usage_in_bytes="1")
    assert kernel.limits().memory == GIB


def test_a_group_beside_the_mounted_one_is_not_taken_for_one_below_it(kernel: Kernel) -> None:
    kernel.belongs("4:memory:/docker/abcdef")
    kernel.mounts("35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory")
    kernel.group("sys/fs/cgroup/memory/def", memory__limit_in_bytes="1", memory__usage_in_bytes="0")
    kernel.group("sys/fs/cgroup/memory", memory__limit_in_bytes=str(GIB), memory__usage_in_bytes="0")
    assert kernel.limits().memory == GIB


@pytest.mark.parametrize("group", ["0::/../../etc", "0::", "nonsense", "", "0::/gone/away"])
def test_what_cannot_be_understood_limits_nothing(kernel: Kernel, group: str) -> None:
    kernel.belongs(group)
    kernel.mounts(V2, "short", "1 2 3 - cgroup2", "a b c d e - cgroup x rw")
    kernel.group("sys/fs/cgroup", memory__max="lots", cpu__max="x y", memory__stat="inactive_file\nactive_file -1")
    assert kernel.limits() == Limits()


def test_without_proc_nothing_is_limited(tmp_path: Path) -> None:
    assert limits(tmp_path / "proc", tmp_path) == Limits()


@pytest.mark.parametrize("version", [1, 2])
def test_processes_ended_for_their_memory_are_counted_in_the_own_group(kernel: Kernel, version: int) -> None:
    (kernel.root / "proc/vmstat").write_text("nr_free_pages 7\noom_kill 9\n")
    if version == 1:
        kernel.belongs("4:memory:/a")
        kernel.mounts("35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory")
        kernel.group("sys/fs/cgroup/memory/a", memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 3")
    else:
        kernel.belongs("0::/a")
        kernel.mounts(V2)
        kernel.group("sys/fs/cgroup/a", memory__events="low 0\noom 4\noom_kill 3\noom_group_kill 0")
    assert oom_kills(kernel.root / "proc", kernel.root) == 3


def test_without_a_group_that_counts_the_whole_system_does(kernel: Kernel) -> None:
    assert oom_kills(kernel.root / "proc", kernel.root) is None
    (kernel.root / "proc/vmstat").write_text("nr_free_pages 7\noom_kill 9\n")
    assert oom_kills(kernel.root / "proc", kernel.root) == 9
    kernel.belongs("0::/")
    kernel.mounts(V2)
    kernel.group("sys/fs/cgroup", memory__stat="anon 5")
    assert oom_kills(kernel.root / "proc", kernel.root) == 9
