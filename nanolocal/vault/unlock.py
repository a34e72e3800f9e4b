"""From what the user has (passphrase, recovery code, key file, keyring) to the master key, and back: making slots."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from nanolocal.errors import Damaged, UsageError, VaultLocked
from nanolocal.vault import keychain
from nanolocal.vault.files import check_private_file, write_durably
from nanolocal.vault.header import Header, Slot, SlotKind, decode, is_genuine, slot_bound_to
from nanolocal.vault.keys import (
    KEY_BYTES,
    SALT_BYTES,
    DatabaseKey,
    Sealed,
    Stretching,
    derive,
    measured_stretching,
    parse_recovery_code,
    seal,
    stretch,
    unseal,
)

_KEYFILE = "vault.key"
_LOCKED = "the vault is locked: the passphrase is missing or wrong"
_UNLOCK = "try again; a script gives it in NANOLOCAL_PASSPHRASE or with --passphrase-file FILE"
_FOREIGN = "the vault's header was changed by something else"
_BACKUP_HINT = "put vault.hdr.bak in its place"


@dataclass(frozen=True, slots=True)
class DataKeys:
    """What encrypts the data: the database's key, the one it is being changed to, and the one of the blobs.

    ``device`` is what this device's signatures are made with (an Ed25519 seed); empty where there is none yet: in a
    vault that is older than signatures, or comes from a backup.
    """

    database: DatabaseKey
    blob: bytes = field(repr=False)
    device: bytes = field(repr=False)
    database_next: DatabaseKey | None = None

    @staticmethod
    def new() -> "DataKeys":
        """Random ones."""
        return DataKeys(new_database_key(), secrets.token_bytes(KEY_BYTES), secrets.token_bytes(KEY_BYTES))

    def with_device(self) -> "DataKeys":
        """The same with a key for signatures, a new one if there is none."""
        return self if self.device else replace(self, device=secrets.token_bytes(KEY_BYTES))


def new_database_key() -> DatabaseKey:
    """A random key with a random salt."""
    return DatabaseKey.from_bytes(secrets.token_bytes(KEY_BYTES + SALT_BYTES))


def unlock(directory: Path, header: Header, secret: str | None) -> bytearray:
    """The master key, by whatever opens the vault. Raises ``VaultLocked`` or ``Damaged``."""
    master = _by_recovery_code(header, secret)
    if master is None and (slot := header.slot(SlotKind.PASSPHRASE)) is not None:
        master = unlock_by_passphrase(header, slot, secret)
    elif master is None and (slot := header.slot(SlotKind.KEYRING)) is not None:
        master = _by_keyring(header, slot)
    elif master is None:
        master = _by_keyfile(directory, header)
    return _checked(header, master)


def unlock_header(raw: bytes, secret: str | None) -> tuple[Header, bytearray]:
    """Read a header away from its vault and open it by passphrase or recovery code.

    Raises ``VaultLocked`` when the secret is wrong, ``Damaged`` when the header is.
    """
    header = decode(raw)
    master = _by_recovery_code(header, secret)
    if master is None:
        slot = header.slot(SlotKind.PASSPHRASE)
        if slot is None:
            raise VaultLocked("only the recovery code opens this", _UNLOCK)
        master = unlock_by_passphrase(header, slot, secret)
    return header, _checked(header, master)


def unlock_by_passphrase(header: Header, slot: Slot, passphrase: str | None) -> bytearray:
    """The master key from the passphrase slot; raises ``VaultLocked``, always with the same words."""
    if not passphrase or slot.stretching is None:
        raise VaultLocked(_LOCKED, _UNLOCK)
    master = _open(header, slot, stretch(passphrase, slot.salt, slot.stretching))
    if master is None:
        raise VaultLocked(_LOCKED, _UNLOCK)
    return master


@dataclass(frozen=True, slots=True)
class Door:
    """What opens a vault day by day: a passphrase, or without one the system's keyring, or a key file.

    ``stretching`` is Argon2id's cost, measured when ``None``; ``keyring`` the name of a keyring's backend.
    """

    passphrase: str | None = field(default=None, repr=False)
    stretching: Stretching | None = None
    keyring: str | None = None

    def slot(self, directory: Path, vault_id: str, master: bytearray) -> Slot:
        """A new slot for it, which opens to ``master``."""
        if self.passphrase is not None:
            cost = self.stretching or measured_stretching()
            return _slot(vault_id, SlotKind.PASSPHRASE, master, self.passphrase, cost=cost)
        if self.keyring is not None:
            kept = keychain.kept_secret(vault_id, self.keyring)
            return _slot(vault_id, SlotKind.KEYRING, master, kept, backend=self.keyring)
        return _slot(vault_id, SlotKind.KEYFILE, master, _kept_keyfile(directory))


def new_recovery(vault_id: str, master: bytearray) -> tuple[Slot, bytes]:
    """A slot for a new recovery code, and the code's 32 bytes."""
    secret = secrets.token_bytes(KEY_BYTES)
    return _slot(vault_id, SlotKind.RECOVERY, master, secret), secret


