"""Which programs have the vault open now, so that ``vault lock`` can reach them."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nanolocal.paths import Paths, make_private

_PREFIX = "open-"


@contextmanager
def registered(paths: Paths) -> Iterator[None]:
    """Say that this process has the vault open, for as long as the block runs."""
    mark = make_private(paths.runtime) / f"{_PREFIX}{os.getpid()}"
    mark.write_text(str(_started(os.getpid())), encoding="ascii")
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)


def lock_all(paths: Paths) -> int:
    """Ask every registered program to lock (SIGHUP) and return how many there were; marks of dead ones are removed."""
    asked = 0
    for mark in sorted(paths.runtime.glob(f"{_PREFIX}*")):
        pid = mark.name.removeprefix(_PREFIX)
        if pid.isdigit() and int(pid) != os.getpid() and _is_same(int(pid), mark):
            os.kill(int(pid), signal.SIGHUP)
            asked += 1
        elif pid != str(os.getpid()):
            mark.unlink(missing_ok=True)
    return asked


def _is_same(pid: int, mark: Path) -> bool:
    started = _started(pid)
    return started is not None and mark.read_text(encoding="ascii") == str(started)


def _started(pid: int) -> float | None:
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None
