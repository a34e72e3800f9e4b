"""A real disk that is soon full."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OPTIONS = "size=12m"


@contextmanager
def small_disk(where: Path) -> Iterator[Path | None]:
    """A file system of 12 MiB at ``where``, or nothing where this user may not mount one."""
    where.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", _OPTIONS, "none", str(where)]
    may = sys.platform == "linux" and os.geteuid() == 0
    if not may or subprocess.run(mount, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield where
    finally:
        subprocess.run(["umount", str(where)], check=True)
