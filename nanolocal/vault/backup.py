"""A backup: the whole vault in one file, encrypted as it lies there, for another disk or machine.

    vault.hdr    the header with the slots that a person carries; its anchor is what this copy of the database ends with
    vault.db     the copy, made while others go on writing
    blobs/ID     the files that the copy names, in the order of their ids
    backup.mac   proves that all of these are the parts of one backup

The parts make an archive of ``archive.py``. A backup is read back before it gets its name, and restored only where
there is no vault: the header is written last, so that a kill leaves no vault or the whole one.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

from nanolocal.errors import Damaged, UsageError
from nanolocal.vault.archive import Reader, Writer
from nanolocal.vault.blobs import sealed_size
from nanolocal.vault.contents import Attached, attached
from nanolocal.vault.database import Database, Migrations, discard_log
from nanolocal.vault.files import exclusive, make_private_directory, sync_directory, write_durably
from nanolocal.vault.header import MAX_BYTES, Anchor, Header, SlotKind, decode, encode
from nanolocal.vault.keys import DatabaseKey
from nanolocal.vault.layout import BACKUP, COPYING, DATABASE, HEADER, KEYFILE, adopt_database, discard
from nanolocal.vault.mending import Books, accepted
from nanolocal.vault.unlock import Door, mac_key, unlock_header, unsealed_keys
from nanolocal.vault.unpacking import MADE_AT, SEAL, Inventory, anchor_of, seal_of, unpack
from nanolocal.vault.vault import Vault, VaultState

Told = Callable[[str, int, int], None]
"""Hears what is going on, and how many bytes of how many are done."""

_ATTEMPTS = 5


def make(
    vault: Vault, file: Path, migrations: Migrations, books: Books, told: Told, *, overwrite: bool = False
) -> Inventory:
    """Back an open vault up into ``file`` and read all of it back.

    Raises ``UsageError`` where ``file`` cannot be written or nothing would open it, ``Damaged`` when the vault is not
    whole; then ``file`` is as it was before.
    """
    file = file.absolute()
    _check_target(file, vault.directory, overwrite=overwrite)
    vault.portable_header(Anchor())
    try:
        with (
            _beside(file) as (part, name),
            tempfile.TemporaryDirectory(prefix=COPYING, dir=vault.directory) as room,
        ):
            copy = Path(room) / DATABASE
            _write(vault, part, copy, books, partial(told, "writing"))
            part.seek(0)
            reader = Reader(part, partial(told, "reading back"))
            with _blaming("the backup cannot be read back", "try again, or another disk; nothing was replaced"):
                header = vault.genuine(decode(b"".join(reader.part(HEADER, MAX_BYTES))))
                inventory = unpack(reader, copy, header, vault.keys, migrations, books, None)
            name.replace(file)
            with suppress(OSError):  # not every file system of a stick or a share can do this
                sync_directory(file.parent)
    except OSError as error:
        hint = "free some space there and beside the vault, or choose another place"
        raise UsageError(f"cannot write {file}: {error.strerror}", hint) from error
    return inventory


def restore(
    file: Path, directory: Path, secret: Callable[[], str | None], migrations: Migrations, books: Books, told: Told
) -> Inventory:
    """Make the vault in ``directory`` from a backup; ``secret`` is asked for once the file looks like one.

    A backup that only a recovery code opens gets a key file. The ledger and a notice say that a backup was restored.
    Raises ``UsageError`` where there is a vault, ``VaultLocked`` for a wrong secret, ``Damaged``; then nothing changed.
    """
    if not file.is_file():
        raise UsageError(f"there is no file {file}", "nanolocal vault restore --from FILE")
    _check_absent(directory)
    try:
        with (
            file.open("rb") as source,
            _blaming("the backup cannot be restored", "nothing was changed; take another backup"),
        ):
            reader = Reader(source, partial(told, "reading"))
            header, master = unlock_header(b"".join(reader.part(HEADER, MAX_BYTES)), secret())
            make_private_directory(directory)
            with exclusive(directory / "vault.lock"):
                _check_absent(directory)
                with _cleared(directory):
                    made, keys = directory / "vault.db.new", unsealed_keys(header, master)
                    inventory = unpack(reader, made, header, keys, migrations, books, directory / "blobs")
                    anchor = _continued(made, keys.database, header.anchor, inventory, migrations, books)
                    _put_in_place(directory, replace(header, anchor=anchor), master)
    except OSError as error:
        raise UsageError(f"cannot restore {file}: {error.strerror}", "check the file, and the space left") from error
    return inventory


def _check_target(file: Path, directory: Path, *, overwrite: bool) -> None:
    if file.resolve().is_relative_to(directory.resolve()):
        raise UsageError("a backup inside the vault would be lost with it", "choose another place, or another disk")
    if file.exists() and not file.is_file():
        raise UsageError(f"{file} is not a file", "give the backup a name of its own")
    if file.exists() and not overwrite:
        raise UsageError(f"{file} exists", "--force replaces it")


def _check_absent(directory: Path) -> None:
    if Vault.state(directory) is not VaultState.ABSENT:
        hint = "choose another --home, or destroy that vault first: nanolocal vault erase"
        raise UsageError(f"there is already a vault in {directory}", hint)


@contextmanager
def _beside(file: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A private file beside ``file``, open to write and to read, and removed unless it was renamed."""
    descriptor, name = tempfile.mkstemp(prefix=f"{file.name}.", suffix=".part", dir=file.parent)
    try:
        with os.fdopen(descriptor, "w+b") as part:
            yield part, Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


