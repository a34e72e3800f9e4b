"""An issuer whose vouchers the machine redeems, good ones and others."""

import hashlib
from dataclasses import replace

from nanolocal.ledger import base32
from nanolocal.ledger.vouchers import LATEST, NO_DEVICE, Voucher, VoucherKind, key_id, public_key_of, sign

SEED = bytes(range(32, 64))
PUBLIC = public_key_of(SEED)
TRICKS = ("good bearer", "good", "used", "the same serial", "expired", "for another device", "a flipped bit",
          "of a stranger")  # fmt: skip


def voucher(trick: str, number: int, amount: int, device: bytes, now: float) -> Voucher:
    """The voucher with that number, which is also its serial, as ``trick`` says."""
    is_bearer = trick == "good bearer"
    made = Voucher(
        VoucherKind.BEARER if is_bearer else VoucherKind.DEVICE,
        key_id(PUBLIC),
        hashlib.sha256(f"{trick} {number}".encode()).digest()[:16],
        amount,
        number,
        max(0, int(now) - 1) if trick == "expired" else LATEST,
        NO_DEVICE if is_bearer else device,
    )
    if trick == "for another device":
        made = replace(made, device=bytes(reversed(device)))
    return sign(made, bytes(32) if trick == "of a stranger" else SEED)


def flipped(code: str, bit: int) -> str:
    """The same code with one bit changed."""
    data = bytearray(base32.decode(code, "a voucher", len(code)))
    bit %= len(data) * 8
    data[bit // 8] ^= 1 << bit % 8
    return base32.encode(bytes(data))
