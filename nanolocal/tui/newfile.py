"""Writing what leaves the vault to a file that the user named."""

import os
from pathlib import Path

from nanolocal.errors import UsageError


def write_new(path: Path, data: bytes) -> None:
    """Write a file that only its owner reads; never over one that is there. Raises ``UsageError``."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
    except FileExistsError as error:
        raise UsageError(f"{path} is already there", "Choose another name.") from error
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", "Choose another place.") from error


def free_name(stem: str, ending: str) -> str:
    """A name in this folder that no file has yet: ``picture.png``, ``picture2.png`` and so on."""
    names = (f"{stem}{'' if number == 1 else number}{ending}" for number in range(1, 10_000))
    return next((name for name in names if not Path(name).exists()), f"{stem}{ending}")
