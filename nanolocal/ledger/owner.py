"""Which process made a hold, so that the holds of dead processes can be released."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that cannot be confused with a later one of the same number: boot, number, and its start time."""

    boot: str
    pid: int
    start: str

    @staticmethod
    def current() -> "Owner":
        """The process that runs this."""
        return Owner(_boot_id(), os.getpid(), _start_time(os.getpid()))

    def is_alive(self) -> bool:
        """Whether that very process still runs on this machine."""
        return self.boot == _boot_id() and bool(self.start) and self.start == _start_time(self.pid)


def _boot_id() -> str:
    """The kernel's id of this boot; empty where there is none (then the start time, a date, tells boots apart)."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def _start_time(pid: int) -> str:
    """When process ``pid`` started, in the system's own words; empty if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return "" if Path("/proc/self/stat").exists() else _start_time_by_ps(pid)
    fields = stat.rpartition(")")[2].split()  # the name before may hold spaces and parentheses
    return "" if fields[0] in {"Z", "X"} else fields[19]


def _start_time_by_ps(pid: int) -> str:
    try:
        shown = subprocess.run(
            ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False, env={"LC_ALL": "C"}
        )
    except OSError:
        return str(pid) if pid == os.getpid() else ""  # no way to tell: only this very process counts as alive
    return shown.stdout.strip()
