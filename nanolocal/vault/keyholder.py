"""The header on disk with the master key that opens it: what opens the vault from now on, and how far it has come."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from threading import Lock

from nanolocal.errors import Damaged, NanolocalError, UsageError
from nanolocal.vault import keychain
from nanolocal.vault.files import exclusive, shred, write_durably
from nanolocal.vault.header import Anchor, Header, SlotKind, decode, encode, is_genuine
from nanolocal.vault.keys import Stretching, recovery_code
from nanolocal.vault.layout import BACKUP, HEADER, KEYFILE, header_bytes, read_header
from nanolocal.vault.unlock import DataKeys, Door, mac_key, new_recovery, unlock_by_passphrase, unsealed_keys


class KeyHolder:
    """An unlocked header. Whatever changes it holds ``vault.lock`` meanwhile."""

    def __init__(self, directory: Path, master: bytearray, vault_id: str) -> None:
        self._directory = directory
        self._master = master
        self._master_in_use = Lock()
        self._vault_id = vault_id
        self._known: tuple[bytes, Header] | None = None

    @property
    def directory(self) -> Path:
        """Where the vault lies."""
        return self._directory

    @property
    def keys(self) -> DataKeys:
        """What its data is encrypted with."""
        return unsealed_keys(self._genuine_header(), self._master)

    @property
    def anchor(self) -> Anchor:
        """How far the database had come, as the header on disk has it now."""
        return read_header(self._directory).anchor

    @property
    def slots(self) -> tuple[SlotKind, ...]:
        """What opens this vault."""
        return tuple(slot.kind for slot in read_header(self._directory).slots)

    def check_passphrase(self, passphrase: str | None) -> None:
        """Raise ``VaultLocked`` unless ``passphrase`` is the present one; without one, nothing is asked for."""
        header = self._genuine_header()
        if (slot := header.slot(SlotKind.PASSPHRASE)) is not None:
            unlock_by_passphrase(header, slot, passphrase)

    def change_passphrase(self, new: str | None, stretching: Stretching | None = None) -> None:
        """Let ``new`` open the vault from now on instead of the old one; ``None`` goes back to a key file."""
        check_new_passphrase(new)
        self._change_door(Door(new, stretching))

    def use_keyring(self) -> str:
        """Let the system's keyring open the vault from now on; returns the keyring's name.

        Raises ``UsageError`` without an allowed keyring, or without a recovery code for the day the keyring is gone.
        """
        name = keychain.backend_name()
        if name is None:
            raise UsageError(
                "there is no keyring here that keeps its entries encrypted",
                "pip install 'nanolocal[keyring]', and start GNOME Keyring or KWallet; or use a passphrase",
            )
        if SlotKind.RECOVERY not in self.slots:
            raise UsageError("without a recovery code a lost keyring loses the vault", "nanolocal vault recovery")
        self._change_door(Door(keyring=name))
        return name

    def make_recovery_code(self) -> str:
        """A new recovery code, which opens the vault like the passphrase; an earlier one no longer does."""
        with self._master_in_use, self._alone():
            header = self._genuine_header()
            slot, secret = new_recovery(header.vault_id, self._master)
            others = (slot for slot in header.slots if slot.kind is not SlotKind.RECOVERY)
            self._write(replace(header, slots=(*others, slot), epoch=header.epoch + 1))
        return recovery_code(secret)

    def portable_header(self, anchor: Anchor) -> bytes:
        """The header for a backup that ends at ``anchor``: only what a person carries in the head or on paper opens it.

        Raises ``UsageError`` when neither passphrase nor recovery code does.
        """
        header = self._genuine_header()
        slots = tuple(slot for slot in header.slots if slot.kind in (SlotKind.PASSPHRASE, SlotKind.RECOVERY))
        if not slots:
            raise UsageError(
                "nothing would open the backup elsewhere: the vault has neither passphrase nor recovery code",
                "make a recovery code first: nanolocal vault recovery",
            )
        # Not the device's key: a copy elsewhere is another device.
        keys = {name: sealed for name, sealed in header.keys.items() if name != "device"}
        return encode(replace(header, slots=slots, keys=keys, anchor=anchor), mac_key(self._master))

    def genuine(self, header: Header) -> Header:
        """``header`` itself; raises ``Damaged`` unless it was written with this vault's master key."""
        if header.vault_id != self._vault_id or not is_genuine(header, mac_key(self._master)):
            raise Damaged("the vault's header was changed by something else", "put vault.hdr.bak in its place")
        return header

    def _genuine_header(self) -> Header:
        """The one on disk; each commit looks, and mostly finds the bytes that the one before wrote."""
        raw, known = header_bytes(self._directory), self._known
        if known is None or known[0] != raw:
            self._known = known = (raw, self.genuine(decode(raw)))
        return known[1]

    def _renew_backup(self) -> None:
        """Replace a backup that still holds earlier slots: an old passphrase must not open it."""
        with self._alone():
            header = self._genuine_header()
            backup = self._directory / BACKUP
            try:
                current = decode(backup.read_bytes()).epoch == header.epoch
            except (OSError, NanolocalError):
                current = False
            if not current:
                write_durably(backup, encode(header, mac_key(self._master)))

    def _change_door(self, door: Door) -> None:
        with self._master_in_use, self._alone():
            header = self._genuine_header()
            new = door.slot(self._directory, header.vault_id, self._master)
            others = (slot for slot in header.slots if slot.kind is SlotKind.RECOVERY)
            self._write(replace(header, slots=(new, *others), epoch=header.epoch + 1))
            if new.kind is not SlotKind.KEYFILE:
                shred(self._directory / KEYFILE)
            old = header.slot(SlotKind.KEYRING)
            if old is not None and old.backend != new.backend:
                keychain.forget(header.vault_id, old.backend)

    def _change(self, change: Callable[[Header], Header]) -> None:
        with self._alone():
            header = self._genuine_header()
            changed = change(header)
            if changed != header:
                self._replace(changed)

    def _write(self, header: Header) -> None:
        """Replace the header and its backup; ``vault.lock`` is held."""
        write_durably(self._directory / BACKUP, self._replace(header))

    def _replace(self, header: Header) -> bytes:
        """Replace the header alone; returns its bytes."""
        raw = encode(header, mac_key(self._master))
        write_durably(self._directory / HEADER, raw)
        self._known = (raw, header)
        return raw

    def _alone(self) -> AbstractContextManager[None]:
        """No other thread or process changes the header meanwhile."""
        return exclusive(self._directory / "vault.lock")


def check_new_passphrase(passphrase: str | None) -> None:
    """Raise ``UsageError`` for an empty one; ``None`` declines it."""
    if passphrase is not None and not passphrase.strip():
        raise UsageError("an empty passphrase protects nothing", "choose one, or decline it to use a key file")
