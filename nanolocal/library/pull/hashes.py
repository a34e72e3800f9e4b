"""The SHA-256 of each chunk of the files that were pulled, kept so that damage is mended chunk by chunk.

``models/.pulled/SHA256.json`` is ``{"version": 1, "size", "chunk_bytes", "chunks": [HEX, ...]}``, one for each file of
more than one chunk.
"""

from pathlib import Path

from nanolocal.errors import Damaged
from nanolocal.library.jsonfiles import read_object, write_object
from nanolocal.library.pull.plan import SHA256, Fetched

FOLDER = ".pulled"
_VERSION = 1
_MAX_BYTES = 64 * 2**20


def keep(models: Path, fetched: Fetched) -> None:
    """Write them down, on disk before this returns; raises ``OSError``."""
    if len(fetched.chunks) < 2 or not SHA256.fullmatch(fetched.sha256):
        return
    write_object(_path(models, fetched.sha256), {"version": _VERSION, **as_record(fetched)}, durably=True)


def known(models: Path, name: str, sha256: str) -> Fetched | None:
    """What is known of the file ``name`` with that hash; ``None`` where nothing is, or it cannot be read."""
    if not SHA256.fullmatch(sha256):
        return None
    try:
        return as_fetched(name, sha256, read_object(_path(models, sha256), _MAX_BYTES))
    except (Damaged, OSError):
        return None


def forget(models: Path, sha256: str) -> None:
    """The file is gone."""
    if SHA256.fullmatch(sha256):
        _path(models, sha256).unlink(missing_ok=True)


def as_record(fetched: Fetched) -> dict[str, object]:
    """Size and chunks as they are written."""
    chunks = [chunk.hex() for chunk in fetched.chunks]
    return {"size": fetched.size, "chunk_bytes": fetched.chunk_bytes, "chunks": chunks}


def as_fetched(name: str, sha256: str, record: dict[str, object]) -> Fetched | None:
    """A record read back; ``None`` where its parts do not fit together."""
    size, chunk_bytes, chunks = record.get("size"), record.get("chunk_bytes"), record.get("chunks")
    if type(size) is not int or type(chunk_bytes) is not int or chunk_bytes < 1 or not isinstance(chunks, list):
        return None
    if not all(isinstance(chunk, str) and SHA256.fullmatch(chunk) for chunk in chunks):
        return None
    if len(chunks) != -(-size // chunk_bytes):
        return None
    return Fetched(name, size, sha256, chunk_bytes, tuple(bytes.fromhex(chunk) for chunk in chunks))


def _path(models: Path, sha256: str) -> Path:
    return models / FOLDER / f"{sha256}.json"