@contextmanager
def _cleared(directory: Path) -> Iterator[None]:
    """Remove what was unpacked unless it became a vault."""
    try:
        yield
    finally:
        if not (directory / HEADER).exists():
            discard(directory / "vault.db.new")
            (directory / KEYFILE).unlink(missing_ok=True)
            shutil.rmtree(directory / "blobs", ignore_errors=True)


@contextmanager
def _blaming(what: str, hint: str) -> Iterator[None]:
    """Say of damage found here that it is the backup's."""
    try:
        yield
    except Damaged as error:
        raise Damaged(f"{what}: {error.message}", hint) from error


def _write(vault: Vault, out: BinaryIO, copy: Path, books: Books, told: Callable[[int, int], None]) -> None:
    for _ in range(_ATTEMPTS):
        out.seek(0)
        out.truncate()
        if _is_written(vault, out, copy, books, told):
            out.flush()
            os.fsync(out.fileno())
            return
    raise UsageError("another nanolocal deletes conversations faster than they are copied", "try again later")


def _is_written(vault: Vault, out: BinaryIO, copy: Path, books: Books, told: Callable[[int, int], None]) -> bool:
    """One try; false when a file went away because its conversation was deleted since the database was copied."""
    vault.database.copy_to(copy)
    anchor, files = _dated(copy, vault.keys.database, books)
    header, size = vault.portable_header(anchor), copy.stat().st_size
    writer = Writer(out, size + sum(sealed_size(file.size) for file in files), told)
    writer.add(HEADER, len(header), [header])
    with copy.open("rb") as database:
        writer.add(DATABASE, size, iter(partial(database.read, 1024 * 1024), b""))
    discard(copy)
    for file in files:
        sealed = _sealed(vault, file)
        if sealed is None:
            return False
        writer.add(f"blobs/{file.blob_id}", len(sealed), [sealed])
    seal = seal_of(writer.digest(), vault.keys)
    writer.add(SEAL, len(seal), [seal])
    writer.end()
    return True


def _dated(copy: Path, key: DatabaseKey, books: Books) -> tuple[Anchor, list[Attached]]:
    """Write into the copy when it was made, without what engines have read; returns its anchor and its files."""
    with closing(Database(copy, key)) as database:
        with database.transaction() as tx:
            tx.execute("INSERT OR REPLACE INTO setting (name, value) VALUES (?, ?)", (MADE_AT, str(int(time.time()))))
            tx.execute("DELETE FROM prompt_cache")
        database.checkpoint()
        return anchor_of(database, books), attached(database)


def _sealed(vault: Vault, file: Attached) -> bytes | None:
    """The file's encrypted bytes; ``None`` when the vault no longer has it."""
    try:
        return vault.blobs.sealed(file.blob_id, file.key)
    except Damaged as error:
        if not vault.database.execute("SELECT 1 FROM attachment WHERE blob_id = ?", (file.blob_id,)):
            return None
        message = f"the attached file {file.name} is damaged or missing, and a backup must be whole"
        raise Damaged(message, "put it back, or delete its conversation; nanolocal vault verify tells more") from error


def _continued(
    path: Path, key: DatabaseKey, before: Anchor, inventory: Inventory, migrations: Migrations, books: Books
) -> Anchor:
    """Write down that life goes on from a backup; returns the anchor that fits the database now."""
    notice = f"This vault was restored from a backup of {inventory.when}; what was stored after that is not in it."
    with closing(Database.open(path, key, migrations)) as database:
        anchor = accepted(database, before, books, notice)
        database.checkpoint()
    discard_log(path)
    return anchor


def _put_in_place(directory: Path, header: Header, master: bytearray) -> None:
    if header.slot(SlotKind.PASSPHRASE) is None:
        header = replace(header, slots=(Door().slot(directory, header.vault_id, master), *header.slots))
    raw = encode(replace(header, epoch=header.epoch + 1), mac_key(master))
    write_durably(directory / HEADER, raw)
    with suppress(OSError):  # the next start does both of these too
        adopt_database(directory)
        write_durably(directory / BACKUP, raw)
