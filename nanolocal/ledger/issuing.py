"""The issuer's side of vouchers: its signing keys, handing vouchers out, and what was handed out.

Handing out moves ``mint:<key id>`` to ``issued:<key id>`` and never the wallet. A code is made again from its entry,
because the same voucher signed again is the same: a lost print is no lost voucher.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from nanolocal.errors import UsageError
from nanolocal.ledger import book
from nanolocal.ledger.chain import Entry, EntryKind, Term
from nanolocal.ledger.issuers import LONGEST_NAME
from nanolocal.ledger.money import whole
from nanolocal.ledger.sql import Source, SqlTransaction
from nanolocal.ledger.vouchers import (
    LAST_SERIAL,
    LATEST,
    NO_DEVICE,
    Voucher,
    VoucherKind,
    key_id,
    public_key_of,
    sign,
)
from nanolocal.ledger.wallet import Wallet

_DAY_S = 86_400
_MOST_AT_ONCE = 1000
_LONGEST_DAYS = 3650


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """A key of this device that vouchers are signed with; ``name`` tells its owner's keys apart."""

    name: str
    seed: bytes
    public_key: bytes


@dataclass(frozen=True, slots=True)
class Issued:
    """A voucher as it was handed out, at ``ts`` seconds since 1970, with the name of its key."""

    ts: float
    key_name: str
    voucher: Voucher


def issuer_keys(source: Source) -> list[IssuerKey]:
    """The keys that this device signs vouchers with, the oldest first."""
    rows = source.execute("SELECT name, seed FROM issuer_key ORDER BY made_at, name")
    return [IssuerKey(name, seed, public_key_of(seed)) for name, seed in rows]


def issue(
    wallet: Wallet, key_name: str, amount_micro: int, days: int, devices: Sequence[bytes], count: int = 1
) -> list[Voucher]:
    """Sign ``count`` vouchers for each device, or bearer vouchers where there is none, and record them; all or none.

    The key with that name is made at its first use. Raises ``UsageError``; then nothing was written.
    """
    if whole(amount_micro, "the amount") == 0:
        raise UsageError("a voucher of 0 credits is no voucher", "nanolocal credits voucher issue 5 --for DEVICE")
    if not 1 <= days <= _LONGEST_DAYS:
        raise UsageError(f"a voucher is good for 1 to {_LONGEST_DAYS} days, not {days}", "--days 90")
    total = count * max(1, len(devices))
    if not 1 <= total <= _MOST_AT_ONCE:
        raise UsageError(f"1 to {_MOST_AT_ONCE} vouchers are issued at once, not {total}", "--count 30")
    if not 1 <= len(key_name.strip()) <= LONGEST_NAME or not key_name.isprintable():
        raise UsageError(f"the name of an issuer key has 1 to {LONGEST_NAME} printable characters", "--as NAME")
    now = wallet.now()
    not_after = now // 1000 + days * _DAY_S
    if not_after > LATEST:
        raise UsageError("a voucher cannot be good for so long after this device's date", "check the clock, or --days")
    with wallet.writing() as tx:
        key = _key(tx, key_name.strip(), now)
        serial = _last_serial(tx, key)
        if serial + total > LAST_SERIAL:
            raise UsageError("this issuer key has no serial numbers left", "use another key: --as NAME")
        targets = [device for device in devices or (NO_DEVICE,) for _ in range(count)]
        vouchers = [
            _voucher_for(device, key, amount_micro, serial + n, not_after) for n, device in enumerate(targets, 1)
        ]
        for voucher in vouchers[:-1]:
            book.post(tx, _handed_out(voucher, now), wallet.device)
        wallet.post_final(tx, _handed_out(vouchers[-1], now))  # once: the anchor follows each of these
    return vouchers


def issued(source: Source) -> list[Issued]:
    """Every voucher that this device handed out, the oldest first."""
    found = []
    for key in issuer_keys(source):
        for entry in _entries(source, key, "seq"):
            found.append(Issued(entry.ts / 1000, key.name, sign(_voucher(entry), key.seed)))
    return sorted(found, key=lambda one: one.ts)


def _voucher_for(device: bytes, key: IssuerKey, amount_micro: int, serial: int, not_after: int) -> Voucher:
    kind = VoucherKind.BEARER if device == NO_DEVICE else VoucherKind.DEVICE
    voucher_id = secrets.token_bytes(16)
    voucher = Voucher(kind, key_id(key.public_key), voucher_id, amount_micro, serial, not_after, device)
    return sign(voucher, key.seed)


def _key(tx: SqlTransaction, name: str, now: int) -> IssuerKey:
    rows = tx.execute("SELECT seed FROM issuer_key WHERE name = ?", (name,))
    seed = rows[0][0] if rows else secrets.token_bytes(32)
    key = IssuerKey(name, seed, public_key_of(seed))
    if not rows:
        values = (key_id(key.public_key).hex(), name, seed, now)
        tx.execute("INSERT INTO issuer_key (kid, name, seed, made_at) VALUES (?, ?, ?, ?)", values)
    return key


def _last_serial(source: Source, key: IssuerKey) -> int:
    newest = _entries(source, key, "seq DESC LIMIT 1")
    return _voucher(newest[0]).serial if newest else 0


def _entries(source: Source, key: IssuerKey, order: str) -> list[Entry]:
    rows = source.execute(
        f"SELECT body FROM entry WHERE kind = 'transfer' AND debit = ? ORDER BY {order}",  # noqa: S608 - order is ours
        (f"mint:{key_id(key.public_key).hex()}",),
    )
    return [Entry.from_body(row[0]) for row in rows]


def _handed_out(voucher: Voucher, now: int) -> Entry:
    kid = voucher.issuer.hex()
    terms: dict[str, Term] = {
        "voucher_id": voucher.id.hex(),
        "issuer": kid,
        "serial": voucher.serial,
        "kind": voucher.kind.name.lower(),
        "device": voucher.device.hex(),
        "not_after": voucher.not_after,
    }
    return Entry(
        f"mint:{voucher.id.hex()}", EntryKind.TRANSFER, f"mint:{kid}", f"issued:{kid}", voucher.amount, now, terms=terms
    )


def _voucher(entry: Entry) -> Voucher:
    terms = entry.terms or {}
    text = {name: str(terms[name]) for name in ("kind", "issuer", "voucher_id", "device")}
    return Voucher(
        VoucherKind[text["kind"].upper()],
        bytes.fromhex(text["issuer"]),
        bytes.fromhex(text["voucher_id"]),
        entry.amount,
        int(terms["serial"] or 0),
        int(terms["not_after"] or 0),
        bytes.fromhex(text["device"]),
    )