def sealed_keys(header: Header, master: bytearray, keys: DataKeys) -> Header:
    """``header`` with the data keys sealed under ``master``."""
    plain = {"db": keys.database.as_bytes(), "blob": keys.blob}
    if keys.device:
        plain["device"] = keys.device
    if keys.database_next is not None:
        plain["db_next"] = keys.database_next.as_bytes()
    wrapping = derive(master, "wrap")
    sealed = {name: seal(wrapping, data, header.key_bound_to(name)) for name, data in plain.items()}
    return replace(header, keys=sealed)


def unsealed_keys(header: Header, master: bytearray) -> DataKeys:
    """The data keys of ``header``; raises ``Damaged``."""
    wrapping = derive(master, "wrap")
    plain: Mapping[str, bytes | None] = {
        name: unseal(wrapping, sealed, header.key_bound_to(name)) for name, sealed in header.keys.items()
    }
    database, blob, following = plain.get("db"), plain.get("blob"), plain.get("db_next")
    device = plain.get("device", b"")
    if database is None or blob is None or device is None:
        raise Damaged("a key in the vault's header is damaged", "put vault.hdr.bak in place of vault.hdr")
    upcoming = None if following is None else DatabaseKey.from_bytes(following)
    return DataKeys(DatabaseKey.from_bytes(database), blob, device, upcoming)


def mac_key(master: bytearray) -> bytes:
    """What proves that a header was written by someone who knew the master key."""
    return derive(master, "header-mac")


def _checked(header: Header, master: bytearray) -> bytearray:
    if not is_genuine(header, mac_key(master)):
        raise Damaged(_FOREIGN, _BACKUP_HINT)
    return master


def _by_recovery_code(header: Header, secret: str | None) -> bytearray | None:
    code = parse_recovery_code(secret or "")
    slot = header.slot(SlotKind.RECOVERY)
    return None if code is None or slot is None else _open(header, slot, _opener(slot.kind, slot.salt, code))


def _by_keyring(header: Header, slot: Slot) -> bytearray:
    secret = keychain.read_secret(header.vault_id, slot.backend)
    master = _open(header, slot, _opener(slot.kind, slot.salt, secret))
    if master is None:
        raise VaultLocked("the key in the system's keyring is not the one of this vault", _UNLOCK)
    return master


def _by_keyfile(directory: Path, header: Header) -> bytearray:
    slot = header.slot(SlotKind.KEYFILE)
    if slot is None:
        raise VaultLocked("the vault is locked: only its recovery code opens it", _UNLOCK)
    master = _open(header, slot, _opener(slot.kind, slot.salt, _read_keyfile(directory)))
    if master is None:
        raise VaultLocked("the key file vault.key is not the one of this vault", "put the right one in its place")
    return master


def _open(header: Header, slot: Slot, opener: bytes | bytearray) -> bytearray | None:
    master = unseal(opener, slot.master, slot_bound_to(header.vault_id, slot))
    return None if master is None else bytearray(master)


def _opener(kind: SlotKind, salt: bytes, secret: bytes) -> bytes:
    return derive(secret, f"{kind}-slot", salt)


def _slot(
    vault_id: str,
    kind: SlotKind,
    master: bytearray,
    secret: str | bytes,
    *,
    cost: Stretching | None = None,
    backend: str = "",
) -> Slot:
    salt = secrets.token_bytes(SALT_BYTES)
    opener: bytes | bytearray
    if isinstance(secret, str):
        cost = cost or Stretching()
        opener = stretch(secret, salt, cost)
    else:
        opener = _opener(kind, salt, secret)
    empty = Slot(secrets.token_hex(8), kind, salt, cost, Sealed(b"", b""), backend)
    return replace(empty, master=seal(opener, master, slot_bound_to(vault_id, empty)))


def _kept_keyfile(directory: Path) -> bytes:
    """The key file's secret; a new one only where there is none, so that a crash never strands the old header."""
    path = directory / _KEYFILE
    if not path.exists():
        write_durably(path, secrets.token_hex(KEY_BYTES).encode())
    return _read_keyfile(directory)


def _read_keyfile(directory: Path) -> bytes:
    path = directory / _KEYFILE
    try:
        check_private_file(path)
        return bytes.fromhex(path.read_text("ascii"))
    except FileNotFoundError as error:
        hint = f"put it in {directory}, or give the recovery code in NANOLOCAL_PASSPHRASE"
        raise VaultLocked("the vault is locked: its key file vault.key is missing", hint) from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "check its permissions") from error
    except ValueError as error:
        raise Damaged("the key file vault.key is damaged", "restore it, or use the recovery code") from error
