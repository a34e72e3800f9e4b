"""Limits that a container or a service manager puts on this process: Linux control groups, versions 1 and 2.

A group may be limited by any group above it, so every level from its own up to where the hierarchy is mounted counts.
Files: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst of the kernel.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_UNLIMITED = 2**62
"""Version 1 writes a number near 2**63 where there is no limit."""
_POINT, _OPTIONS = 4, 2
"""Fields of mountinfo: the mount point, and after the dash the options of the hierarchy."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes of memory and processors that this process may use at the most; ``None`` where nothing limits them.

    ``memory_free`` is what the tightest level leaves, page cache that can be dropped counted as free.
    """

    memory: int | None = None
    memory_free: int | None = None
    cores: float | None = None


@dataclass(frozen=True, slots=True)
class _Mount:
    """A hierarchy: which group is its top, where that is mounted, and version 1's controllers in it."""

    subtree: PurePosixPath
    point: str
    controllers: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class _Names:
    """What the files of one version are called."""

    limit: str
    usage: str
    cache: tuple[str, ...]


_V2 = _Names("memory.max", "memory.current", ("active_file", "inactive_file"))
_V1 = _Names("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_active_file", "total_inactive_file"))


def limits(proc: Path = Path("/proc"), root: Path = Path("/")) -> Limits:
    """The limits of this process; ``root`` is where the paths of mounts begin."""
    memory = [found for level in _levels(proc, root, "memory") if (found := _memory(level)) is not None]
    cores = [share for level in _levels(proc, root, "cpu") if (share := _cores(level)) is not None]
    return Limits(
        memory=min((limit for limit, _ in memory), default=None),
        memory_free=min((limit - used for limit, used in memory), default=None),
        cores=min(cores, default=None),
    )


def oom_kills(proc: Path = Path("/proc"), root: Path = Path("/")) -> int | None:
    """Processes of this group, or without one of this system, that were ended for their memory; ``None`` if unknown."""
    own = next(_levels(proc, root, "memory"), None)
    files = [proc / "vmstat"] if own is None else [own / "memory.events", own / "memory.oom_control", proc / "vmstat"]
    counts = (line.split() for file in files for line in _lines(file))
    return next((int(count[1]) for count in counts if count[0] == "oom_kill" and count[1].isdigit()), None)


def _levels(proc: Path, root: Path, controller: str) -> Iterator[Path]:
    """Every group from this process's own upwards, in both versions: a system may use one for each controller."""
    groups = _groups(proc / "self/cgroup")
    for mount in _mounts(proc / "self/mountinfo"):
        group = groups.get("" if mount.controllers is None else controller)
        if group is None or controller not in (mount.controllers or (controller,)):
            continue
        top = root / mount.point.lstrip("/")
        is_below = group.is_relative_to(mount.subtree) and ".." not in group.parts
        level = top / group.relative_to(mount.subtree) if is_below else top
        while level.is_relative_to(top):
            yield level
            level = level.parent


def _groups(file: Path) -> dict[str, PurePosixPath]:
    """The path of this process's group by controller; that of version 2 by ``""``."""
    groups: dict[str, PurePosixPath] = {}
    for line in _lines(file):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for controller in controllers.split(","):
            groups[controller] = PurePosixPath(path)
    return groups


def _mounts(file: Path) -> Iterator[_Mount]:
    """Every hierarchy that is mounted; the fields are those of proc(5)."""
    for line in _lines(file):
        before, _, after = line.partition(" - ")
        place, source = before.split(), after.split()
        if len(place) > _POINT and len(source) > _OPTIONS and source[0] in ("cgroup", "cgroup2"):
            controllers = tuple(source[_OPTIONS].split(",")) if source[0] == "cgroup" else None
            yield _Mount(PurePosixPath(place[_POINT - 1]), place[_POINT], controllers)


def _memory(level: Path) -> tuple[int, int] | None:
    """The limit of one level in bytes, and what is used of it and cannot be dropped."""
    names = _V2 if (level / _V2.limit).exists() else _V1
    limit, used = _number(level / names.limit), _number(level / names.usage)
    if limit is None or limit >= _UNLIMITED:
        return None
    stat = dict(line.split(" ", 1) for line in _lines(level / "memory.stat") if " " in line)
    cache = sum(int(stat[name]) for name in names.cache if stat.get(name, "").isdigit())
    return limit, max((used or 0) - cache, 0)


def _cores(level: Path) -> float | None:
    """Processors' worth of time that one level may use."""
    match = re.fullmatch(r"(\d+) (\d+)", " ".join(_lines(level / "cpu.max")))
    quota, period = (int(match[1]), int(match[2])) if match else (0, 0)
    if not match:
        quota = _number(level / "cpu.cfs_quota_us") or 0
        period = _number(level / "cpu.cfs_period_us") or 0
    return quota / period if quota and period else None


def _number(file: Path) -> int | None:
    lines = _lines(file)
    return int(lines[0]) if lines and lines[0].isdigit() else None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
