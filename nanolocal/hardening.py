"""Keeps the memory of a process that holds keys from other programs of the same user and off the disk."""

import contextlib
import sys

_PR_SET_PDEATHSIG, _PR_GET_DUMPABLE, _PR_SET_DUMPABLE = 1, 3, 4
_SIGKILL = 9


def harden_process() -> None:
    """No core dumps; on Linux also no debugger and no /proc/PID/mem for other programs of this user.

    Where the system refuses, nothing happens: `nanolocal doctor` tells what is missing.
    """
    if sys.platform == "win32":
        return
    import resource

    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def end_with_parent() -> None:
    """On Linux, be killed once the program that started this one is gone."""
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)


def core_limit() -> int | None:
    """Bytes that a memory dump of this process may have; -1 for any number, ``None`` where there are no limits."""
    if sys.platform == "win32":
        return None
    import resource

    return resource.getrlimit(resource.RLIMIT_CORE)[0]


def is_dumpable() -> bool | None:
    """Whether other programs of this user may read this process's memory; ``None`` where that cannot be told."""
    if sys.platform != "linux":
        return None
    import ctypes

    try:
        return bool(ctypes.CDLL(None).prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0))
    except (OSError, AttributeError):
        return None
