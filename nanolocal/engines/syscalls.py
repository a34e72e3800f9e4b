"""System calls that the standard library has no function for."""

import ctypes
import os

_PR_SET_NO_NEW_PRIVS = 38


def call(number: int, *arguments: int | bytes) -> int:
    """A Linux system call, which is told where bytes lie; raises ``OSError``."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    passed = (ctypes.c_char_p(one) if isinstance(one, bytes) else ctypes.c_long(one) for one in arguments)
    result: int = libc.syscall(ctypes.c_long(number), *passed)
    if result < 0:
        raise _error()
    return result


def prctl(option: int, *arguments: int) -> None:
    """Change a property of this process; raises ``OSError``."""
    libc = ctypes.CDLL(None, use_errno=True)
    padded = (*arguments, 0, 0, 0, 0)[:4]
    if libc.prctl(option, *(ctypes.c_ulong(value) for value in padded)) != 0:
        raise _error()


def renounce_privileges() -> None:
    """No program that this one starts gets more rights than it has; rules may then be set without being root."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
