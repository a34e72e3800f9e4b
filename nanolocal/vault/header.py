"""``vault.hdr``: how the vault is unlocked, its sealed data keys, and the ledger's anchor. Pure: bytes in, values out.

The file is canonical JSON, byte for byte. ``sum`` (SHA-256 of all other members) tells accidental damage from a wrong
passphrase without any key; ``mac`` (HMAC-SHA256 under the master key) stops forged slots and weakened settings.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import NoReturn, TypeVar

from nanolocal.errors import Damaged, VaultLocked
from nanolocal.vault.keys import KEY_BYTES, NONCE_BYTES, SALT_BYTES, Sealed, Stretching

FORMAT = "nanolocal-vault"
VERSION = 2
MAX_BYTES = 64 * 1024
_TAG_BYTES = 16
_HASH_BYTES = 32

T = TypeVar("T")


class SlotKind(StrEnum):
    """What opens a slot. A header holds each kind at most once."""

    PASSPHRASE = "passphrase"  # noqa: S105 - a kind, not a secret
    KEYFILE = "keyfile"
    RECOVERY = "recovery"
    KEYRING = "keyring"


@dataclass(frozen=True, slots=True)
class Slot:
    """One way to the master key; ``stretching`` only for a passphrase, ``backend`` only for a keyring."""

    id: str
    kind: SlotKind
    salt: bytes
    stretching: Stretching | None
    master: Sealed
    backend: str = ""


@dataclass(frozen=True, slots=True)
class Anchor:
    """How far the database had come; it must still contain this.

    ``seq`` and ``head``: the ledger's newest settled entry (0 = none) and its hash in hex. ``commit`` and ``mark``:
    the newest commit and what tells it from another commit of that number (since version 2).
    """

    seq: int = 0
    head: str = "0" * 64
    commit: int = 0
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Header:
    """Everything in the file. ``epoch`` rises with each change of slots or keys; ``keys`` maps a name to its seal.

    ``version`` is the one the file was read with; whatever is written has the newest.
    """

    vault_id: str
    epoch: int
    slots: tuple[Slot, ...]
    keys: Mapping[str, Sealed]
    anchor: Anchor = Anchor()
    mac: str = ""
    version: int = VERSION

    def slot(self, kind: SlotKind) -> Slot | None:
        """The slot of that kind, if there is one."""
        return next((slot for slot in self.slots if slot.kind is kind), None)

    def key_bound_to(self, name: str) -> bytes:
        """What the sealed data key ``name`` is tied to."""
        return _canonical(["nanolocal/key/v1", self.vault_id, name])


def slot_bound_to(vault_id: str, slot: Slot) -> bytes:
    """What a slot's sealed master key is tied to, so that the slot cannot be moved or weakened."""
    how = slot.backend or _plain(slot.stretching)
    return _canonical(["nanolocal/slot/v1", vault_id, slot.id, slot.kind, slot.salt.hex(), how])


def encode(header: Header, mac_key: bytes) -> bytes:
    """The file's bytes, with ``mac`` and ``sum`` made anew.

    Each commit writes them, and laying them out takes longest: that is done once, and both are put in their places.
    No text inside a member looks like the start of a line.
    """
    bare = _canonical(_record(replace(header, version=VERSION, mac="")))
    mac = hmac.new(mac_key, bare, "sha256").hexdigest()
    signed = bare.replace(b'\n "mac": ""', f'\n "mac": "{mac}"'.encode(), 1)
    total = hashlib.sha256(signed).hexdigest()
    return signed.replace(b'\n "vault_id": ', f'\n "sum": "{total}",\n "vault_id": '.encode(), 1)


@lru_cache(maxsize=4)
def decode(raw: bytes) -> Header:
    """Read the file's bytes without any key; each commit does, mostly the same ones.

    Raises ``Damaged``, or ``VaultLocked`` for a newer version.
    """
    if len(raw) > MAX_BYTES:
        _damaged()
    try:
        record = json.loads(raw, parse_float=_damaged, parse_constant=_damaged)
        if type(record) is not dict or _canonical(record) != raw:
            _damaged()
    except (ValueError, RecursionError) as error:
        raise Damaged(_DAMAGED, _HINT) from error
    total = _member(record, "sum", str)
    del record["sum"]
    if total != _digest(record) or _member(record, "format", str) != FORMAT:
        _damaged()
    version = _member(record, "version", int)
    if version < 1:
        _damaged()
    if version > VERSION:
        raise VaultLocked("this vault was made by a newer nanolocal", "update nanolocal")
    header = _header(record)
    if _canonical(_record(header)) != _canonical(record):
        _damaged()  # a member that the MAC would not cover
    return header


