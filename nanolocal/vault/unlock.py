"""From what the user has (passphrase, recovery code, key file) to the master key, and back: making slots."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from nanolocal.errors import Damaged, UsageError, VaultLocked
from nanolocal.vault.files import check_private_file, write_durably
from nanolocal.vault.header import Header, Slot, SlotKind, is_genuine, slot_bound_to
from nanolocal.vault.keys import (
    KEY_BYTES,
    SALT_BYTES,
    DatabaseKey,
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
    """What encrypts the data: the database's key, the one it is being changed to, and the one of the blobs."""

    database: DatabaseKey
    blob: bytes = field(repr=False)
    database_next: DatabaseKey | None = None

    @staticmethod
    def new() -> "DataKeys":
        """Random ones."""
        return DataKeys(new_database_key(), secrets.token_bytes(KEY_BYTES))


def new_database_key() -> DatabaseKey:
    """A random key with a random salt."""
    return DatabaseKey.from_bytes(secrets.token_bytes(KEY_BYTES + SALT_BYTES))


def unlock(directory: Path, header: Header, secret: str | None) -> bytearray:
    """The master key, by passphrase, recovery code or key file. Raises ``VaultLocked`` or ``Damaged``."""
    master = _by_recovery_code(header, secret)
    if master is None and (slot := header.slot(SlotKind.PASSPHRASE)) is not None:
        master = unlock_by_passphrase(header, slot, secret)
    elif master is None:
        master = _by_keyfile(directory, header)
    if not is_genuine(header, mac_key(master)):
        raise Damaged(_FOREIGN, _BACKUP_HINT)
    return master


def unlock_by_passphrase(header: Header, slot: Slot, passphrase: str | None) -> bytearray:
    """The master key from the passphrase slot; raises ``VaultLocked``, always with the same words."""
    if not passphrase or slot.stretching is None:
        raise VaultLocked(_LOCKED, _UNLOCK)
    master = _open(header, slot, stretch(passphrase, slot.salt, slot.stretching))
    if master is None:
        raise VaultLocked(_LOCKED, _UNLOCK)
    return master


def new_door(
    directory: Path, vault_id: str, master: bytearray, passphrase: str | None, stretching: Stretching | None
) -> Slot:
    """The slot that is asked for at the door: a passphrase, or where it is ``None`` a key file."""
    if passphrase is None:
        return _slot(vault_id, SlotKind.KEYFILE, master, _kept_keyfile(directory))
    cost = stretching or measured_stretching()
    return _slot(vault_id, SlotKind.PASSPHRASE, master, passphrase, cost)


def new_recovery(vault_id: str, master: bytearray) -> tuple[Slot, bytes]:
    """A slot for a new recovery code, and the code's 32 bytes."""
    secret = secrets.token_bytes(KEY_BYTES)
    return _slot(vault_id, SlotKind.RECOVERY, master, secret), secret


def sealed_keys(header: Header, master: bytearray, keys: DataKeys) -> Header:
    """``header`` with the data keys sealed under ``master``."""
    plain = {"db": keys.database.as_bytes(), "blob": keys.blob}
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
    if database is None or blob is None:
        raise Damaged("a key in the vault's header is damaged", "put vault.hdr.bak in place of vault.hdr")
    return DataKeys(
        DatabaseKey.from_bytes(database), blob, None if following is None else DatabaseKey.from_bytes(following)
    )


def mac_key(master: bytearray) -> bytes:
    """What proves that a header was written by someone who knew the master key."""
    return derive(master, "header-mac")


def _by_recovery_code(header: Header, secret: str | None) -> bytearray | None:
    code = parse_recovery_code(secret or "")
    slot = header.slot(SlotKind.RECOVERY)
    return None if code is None or slot is None else _open(header, slot, _opener(slot.kind, slot.salt, code))


def _by_keyfile(directory: Path, header: Header) -> bytearray:
    slot = header.slot(SlotKind.KEYFILE)
    if slot is None:
        raise VaultLocked("the vault is locked: only its recovery code opens it", _UNLOCK)
    master = _open(header, slot, _opener(slot.kind, slot.salt, _read_keyfile(directory)))
    if master is None:
        raise VaultLocked("the key file vault.key is not the one of this vault", "put the right one in its place")
    return master


def _open(header: Header, slot: Slot, opener: bytes | bytearray) -> bytearray | None:
    bound_to = slot_bound_to(header.vault_id, slot.id, slot.kind, slot.salt, slot.stretching)
    master = unseal(opener, slot.master, bound_to)
    return None if master is None else bytearray(master)


def _opener(kind: SlotKind, salt: bytes, secret: bytes) -> bytes:
    return derive(secret, f"{kind}-slot", salt)


def _slot(
    vault_id: str, kind: SlotKind, master: bytearray, secret: str | bytes, cost: Stretching | None = None
) -> Slot:
    slot_id, salt = secrets.token_hex(8), secrets.token_bytes(SALT_BYTES)
    opener: bytes | bytearray
    if isinstance(secret, str):
        cost = cost or Stretching()
        opener = stretch(secret, salt, cost)
    else:
        opener = _opener(kind, salt, secret)
    return Slot(slot_id, kind, salt, cost, seal(opener, master, slot_bound_to(vault_id, slot_id, kind, salt, cost)))


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
