"""Putting a snapshot in the place of a broken database, and going on without commits that are gone."""

import secrets
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from nanolocal.errors import Damaged
from nanolocal.vault import snapshots
from nanolocal.vault.database import Database, Migrations, Transaction, discard_log
from nanolocal.vault.files import write_durably
from nanolocal.vault.header import Anchor, Header, encode
from nanolocal.vault.keys import DatabaseKey
from nanolocal.vault.layout import DATABASE, HEADER, SUSPECT, adopt_database, discard
from nanolocal.vault.snapshots import Snapshot
from nanolocal.vault.unlock import mac_key, unsealed_keys

NOTICE = "notice"
"""The setting that keeps what the user has to be told."""


class Books(Protocol):
    """What the vault asks of the ledger when commits are lost."""

    def check(self, database: Database, anchor: Anchor) -> None:
        """Raise ``Damaged`` unless the ledger contains the anchored entry."""
        ...

    def read_all(self, database: Database) -> tuple[int, str]:
        """Read the whole ledger: number and hash of its newest entry. Raises ``Damaged``."""
        ...

    def record_loss(self, tx: Transaction, lost: Anchor, why: str) -> None:
        """Write into the ledger that the owner went on without some entries, and why.

        ``lost`` is the newest entry that was known. The header's anchor, which names none from here on, proves that it
        was the owner.
        """
        ...


def swap_in_snapshot(
    directory: Path, header: Header, master: bytearray, migrations: Migrations, books: Books | None, path: Path | None
) -> None:
    """The snapshot gets its notice and its entry in the ledger before it takes the database's place."""
    key = unsealed_keys(header, master).database
    new = directory / "vault.db.new"
    database, snapshot = _readable_copy(directory, key, migrations, path)
    try:
        lost = max(0, header.anchor.commit - snapshot.commits)
        notice = (
            f"The database was damaged and was restored as it was on {snapshot.when}; "
            f"{lost} later change{'' if lost == 1 else 's'} could not be saved. The damaged file was kept."
        )
        anchor = accepted(database, header.anchor, books, notice)
    finally:
        database.close()
    discard_log(new)
    write_durably(directory / HEADER, encode(replace(header, anchor=anchor), mac_key(master)))
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    for suffix in ("", "-wal"):
        old = directory / f"{DATABASE}{suffix}"
        if old.exists():
            old.replace(directory / f"{DATABASE}.damaged-{stamp}{suffix}")
    adopt_database(directory)
    (directory / SUSPECT).unlink(missing_ok=True)


def _readable_copy(
    directory: Path, key: DatabaseKey, migrations: Migrations, path: Path | None
) -> tuple[Database, Snapshot]:
    """A copy, in ``vault.db.new``, of the snapshot at ``path`` or of the newest one that can be read."""
    new = directory / "vault.db.new"
    for snapshot in snapshots.listed(directory / "snapshots"):
        if path is not None and snapshot.path != path:
            continue
        discard(new)
        write_durably(new, snapshot.path.read_bytes())
        try:
            database = Database.open(new, key, migrations)
        except Damaged:
            continue
        if not database.problems():
            return database, snapshot
        database.close()
    discard(new)
    raise Damaged("the vault's database is damaged, and no snapshot of it can be read", "restore a backup")


def accepted(database: Database, lost: Anchor, books: Books | None, notice: str) -> Anchor:
    """Write down in ``database`` that later commits are gone, and why; returns the anchor that fits it now."""
    number, _, _ = database.progress()
    mark = secrets.token_hex(16)
    with database.transaction() as tx:
        tx.execute("INSERT OR REPLACE INTO setting (name, value) VALUES (?, ?)", (NOTICE, notice))
        tx.execute("UPDATE progress SET number = ?, mark = ?, anchored = 0", (number + 1, mark))
        if books is not None:
            books.record_loss(tx, lost, notice)
    return Anchor(commit=number + 1, mark=mark)


def set_foreign_log_aside(directory: Path, key: DatabaseKey, anchor: Anchor) -> str:
    """Where the database is whole without its log, the log does not belong to it; says so, or returns nothing."""
    path = directory / DATABASE
    progress = Database.peek(path, key, without_log=True)
    if progress is None or progress[:2] != (anchor.commit, anchor.mark):
        return ""
    log = path.with_name(path.name + "-wal")
    log.replace(path.with_name(f"{path.name}-wal.foreign"))
    discard_log(path)
    return "an older log was put back; it was set aside and nothing is lost"
