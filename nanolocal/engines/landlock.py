"""Landlock: a process gives up access to files, TCP and other processes for good, as far as its Linux can enforce that.

https://docs.kernel.org/userspace-api/landlock.html. Rules bind the thread that sets them and what it starts afterwards.
A later ABI adds rights that earlier ones cannot take away. Looking at a file's name and attributes is always allowed.
"""

import os
import stat
import struct
from collections.abc import Iterable
from enum import IntFlag
from pathlib import Path

from nanolocal.engines.syscalls import call, renounce_privileges

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_TELL_ABI, _PATH_BENEATH = 1, 1
_FILE_RIGHTS = (13, 14, 15, 15, 16)
"""How many rights over files there are in ABI 1, 2, ...; the last holds for all later ones."""
_TCP_SINCE, _TCP_RIGHTS = 4, 0b11
_SCOPES_SINCE, _SCOPES = 6, 0b11
"""Abstract unix sockets and signals: none of those outside."""


class Right(IntFlag):
    """What may be granted over a file, or over everything below a folder."""

    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15


_OF_FILES = ~Right.READ_DIR

READ = Right.READ_FILE | Right.READ_DIR
REWRITE = READ | Right.WRITE_FILE | Right.TRUNCATE
"""Write to files that are there; neither make nor remove any."""
USE_DEVICE = READ | Right.WRITE_FILE | Right.IOCTL_DEV


def restrict(grants: Iterable[tuple[Path, Right]]) -> int:
    """Give up all that is not granted, for good; returns the ABI in force. Raises ``OSError``.

    Symlinks are followed now; a place that is not there is left out.
    """
    abi = call(_CREATE_RULESET, 0, 0, _TELL_ABI)
    handled = (1 << _FILE_RIGHTS[min(abi, len(_FILE_RIGHTS)) - 1]) - 1
    attributes = struct.pack(
        "=QQQ", handled, _TCP_RIGHTS if abi >= _TCP_SINCE else 0, _SCOPES if abi >= _SCOPES_SINCE else 0
    )
    # The kernel takes a longer structure than it knows, as long as the rest is zero.
    ruleset = call(_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for place, rights in grants:
            _grant(ruleset, place, rights & handled)
        renounce_privileges()
        call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return abi


def _grant(ruleset: int, place: Path, rights: int) -> None:
    try:
        descriptor = os.open(place, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= _OF_FILES
        call(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, descriptor), 0)
    finally:
        os.close(descriptor)
