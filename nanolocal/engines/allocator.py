"""The C library's allocator: what an engine has freed goes back to the system."""

import ctypes
from contextlib import suppress

LARGE, COSTLY = 2 * 2**20, 16 * 2**20
"""Bytes. To have layers of 6 MiB from the system each time costs a seventh of the time, of 16 MiB next to nothing."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""``M_TRIM_THRESHOLD`` and ``M_MMAP_THRESHOLD`` of malloc.h."""
_KEPT = 32 * 2**20
"""Bytes of smaller blocks that stay for the next ones; glibc would ask the system for every 128 KiB of them again."""


def keep_no_large_blocks(least: int = LARGE) -> None:
    """Let the system have every block of ``least`` bytes as soon as it is free.

    Otherwise glibc keeps those of up to 32 MiB for the next ones, and buffers that grow with what was read, or layers
    in 8 and 16 bits, come in many sizes.
    """
    with suppress(OSError, AttributeError):  # glibc alone has it
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, least)
        library.mallopt(_TRIM_THRESHOLD, _KEPT)


def give_back() -> None:
    """Let the system have all that is free now."""
    with suppress(OSError, AttributeError):  # as above
        ctypes.CDLL(None).malloc_trim(0)
