"""File names from the network: only those that are plain names on POSIX and on Windows are ever written."""

import unicodedata
from collections.abc import Iterable

from nanolocal.errors import UsageError

_MAX_PART_BYTES = 200
"""Below the 255 of most file systems, so that a suffix for unfinished files still fits."""
_MAX_PATH = 400
_MAX_DEPTH = 8
_FORBIDDEN = frozenset('<>:"|?*\\')
_DEVICES = frozenset({
    "con", "prn", "aux", "nul", "conin$", "conout$", *(f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³")
})  # fmt: skip
"""Names that Windows gives to devices, whatever suffix follows (learn.microsoft.com, Naming Files)."""


def checked(path: str) -> str:
    """``path`` itself, ``/`` between its parts; raises ``UsageError`` where writing it could reach anything else."""
    fault = _fault_of(path)
    if fault:
        raise UsageError(f"a file is called {path[:100]!r}, {fault}: refused", "nothing was written")
    return path


def checked_all(paths: Iterable[str]) -> tuple[str, ...]:
    """Every path, checked, no two of them one file where letters' case or composition does not count."""
    known: dict[str, str] = {}
    for path in paths:
        folded = _folded(checked(path))
        if folded in known:
            raise UsageError(f"two files have one name here: {known[folded]!r} and {path!r}", "nothing was written")
        known[folded] = path
    _check_nesting(known)
    return tuple(known.values())


def _check_nesting(known: dict[str, str]) -> None:
    """No path may be a folder of another one."""
    for folded, path in known.items():
        parent = folded.rpartition("/")[0]
        while parent:
            if parent in known:
                raise UsageError(f"{known[parent]!r} is a file and the folder of {path!r}", "nothing was written")
            parent = parent.rpartition("/")[0]


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _fault_of(path: str) -> str:
    parts = path.split("/")
    if len(path) > _MAX_PATH or len(parts) > _MAX_DEPTH:
        return "which is too long"
    return next((fault for part in parts if (fault := _fault_in(part))), "")


def _fault_in(part: str) -> str:
    if not part or part in (".", ".."):
        return "which leads out of its folder"
    if not part.isprintable() or _FORBIDDEN & set(part):
        return "with characters that no file name may have everywhere"
    if part.partition(".")[0].rstrip(" ").casefold() in _DEVICES:
        return "which is a device on Windows"
    if part.startswith("."):
        return "which is hidden"
    if part.endswith((".", " ")) or part.startswith((" ", "~")):
        return "which some systems read as another name"
    return "which is too long" if len(part.encode()) > _MAX_PART_BYTES else ""
