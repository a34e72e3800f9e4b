"""What identifies the files of a build: SHA-256, remembered by path, size, time of change and inode."""

import json
import os
from pathlib import Path

from nanolocal.library.jsonfiles import write_object

WHOLE_FILE_LIMIT = 256 * 2**20
"""Bytes; a larger file is known by its ends until somebody reads it whole."""
_SAMPLE = 4 * 2**20
_COMPARED, _COMPARED_BYTES = 1024, 4096


class Fingerprints:
    """SHA-256 of files, kept at ``index`` so that a file is hashed once. Nothing is read before something is asked.

    A file over 256 MiB is not hashed just to be listed: its first and last 4 MiB and its size are, and the result
    begins with ``part:``.
    """

    def __init__(self, index: Path) -> None:
        self._index = index
        self._known: dict[str, str] | None = None
        self._is_changed = False

    def of(self, path: Path) -> str:
        """The hash of ``path``, or of its two ends when it is large."""
        key = _key(path)
        known = self._read()
        if key not in known:
            size = path.stat().st_size
            known[key] = _digest(path) if size <= WHOLE_FILE_LIMIT else _digest_ends(path, size)
            self._is_changed = True
        return known[key]

    def learn(self, path: Path, sha256: str) -> bool:
        """Take ``sha256`` as the hash of the whole file, which somebody has read; true when that was not known."""
        key = _key(path)
        known = self._read()
        is_new = known.get(key) != sha256
        if is_new:
            known[key] = sha256
            self._is_changed = True
        return is_new

    def are_alike(self, one: Path, other: Path) -> bool:
        """Whether two large files with the same fingerprint agree in 1,024 places all over them too."""
        key = f"{_key(one)}={_key(other)}"
        known = self._read()
        if key not in known:
            known[key] = "same" if _agree(one, other) else "different"
            self._is_changed = True
        return known[key] == "same"

    def save(self) -> None:
        """Write what was learned; a cache that cannot be written is not an error."""
        if not self._is_changed or self._known is None:
            return
        try:
            write_object(self._index, self._known, durably=False)
        except OSError:
            return
        self._is_changed = False

    def _read(self) -> dict[str, str]:
        if self._known is None:
            self._known = _read(self._index)
        return self._known


def _read(index: Path) -> dict[str, str]:
    try:
        table = json.loads(index.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return {str(key): str(value) for key, value in table.items()} if isinstance(table, dict) else {}


def _key(path: Path) -> str:
    stat = path.stat()
    return f"{path.absolute()}|{stat.st_size}|{stat.st_mtime_ns}|{stat.st_ino}"


def _digest(path: Path) -> str:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_ends(path: Path, size: int) -> str:
    import hashlib

    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        digest.update(file.read(_SAMPLE))
        file.seek(-_SAMPLE, os.SEEK_END)
        digest.update(file.read(_SAMPLE))
    return "part:" + digest.hexdigest()


def _agree(one: Path, other: Path) -> bool:
    step = max(one.stat().st_size // _COMPARED, 1)
    with one.open("rb") as first, other.open("rb") as second:
        for n in range(_COMPARED):
            first.seek(n * step)
            second.seek(n * step)
            if first.read(_COMPARED_BYTES) != second.read(_COMPARED_BYTES):
                return False
    return True
