"""The files of a vault's directory by name, and how the database among them takes its place."""

from pathlib import Path

from nanolocal.errors import UsageError
from nanolocal.vault.database import discard_log
from nanolocal.vault.files import sync_directory
from nanolocal.vault.header import MAX_BYTES, Header, decode

HEADER, BACKUP, KEYFILE, DATABASE = "vault.hdr", "vault.hdr.bak", "vault.key", "vault.db"
SUSPECT = "vault.suspect"
PROMPTS = "prompts"
"""The directory of what engines have read; see ``promptcache``."""
COPYING = "backup-"
"""How the name of a directory begins in which a backup makes its copy of the database."""


def read_header(directory: Path) -> Header:
    """The header on disk; raises ``UsageError`` where it cannot be read, ``Damaged`` or ``VaultLocked``."""
    return decode(header_bytes(directory))


def header_bytes(directory: Path) -> bytes:
    """Its bytes, up to one more than any has; raises ``UsageError`` where they cannot be read."""
    try:
        with (directory / HEADER).open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read {directory / HEADER}: {error.strerror}", "check its permissions") from error


def adopt_database(directory: Path) -> None:
    """Give a finished database its name; nothing happens where there is one already."""
    made = directory / "vault.db.new"
    if made.exists() and not (directory / DATABASE).exists():
        discard_log(directory / DATABASE)
        made.replace(directory / DATABASE)
        sync_directory(directory)


def has_log(path: Path) -> bool:
    """Whether SQLite left a log beside the database at ``path``."""
    log = path.with_name(path.name + "-wal")
    return log.exists() and log.stat().st_size > 0


def starts_with(path: Path, start: bytes) -> bool:
    """Whether the file begins with these bytes."""
    try:
        with path.open("rb") as file:
            return file.read(len(start)) == start
    except OSError:
        return False


def discard(path: Path) -> None:
    """Remove a database and its log."""
    path.unlink(missing_ok=True)
    discard_log(path)
