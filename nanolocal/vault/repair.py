"""Opening a vault whatever became of its database: from a snapshot, or without the commits that are gone."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from nanolocal.errors import Damaged, UsageError
from nanolocal.vault import snapshots
from nanolocal.vault.database import Database, Migrations, Unreadable
from nanolocal.vault.files import OpenMark, exclusive, write_durably
from nanolocal.vault.header import encode
from nanolocal.vault.layout import DATABASE, HEADER, SUSPECT, has_log, read_header, starts_with
from nanolocal.vault.mending import Books, accepted, set_foreign_log_aside, swap_in_snapshot
from nanolocal.vault.unlock import DataKeys, mac_key, unsealed_keys
from nanolocal.vault.vault import Vault


def open_vault(directory: Path, secret: str | None, migrations: Migrations, books: Books | None = None) -> Vault:
    """``Vault.open``; a database that cannot be read is restored from the newest good snapshot first.

    ``notices`` says what was lost.
    """
    try:
        return Vault.open(directory, secret, migrations)
    except Unreadable:
        if not snapshots.listed(directory / "snapshots"):
            raise
        _, master = Vault.unlocked(directory, secret)
        return _from_snapshot(directory, master, migrations, books, None)


def restore(
    directory: Path, secret: str | None, migrations: Migrations, books: Books, snapshot: Path | None = None
) -> Vault:
    """Repair: go back to a snapshot (the newest good one if the database is broken), or go on without lost commits.

    ``notices`` says what was lost; the broken database stays beside the new one. Raises ``UsageError`` when there
    is nothing to repair.
    """
    header, master = Vault.unlocked(directory, secret)
    broken = snapshot is not None
    if not broken:
        try:
            (directory / SUSPECT).touch(0o600)
            with closing(Vault(directory, bytearray(master), header, migrations)) as vault:  # it wipes its key
                books.check(vault.database, header.anchor)
        except Unreadable:
            broken = True
        except Damaged as error:
            broken = not _is_this_database(directory, unsealed_keys(header, master))
            if not broken:
                return _go_on(directory, master, migrations, books, error.message)
        else:
            raise UsageError("the vault is whole: there is nothing to restore", "nanolocal vault verify")
    return _from_snapshot(directory, master, migrations, books, snapshot)


def _from_snapshot(
    directory: Path, master: bytearray, migrations: Migrations, books: Books | None, path: Path | None
) -> Vault:
    """Put the newest snapshot that can be read in the database's place; the old file stays under another name."""
    opened = OpenMark(directory / "vault.open")
    try:
        with opened.alone(), exclusive(directory / "vault.lock"):
            header = read_header(directory)
            swap_in_snapshot(directory, header, master, migrations, books, path)
    finally:
        opened.close()
    return Vault.started(directory, master, read_header(directory), migrations)


def _go_on(directory: Path, master: bytearray, migrations: Migrations, books: Books, lost: str) -> Vault:
    """Accept that commits are gone: write it into the ledger, and take the database as it is."""
    opened = OpenMark(directory / "vault.open")
    try:
        with opened.alone(), exclusive(directory / "vault.lock"):
            header = read_header(directory)
            key = unsealed_keys(header, master).database
            if has_log(directory / DATABASE):
                lost = set_foreign_log_aside(directory, key, header.anchor) or lost
            database = Database.open(directory / DATABASE, key, migrations)
            try:
                anchor = accepted(database, header.anchor, books, f"You went on although {lost}.")
            finally:
                database.close()
            write_durably(directory / HEADER, encode(replace(header, anchor=anchor), mac_key(master)))
    finally:
        opened.close()
    return Vault.started(directory, master, read_header(directory), migrations)


def _is_this_database(directory: Path, keys: DataKeys) -> bool:
    known = (key for key in (keys.database, keys.database_next) if key is not None)
    return any(starts_with(directory / DATABASE, key.salt) for key in known)
