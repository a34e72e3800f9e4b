"""What identifies the files of a build: SHA-256, remembered by path, size and time of change."""

import hashlib
import json
import os
from pathlib import Path

_WHOLE_FILE_LIMIT = 256 * 2**20
_SAMPLE = 4 * 2**20


class Fingerprints:
    """SHA-256 of files, kept at ``index`` so that a file is hashed once.

    A file over 256 MiB is not hashed just to be listed: its first and last 4 MiB and its size are, and the result
    begins with ``part:``.
    """

    def __init__(self, index: Path) -> None:
        self._index = index
        self._known = _read(index)
        self._is_changed = False

    def of(self, path: Path) -> str:
        """The hash of ``path``, or of its two ends when it is large."""
        key = _key(path)
        if key not in self._known:
            size = path.stat().st_size
            self._remember(key, _digest(path) if size <= _WHOLE_FILE_LIMIT else _digest_ends(path, size))
        return self._known[key]

    def save(self) -> None:
        """Write what was learned; a cache that cannot be written is not an error."""
        if not self._is_changed:
            return
        try:
            self._index.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            part = self._index.with_suffix(f".{os.getpid()}.part")
            part.write_text(json.dumps(self._known, indent=0), encoding="utf-8")
            part.replace(self._index)
        except OSError:
            return
        self._is_changed = False

    def _remember(self, key: str, digest: str) -> None:
        self._known[key] = digest
        self._is_changed = True


def _read(index: Path) -> dict[str, str]:
    try:
        table = json.loads(index.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in table.items()} if isinstance(table, dict) else {}


def _key(path: Path) -> str:
    stat = path.stat()
    return f"{path.absolute()}|{stat.st_size}|{stat.st_mtime_ns}"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_ends(path: Path, size: int) -> str:
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        digest.update(file.read(_SAMPLE))
        file.seek(-_SAMPLE, os.SEEK_END)
        digest.update(file.read(_SAMPLE))
    return "part:" + digest.hexdigest()
