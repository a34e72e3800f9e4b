"""Keeps the memory of a process that holds keys from other programs of the same user and off the disk."""

import contextlib
import sys

_PR_SET_DUMPABLE = 4


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
