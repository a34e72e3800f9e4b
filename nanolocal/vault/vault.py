"""The vault: one directory, one key hierarchy, one database, one set of blobs.

    vault.hdr   how to unlock it (header.py)      vault.db   conversations, search, ledger (SQLCipher)
    vault.key   only without a passphrase         blobs/     attachments and pictures (NLB1)

The header is written last, so a vault exists whole or not at all; ``vault.lock`` lets one process at a time change it.
"""

import secrets
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

from nanolocal.errors import Damaged, UsageError, VaultLocked
from nanolocal.vault.blobs import Blobs
from nanolocal.vault.database import Database, Migrations
from nanolocal.vault.files import (
    check_private_directory,
    check_private_file,
    exclusive,
    make_private_directory,
    shred,
    sync_directory,
    write_durably,
)
from nanolocal.vault.header import MAX_BYTES, Anchor, Header, Slot, SlotKind, decode, encode, is_genuine, slot_bound_to
from nanolocal.vault.keys import (
    KEY_BYTES,
    SALT_BYTES,
    DatabaseKey,
    Stretching,
    derive,
    measured_stretching,
    seal,
    stretch,
    unseal,
)

_HEADER, _BACKUP, _KEYFILE, _DATABASE = "vault.hdr", "vault.hdr.bak", "vault.key", "vault.db"
_LOCKED = "the vault is locked: the passphrase is missing or wrong"
_UNLOCK = "try again; a script gives it in NANOLOCAL_PASSPHRASE or with --passphrase-file FILE"


class VaultState(StrEnum):
    """What is needed to open the vault of a directory."""

    ABSENT = "absent"
    PASSPHRASE = "passphrase"  # noqa: S105 - a state, not a secret
    KEYFILE = "keyfile"


