"""Whether this system could write a program's memory, or the disk's content, where others can read it.

Everything is read from the kernel's own words; tests give a ``System`` with trees of their own.
"""

import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

from nanolocal.checks import Check, State
from nanolocal.hardening import core_limit, is_dumpable

_SAFER_SWAP = "swap to memory (zram) or to an encrypted disk; until the next start: sudo swapoff -a"
_MACOS_SAYS_S = 10


@dataclass(frozen=True, slots=True)
class System:
    """Which system this is, and where its kernel tells about itself."""

    name: str
    proc: Path = Path("/proc")
    sys: Path = Path("/sys")

    @staticmethod
    def here() -> "System":
        """The one this runs on."""
        return System(platform.system())


def memory_checks(system: System) -> list[Check]:
    """What can become of this process's memory."""
    return [
        swap(system),
        hibernation(system),
        core_dumps(system, core_limit(), is_dumpable()),
        readers_of_memory(is_dumpable()),
    ]


def swap(system: System) -> Check:
    """Whether memory that is moved out is readable on the disk."""
    if system.name == "Darwin":
        return Check("swap", State.OK, "memory that macOS moves to the disk is encrypted by the system")
    areas = _swap_areas(system)
    if areas is None:
        return Check("swap", State.SKIPPED, "whether memory is moved to the disk cannot be seen on this system")
    plain = [area for area in areas if not _is_safe(system, area)]
    if plain:
        says = f"memory can be moved to the disk without encryption: swap on {', '.join(plain)}"
        return Check("swap", State.WARNING, says, _SAFER_SWAP)
    if not areas:
        return Check("swap", State.OK, "memory is never moved to the disk: there is no swap")
    return Check("swap", State.OK, "memory that is moved out stays in memory or is encrypted (swap)")


def hibernation(system: System) -> Check:
    """Whether the whole memory can land on the disk when the machine sleeps."""
    if system.name == "Darwin":
        return Check("hibernation", State.OK, "what macOS writes when it sleeps is encrypted by the system")
    areas = _swap_areas(system)
    if areas is None:
        return Check("hibernation", State.SKIPPED, "whether this machine hibernates cannot be seen")
    on_disk = [area for area in areas if not _is_zram(area)]
    if "disk" not in _text(system.sys / "power/state").split() or not on_disk:
        return Check("hibernation", State.OK, "this machine cannot hibernate: its memory is not written to the disk")
    if all(_is_safe(system, area) for area in on_disk):
        return Check("hibernation", State.OK, "hibernation writes the memory to an encrypted disk")
    says = "hibernation would write the whole memory to the disk without encryption"
    return Check("hibernation", State.WARNING, says, "close nanolocal before you hibernate, or encrypt the swap")


def core_dumps(system: System, limit: int | None, is_dumpable: bool | None) -> Check:
    """Whether a crash of this process would leave its memory in a file, for whoever the system hands it to."""
    if limit is None:
        return Check("core_dumps", State.SKIPPED, "what a crash leaves behind cannot be seen on this system")
    pattern = _text(system.proc / "sys/kernel/core_pattern").strip()
    # A crash handler behind a pipe gets the memory whatever the limit is, but not of a process that is not dumpable.
    if is_dumpable is False or (limit == 0 and not pattern.startswith("|")):
        return Check("core_dumps", State.OK, "a crash of nanolocal leaves no copy of its memory")
    handler = pattern.lstrip("|").split(" ")[0] or "a core file"
    says = f"a crash of nanolocal could leave a copy of its memory with {handler}"
    return Check("core_dumps", State.WARNING, says, "start nanolocal where memory dumps are off: ulimit -c 0")


def readers_of_memory(is_dumpable: bool | None) -> Check:
    """Whether other programs of the same user can look into this process."""
    if is_dumpable is None:
        return Check("memory", State.SKIPPED, "whether other programs can read nanolocal's memory cannot be seen")
    if is_dumpable:
        says = "other programs of yours can read nanolocal's memory while it runs"
        return Check("memory", State.WARNING, says, "run no program that you do not trust beside nanolocal")
    return Check("memory", State.OK, "other programs of yours cannot look into nanolocal's memory")


def disk(system: System, path: Path) -> Check:
    """Whether the disk under ``path`` is encrypted as a whole; what lies outside the vault depends on that."""
    if system.name == "Darwin":
        return _filevault(_said_by("fdesetup", "status"))
    source = _source_of(system, path)
    if not source.startswith("/dev/"):
        return Check("disk", State.SKIPPED, "whether the disk as a whole is encrypted cannot be seen")
    if _is_encrypted(system, source):
        return Check("disk", State.OK, "the disk as a whole is encrypted too")
    says = "the disk is not encrypted as a whole: exported files can be read there"
    return Check("disk", State.WARNING, says, "keep exported files on an encrypted disk; the vault itself needs none")


def _filevault(status: str) -> Check:
    if "FileVault is On" in status:
        return Check("disk", State.OK, "the disk as a whole is encrypted too (FileVault)")
    if "FileVault is Off" in status:
        says = "the disk is not encrypted as a whole: exported files can be read there"
        return Check("disk", State.WARNING, says, "turn on FileVault in the system settings")
    return Check("disk", State.SKIPPED, "whether the disk as a whole is encrypted cannot be seen")


def _swap_areas(system: System) -> list[str] | None:
    """Devices and files that memory is moved to; ``None`` where the kernel does not say."""
    table = _text(system.proc / "swaps")
    return [line.split()[0] for line in table.splitlines()[1:] if line.split()] if table else None


def _is_safe(system: System, area: str) -> bool:
    """Compressed memory (zram) that is not written back to a disk, or an encrypted device, or a file on one."""
    if _is_zram(area):
        backing = _text(system.sys / "block" / Path(area).name / "backing_dev").strip()
        return backing in ("", "none") or _is_encrypted(system, backing)
    device = area if area.startswith("/dev/") else _source_of(system, Path(_unescaped(area)))
    return _is_encrypted(system, device)


def _is_zram(area: str) -> bool:
    return Path(area).name.startswith("zram") and area.startswith("/dev/")


def _is_encrypted(system: System, device: str) -> bool:
    """Whether a block device is dm-crypt, or stands on nothing else: a volume or RAID on encrypted disks."""
    entry = system.sys / "class/block" / _kernel_name(system, device)
    if _text(entry / "dm/uuid").startswith("CRYPT-"):
        return True
    below = sorted((entry / "slaves").iterdir()) if (entry / "slaves").is_dir() else []
    return bool(below) and all(_is_encrypted(system, f"/dev/{slave.name}") for slave in below)


def _kernel_name(system: System, device: str) -> str:
    """``dm-0`` for ``/dev/mapper/NAME``, else the last part of the path."""
    name = Path(device).name
    if device.startswith("/dev/mapper/"):
        mapped = sorted((system.sys / "class/block").glob("dm-*"))
        return next((entry.name for entry in mapped if _text(entry / "dm/name").strip() == name), name)
    return name


def _source_of(system: System, path: Path) -> str:
    """What is mounted where ``path`` lies, such as ``/dev/sda1``; empty where that is not known."""
    found = (0, "")
    for line in _text(system.proc / "self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        point = _unescaped(before.split()[4])
        if path.is_relative_to(point) and len(point) >= found[0]:
            found = (len(point), after.split()[1])
    return _unescaped(found[1])


def _unescaped(name: str) -> str:
    """The name itself: the kernel writes a blank in it as an octal number."""
    return name.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def _said_by(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_MACOS_SAYS_S, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
