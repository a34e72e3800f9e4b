"""Room on the disk."""

import shutil
from pathlib import Path


def free_bytes(folder: Path) -> int:
    """Bytes free where ``folder`` is, or where it would be made."""
    place = next(place for place in (folder, *folder.parents) if place.exists())
    return shutil.disk_usage(place).free