class Vault:
    """An unlocked vault. ``database`` and ``blobs`` work until ``close``."""

    def __init__(self, directory: Path, master: bytearray, header: Header, migrations: Migrations) -> None:
        self._directory = directory
        self._master = master
        self._header = header
        database_key = DatabaseKey.from_bytes(_data_key(header, master, "db"))
        self.database = Database.open(directory / _DATABASE, database_key, migrations)
        try:
            self._check_identity()
            self.blobs = Blobs(directory / "blobs", _data_key(header, master, "blob"))
            self._sweep()
        except BaseException:
            self.database.close()
            raise

    @staticmethod
    def state(directory: Path) -> VaultState:
        """Look at a directory without opening anything; raises ``Damaged`` if parts of a vault are missing."""
        if not (directory / _HEADER).exists():
            if (directory / _BACKUP).exists() or (directory / _DATABASE).exists():
                raise Damaged("the vault's header vault.hdr is missing", "put vault.hdr.bak in its place")
            return VaultState.ABSENT
        header = _read_header(directory)
        return VaultState.PASSPHRASE if header.slot(SlotKind.PASSPHRASE) else VaultState.KEYFILE

    @classmethod
    def create(
        cls, directory: Path, passphrase: str | None, migrations: Migrations, stretching: Stretching | None = None
    ) -> "Vault":
        """Make a vault; ``None`` declines a passphrase, and a key file beside the data opens it from then on."""
        _check_new_passphrase(passphrase)
        make_private_directory(directory)
        with exclusive(directory / "vault.lock"):
            if cls.state(directory) is not VaultState.ABSENT:
                raise UsageError(f"there is already a vault in {directory}", "open it, or choose another --home")
            master = bytearray(secrets.token_bytes(KEY_BYTES))
            vault_id = secrets.token_hex(16)
            slot = _new_slot(directory, vault_id, master, passphrase, stretching)
            header = _new_header(vault_id, slot, master)
            _make_database(directory, header, master, migrations)
            raw = encode(header, derive(master, "header-mac"))
            write_durably(directory / _HEADER, raw)
            _adopt_database(directory)
            write_durably(directory / _BACKUP, raw)
        return cls(directory, master, header, migrations)

    @classmethod
    def open(cls, directory: Path, passphrase: str | None, migrations: Migrations) -> "Vault":
        """Unlock a vault. Raises ``VaultLocked``, ``Damaged`` or ``UsageError``; a wrong passphrase changes nothing."""
        check_private_directory(directory)
        if cls.state(directory) is VaultState.ABSENT:
            raise UsageError(f"there is no vault in {directory}", "start nanolocal to make one")
        header = _read_header(directory)
        master = _unlock(directory, header, passphrase)
        if not (directory / _DATABASE).exists():
            with exclusive(directory / "vault.lock"):
                _adopt_database(directory)
        vault = cls(directory, master, header, migrations)
        try:
            vault._renew_backup()
        except BaseException:
            vault.close()
            raise
        return vault

    @property
    def anchor(self) -> Anchor:
        """The ledger's newest settled entry, as the header on disk has it now."""
        return _read_header(self._directory).anchor

    def keep_anchor(self, seq: int, head: str) -> None:
        """Move the anchor forward; an older ``seq`` than the header's is ignored."""
        self._change(lambda header: replace(header, anchor=Anchor(seq, head)) if seq > header.anchor.seq else header)

    def change_passphrase(self, new: str | None, stretching: Stretching | None = None) -> None:
        """Let ``new`` open the vault from now on, and nothing else; ``None`` goes back to a key file."""
        _check_new_passphrase(new)
        with exclusive(self._directory / "vault.lock"):
            header = self._genuine_header()
            slot = _new_slot(self._directory, header.vault_id, self._master, new, stretching)
            raw = encode(replace(header, slots=(slot,), epoch=header.epoch + 1), self._mac_key())
            write_durably(self._directory / _HEADER, raw)
            write_durably(self._directory / _BACKUP, raw)
            if slot.kind is SlotKind.PASSPHRASE:
                shred(self._directory / _KEYFILE)

    def close(self) -> None:
        """Close the database and forget the master key. Closing twice is no error."""
        try:
            self.database.close()
        finally:
            self._master[:] = bytes(len(self._master))

    def _check_identity(self) -> None:
        if self.database.execute("SELECT value FROM meta WHERE name = 'vault_id'") != [(self._header.vault_id,)]:
            raise Damaged("the database belongs to another vault", "restore it from a backup")

    def _sweep(self) -> None:
        """Remove blobs without a message, which a crash left.

        The write lock is held meanwhile: nobody is between writing a blob and storing its message.
        """
        with self.database.transaction() as tx:
            self.blobs.keep_only({row[0] for row in tx.execute("SELECT blob_id FROM attachment")})

    def _renew_backup(self) -> None:
        """Replace a backup that still holds earlier slots: an old passphrase must not open it."""
        with exclusive(self._directory / "vault.lock"):
            header = self._genuine_header()
            backup = self._directory / _BACKUP
            try:
                current = decode(backup.read_bytes()).epoch == header.epoch
            except (OSError, Damaged):
                current = False
            if not current:
                write_durably(backup, encode(header, self._mac_key()))

    def _change(self, change: Callable[[Header], Header]) -> None:
        with exclusive(self._directory / "vault.lock"):
            header = self._genuine_header()
            changed = change(header)
            if changed != header:
                write_durably(self._directory / _HEADER, encode(changed, self._mac_key()))

    def _genuine_header(self) -> Header:
        header = _read_header(self._directory)
        if header.vault_id != self._header.vault_id or not is_genuine(header, self._mac_key()):
            raise Damaged("the vault's header was changed by something else", "put vault.hdr.bak in its place")
        return header

    def _mac_key(self) -> bytes:
        return derive(self._master, "header-mac")


def _read_header(directory: Path) -> Header:
    try:
        with (directory / _HEADER).open("rb") as file:
            return decode(file.read(MAX_BYTES + 1))
    except OSError as error:
        raise UsageError(f"cannot read {directory / _HEADER}: {error.strerror}", "check its permissions") from error