def is_genuine(header: Header, mac_key: bytes) -> bool:
    """Whether the header was written by someone who knew the master key."""
    return hmac.compare_digest(header.mac, _mac(header, mac_key))


_DAMAGED = "the vault's header is damaged"
_HINT = "vault.hdr.bak beside it is the copy made when its keys last changed: put it in place of vault.hdr"


def _damaged(_value: str = "") -> NoReturn:
    raise Damaged(_DAMAGED, _HINT)


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, indent=1, ensure_ascii=True).encode() + b"\n"


def _digest(record: object) -> str:
    return hashlib.sha256(_canonical(record)).hexdigest()


def _mac(header: Header, mac_key: bytes) -> str:
    return hmac.new(mac_key, _canonical(_record(replace(header, mac=""))), "sha256").hexdigest()


def _plain(stretching: Stretching | None) -> dict[str, object] | None:
    if stretching is None:
        return None
    return {
        "name": "argon2id",
        "memory_kib": stretching.memory_kib,
        "iterations": stretching.iterations,
        "lanes": stretching.lanes,
    }


def _sealed_record(sealed: Sealed) -> dict[str, object]:
    return {"nonce": sealed.nonce.hex(), "ciphertext": sealed.ciphertext.hex()}


def _record(header: Header) -> dict[str, object]:
    slots = [
        {
            "id": slot.id,
            "kind": slot.kind,
            "salt": slot.salt.hex(),
            "kdf": _plain(slot.stretching),
            "master": _sealed_record(slot.master),
            **({"backend": slot.backend} if slot.backend else {}),
        }
        for slot in header.slots
    ]
    anchor: dict[str, object] = {"seq": header.anchor.seq, "head": header.anchor.head}
    if header.version > 1:
        anchor |= {"commit": header.anchor.commit, "mark": header.anchor.mark}
    return {
        "format": FORMAT,
        "version": header.version,
        "vault_id": header.vault_id,
        "epoch": header.epoch,
        "slots": slots,
        "keys": {name: _sealed_record(sealed) for name, sealed in header.keys.items()},
        "anchor": anchor,
        "mac": header.mac,
    }


def _member(record: object, name: str, kind: type[T]) -> T:
    value: object = record.get(name) if isinstance(record, dict) else None
    if type(value) is not kind:
        _damaged()
    return value


def _bytes(record: object, name: str, length: int | None = None) -> bytes:
    try:
        data = bytes.fromhex(_member(record, name, str))
    except ValueError as error:
        raise Damaged(_DAMAGED, _HINT) from error
    if length is not None and len(data) != length:
        _damaged()
    return data


def _sealed(record: object, plain_bytes: int | None = None) -> Sealed:
    length = None if plain_bytes is None else plain_bytes + _TAG_BYTES
    return Sealed(_bytes(record, "nonce", NONCE_BYTES), _bytes(record, "ciphertext", length))


def _slot(record: object) -> Slot:
    kind = _member(record, "kind", str)
    if kind not in list(SlotKind):
        _damaged()
    stretching = None
    if kind == SlotKind.PASSPHRASE:
        kdf = _member(record, "kdf", dict)
        if _member(kdf, "name", str) != "argon2id":
            _damaged()
        stretching = Stretching(*(_member(kdf, name, int) for name in ("memory_kib", "iterations", "lanes")))
        stretching.check()
    backend = _member(record, "backend", str) if kind == SlotKind.KEYRING else ""
    salt = _bytes(record, "salt", SALT_BYTES)
    master = _sealed(_member(record, "master", dict), KEY_BYTES)
    return Slot(_member(record, "id", str), SlotKind(kind), salt, stretching, master, backend)


def _header(record: dict[str, object]) -> Header:
    slots = tuple(_slot(slot) for slot in _member(record, "slots", list))
    if not slots or len({slot.kind for slot in slots}) != len(slots):
        _damaged()
    version = _member(record, "version", int)
    anchor = _member(record, "anchor", dict)
    commit = (_member(anchor, "commit", int), _bytes(anchor, "mark").hex()) if version > 1 else (0, "")
    return Header(
        vault_id=_bytes(record, "vault_id", 16).hex(),
        epoch=_member(record, "epoch", int),
        slots=slots,
        keys={name: _sealed(sealed) for name, sealed in _member(record, "keys", dict).items()},
        anchor=Anchor(_member(anchor, "seq", int), _bytes(anchor, "head", _HASH_BYTES).hex(), *commit),
        mac=_bytes(record, "mac", _HASH_BYTES).hex(),
        version=version,
    )
