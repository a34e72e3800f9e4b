"""Vouchers: credits that an issuer hands out as a signed code of 176 letters. Pure.

The code is the base32 of a payload of 46 bytes and the issuer's Ed25519 signature over ``_DOMAIN`` and that payload.
"""

import enum
import hashlib
import struct
from dataclasses import dataclass, replace
from datetime import datetime

from nanolocal.errors import UsageError
from nanolocal.ledger import base32
from nanolocal.ledger.money import LARGEST

_DOMAIN = b"nanolocal-voucher-v1\0"
_PAYLOAD = struct.Struct(">BB4s16sQII8s")
_VERSION = 1
_SIGNATURE = 64
LETTERS = (_PAYLOAD.size + _SIGNATURE) * 8 // 5
_GROUPS_A_LINE = 11
NO_DEVICE = bytes(8)
LATEST = 2**32 - 1
LAST_SERIAL = 2**32 - 1
_MISTYPED = "copy or type it once more"


class VoucherKind(enum.IntEnum):
    """Who can redeem a voucher: whoever has it, once on each device; or one device."""

    BEARER = 0
    DEVICE = 1


@dataclass(frozen=True, slots=True)
class Voucher:
    """``amount`` micro-credits from the issuer whose key id is ``issuer`` (4 bytes), until ``not_after``.

    ``id`` is 16 random bytes, ``serial`` rises with each voucher of an issuer, ``not_after`` is in seconds since 1970,
    ``device`` the 8 bytes of a device id, zeros for a bearer voucher. ``signature`` is empty until it is signed.
    """

    kind: VoucherKind
    issuer: bytes
    id: bytes
    amount: int
    serial: int
    not_after: int
    device: bytes = NO_DEVICE
    signature: bytes = b""

    def payload(self) -> bytes:
        """The 46 bytes that are signed."""
        return _PAYLOAD.pack(
            _VERSION, self.kind, self.issuer, self.id, self.amount, self.serial, self.not_after, self.device
        )

    def code(self) -> str:
        """The signed voucher as 176 letters and digits, as a QR code holds it."""
        return base32.encode(self.payload() + self.signature)

    def text(self) -> str:
        """The code in four lines of eleven groups, to type and to paste."""
        groups = base32.grouped(self.code(), " ").split(" ")
        return "\n".join(" ".join(groups[at : at + _GROUPS_A_LINE]) for at in range(0, len(groups), _GROUPS_A_LINE))


def parse(text: str) -> Voucher:
    """Read a code as typed or pasted; whether it is genuine, ``check`` tells. Raises ``UsageError``."""
    letters = base32.tidy(text)
    if not letters:
        raise UsageError("there is no voucher code", "nanolocal credits voucher redeem CODE")
    data = base32.decode(letters, "a voucher", LETTERS)
    version, kind, issuer, voucher_id, amount, serial, not_after, device = _PAYLOAD.unpack_from(data)
    if version != _VERSION:
        raise UsageError(
            f"this voucher has version {version}, and only version {_VERSION} is known here",
            f"{_MISTYPED}; or it is one of a newer nanolocal",
        )
    if kind not in set(VoucherKind):
        raise UsageError(f"this voucher is of the unknown kind {kind}", _MISTYPED)
    if not 0 < amount <= LARGEST:
        raise UsageError(f"this voucher is for {amount} micro-credits, which is no amount", _MISTYPED)
    if (device != NO_DEVICE) != (kind == VoucherKind.DEVICE):
        raise UsageError("this voucher contradicts itself about the device that it is made for", _MISTYPED)
    signature = data[_PAYLOAD.size :]
    return Voucher(VoucherKind(kind), issuer, voucher_id, amount, serial, not_after, device, signature)


def moment(seconds: float) -> str:
    """A moment since 1970 in local time, to the minute."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")


def key_id(public_key: bytes) -> bytes:
    """The four bytes by which a voucher names its issuer's public key."""
    return hashlib.sha256(public_key).digest()[:4]


def public_key_of(seed: bytes) -> bytes:
    """The public key of an issuer's 32-byte ``seed``."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def sign(voucher: Voucher, seed: bytes) -> Voucher:
    """The voucher with its issuer's signature: the same one each time."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(seed)
    return replace(voucher, signature=key.sign(_DOMAIN + voucher.payload()))


def check(voucher: Voucher, public_key: bytes) -> None:
    """Raise ``UsageError`` unless the owner of ``public_key`` signed exactly this voucher."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    refusal = UsageError("this voucher is not genuine: its issuer did not sign it like this", _MISTYPED)
    if voucher.issuer != key_id(public_key):
        raise refusal
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(voucher.signature, _DOMAIN + voucher.payload())
    except (InvalidSignature, ValueError) as error:
        raise refusal from error