def _unlock(directory: Path, header: Header, passphrase: str | None) -> bytearray:
    slot = header.slot(SlotKind.PASSPHRASE)
    if slot is not None and slot.stretching is not None:
        if not passphrase:
            raise VaultLocked(_LOCKED, _UNLOCK)
        opener: bytes | bytearray = stretch(passphrase, slot.salt, slot.stretching)
    else:
        slot = header.slots[0]
        opener = derive(_read_keyfile(directory), "keyfile-slot", slot.salt)
    master = unseal(opener, slot.master, slot_bound_to(header.vault_id, slot.id, slot.kind, slot.salt, slot.stretching))
    if master is None:
        if slot.stretching:
            raise VaultLocked(_LOCKED, _UNLOCK)
        raise VaultLocked("the key file vault.key is not the one of this vault", "put the right one in its place")
    if not is_genuine(header, derive(master, "header-mac")):
        raise Damaged("the vault's header was changed by something else", "put vault.hdr.bak in its place")
    return bytearray(master)


def _read_keyfile(directory: Path) -> bytes:
    path = directory / _KEYFILE
    try:
        check_private_file(path)
        return bytes.fromhex(path.read_text("ascii"))
    except FileNotFoundError as error:
        raise VaultLocked("the vault is locked: its key file vault.key is missing", f"put it in {directory}") from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "check its permissions") from error
    except ValueError as error:
        raise Damaged("the key file vault.key is damaged", "restore it from a backup") from error


def _check_new_passphrase(passphrase: str | None) -> None:
    if passphrase is not None and not passphrase.strip():
        raise UsageError("an empty passphrase protects nothing", "choose one, or decline it to use a key file")


def _new_slot(
    directory: Path, vault_id: str, master: bytearray, passphrase: str | None, stretching: Stretching | None
) -> Slot:
    slot_id, salt = secrets.token_hex(8), secrets.token_bytes(SALT_BYTES)
    if passphrase is None:
        cost = None
        opener: bytes | bytearray = derive(_kept_keyfile(directory), "keyfile-slot", salt)
    else:
        cost = stretching or measured_stretching()
        opener = stretch(passphrase, salt, cost)
    kind = SlotKind.KEYFILE if cost is None else SlotKind.PASSPHRASE
    bound_to = slot_bound_to(vault_id, slot_id, kind, salt, cost)
    return Slot(slot_id, kind, salt, cost, seal(opener, master, bound_to))


def _kept_keyfile(directory: Path) -> bytes:
    """The key file's secret; a new one only where there is none, so that a crash never strands the old header."""
    path = directory / _KEYFILE
    if not path.exists():
        write_durably(path, secrets.token_hex(KEY_BYTES).encode())
    return _read_keyfile(directory)


def _new_header(vault_id: str, slot: Slot, master: bytearray) -> Header:
    header = Header(vault_id=vault_id, epoch=1, slots=(slot,), keys={})
    wrapping = derive(master, "wrap")
    sizes = {"db": KEY_BYTES + SALT_BYTES, "blob": KEY_BYTES}
    keys = {name: seal(wrapping, secrets.token_bytes(size), header.key_bound_to(name)) for name, size in sizes.items()}
    return replace(header, keys=keys)


def _data_key(header: Header, master: bytearray, name: str) -> bytes:
    sealed = header.keys.get(name)
    key = unseal(derive(master, "wrap"), sealed, header.key_bound_to(name)) if sealed else None
    if key is None:
        raise Damaged(f"the vault's {name} key is damaged", "put vault.hdr.bak in place of vault.hdr")
    return key


def _make_database(directory: Path, header: Header, master: bytearray, migrations: Migrations) -> None:
    """Make the database under a passing name; it takes its own once the header that opens it is on disk."""
    for stray in directory.glob("vault.db.new*"):
        stray.unlink()
    key = DatabaseKey.from_bytes(_data_key(header, master, "db"))
    database = Database.create(directory / "vault.db.new", key, migrations)
    try:
        with database.transaction() as tx:
            tx.execute("INSERT INTO meta (name, value) VALUES ('vault_id', ?)", (header.vault_id,))
    finally:
        database.close()


def _adopt_database(directory: Path) -> None:
    made = directory / "vault.db.new"
    if made.exists() and not (directory / _DATABASE).exists():
        made.replace(directory / _DATABASE)
        sync_directory(directory)
