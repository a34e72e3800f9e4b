"""Unpacking a backup, and checking all of it on the way: what ``make`` does at its end and ``restore`` at its start."""

import hmac
import os
import re
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from nanolocal.checks import State
from nanolocal.errors import Damaged
from nanolocal.vault import checks
from nanolocal.vault.archive import Reader
from nanolocal.vault.blobs import open_blob, sealed_size
from nanolocal.vault.contents import attached
from nanolocal.vault.database import Database, Migrations
from nanolocal.vault.files import create_private_file, make_private_directory, write_durably
from nanolocal.vault.header import Anchor, Header
from nanolocal.vault.keys import derive
from nanolocal.vault.layout import DATABASE, discard
from nanolocal.vault.mending import Books
from nanolocal.vault.unlock import DataKeys

MADE_AT = "backup_made_at"
"""The setting, in the copy of the database alone, that says when a backup was made."""

SEAL = "backup.mac"

_BLOB_ID = re.compile("[0-9a-f]{32}")
_COUNTED = ("chat", "message", "attachment", "entry")


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a backup holds, and when it was made, in seconds since 1970."""

    made_at: int
    conversations: int
    messages: int
    files: int
    entries: int

    @property
    def when(self) -> str:
        """The local time, for people."""
        return datetime.fromtimestamp(self.made_at).astimezone().strftime("%Y-%m-%d %H:%M")


def unpack(
    reader: Reader,
    path: Path,
    header: Header,
    keys: DataKeys,
    migrations: Migrations,
    books: Books,
    blobs: Path | None,
) -> Inventory:
    """Check all that follows the header; the database comes to lie at ``path``, the files in ``blobs`` where wanted.

    Raises ``Damaged`` at the first thing that is wrong.
    """
    discard(path)
    create_private_file(path)
    with path.open("r+b") as out:
        out.writelines(reader.part(DATABASE, reader.size))
        out.flush()
        os.fsync(out.fileno())
    with closing(Database.open(path, keys.database, migrations)) as database:
        _check_database(database, header, books)
        files, inventory = attached(database), _inventory(database)
    if blobs is not None:
        make_private_directory(blobs)
    for file in files:
        if not _BLOB_ID.fullmatch(file.blob_id):
            raise Damaged("a file in it has a name that no vault gives")
        sealed = b"".join(reader.part(f"blobs/{file.blob_id}", sealed_size(file.size)))
        open_blob(keys.blob + file.key, file.blob_id, sealed)
        if blobs is not None:
            write_durably(blobs / file.blob_id, sealed)
    seal = seal_of(reader.digest(), keys)
    if not hmac.compare_digest(b"".join(reader.part(SEAL, len(seal))), seal):
        raise Damaged("its parts are not of one backup")
    reader.end()
    return inventory


def anchor_of(database: Database, books: Books) -> Anchor:
    """What the database ends with, its ledger read from the first entry on. Raises ``Damaged``."""
    number, mark, _ = database.progress()
    return Anchor(*books.read_all(database), number, mark)


def seal_of(digest: bytes, keys: DataKeys) -> bytes:
    """What proves that a backup whose bytes have this SHA-256 was put together by someone who had its keys."""
    return hmac.digest(derive(keys.database.as_bytes(), "backup"), digest, "sha256")


def _check_database(database: Database, header: Header, books: Books) -> None:
    """Every page, every row, the whole ledger; and that it is the very copy that the header was written for."""
    for check in (checks.pages, checks.conversations, checks.search):
        found = check(database)
        if found.state is State.WRONG:
            raise Damaged(found.says)
    owner = database.execute("SELECT value FROM meta WHERE name = 'vault_id'")
    if anchor_of(database, books) != header.anchor or owner != [(header.vault_id,)]:
        raise Damaged("its header and its database are not of one backup")


def _inventory(database: Database) -> Inventory:
    made_at = database.execute("SELECT value FROM setting WHERE name = ?", (MADE_AT,))[0][0]
    counts = [database.execute(f"SELECT count(*) FROM {table}")[0][0] for table in _COUNTED]  # noqa: S608 - own names
    return Inventory(int(made_at), *counts)
