"""Small files that others wrote, read within bounds; nanolocal's own, replaced whole or not at all."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from nanolocal.errors import Damaged

MAX_BYTES = 2**20


def read_text(path: Path, limit: int = MAX_BYTES) -> str:
    """The text of a regular file of at most ``limit`` bytes; raises ``Damaged`` for any other, or ``OSError``."""
    if not path.is_file():
        if path.exists() or path.is_symlink():
            raise Damaged(f"{path} is not a file", "mend or remove it")
        raise FileNotFoundError(2, "No such file or directory", str(path))
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise Damaged(f"{path} has more than {limit >> 10} KiB, too much for what it is", "mend or remove it")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Damaged(f"{path} is not text", "mend or remove it") from error


def read_object(path: Path, limit: int = MAX_BYTES) -> dict[str, object]:
    """The JSON object in ``path``; raises ``Damaged`` where there is none or it is too large or too deep."""
    try:
        value = json.loads(read_text(path, limit))
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{path} is not JSON", "mend or remove it") from error
    if not isinstance(value, dict):
        raise Damaged(f"{path} holds no object", "mend or remove it")
    return value


def write_object(path: Path, value: Mapping[str, object], *, durably: bool) -> None:
    """Replace ``path`` by ``value``, mode 0600, its directory made when missing; raises ``OSError``.

    ``durably`` waits for the disk, so that a power cut leaves the old file or the new one.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        descriptor = os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0), 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(json.dumps(value, separators=(",", ":")))
            if durably:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
