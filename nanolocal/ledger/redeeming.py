"""Redeeming vouchers: once, on the device they are made for, from an issuer that is trusted here, in time."""

from dataclasses import dataclass

from nanolocal.errors import UsageError
from nanolocal.ledger import book, issuers
from nanolocal.ledger.base32 import DEVICE
from nanolocal.ledger.chain import WALLET, Entry, EntryKind
from nanolocal.ledger.issuers import Issuer
from nanolocal.ledger.signing import device_id
from nanolocal.ledger.sql import Source
from nanolocal.ledger.vouchers import Voucher, VoucherKind, check, moment, parse
from nanolocal.ledger.wallet import Wallet


@dataclass(frozen=True, slots=True)
class Redeemed:
    """A voucher that was added to the wallet, who issued it, and the balance after it in micro-credits."""

    voucher: Voucher
    issuer: Issuer
    balance: int


def redeem(wallet: Wallet, code: str) -> Redeemed:
    """Add a voucher to the wallet; raises ``UsageError`` with the reason for a refusal, and nothing was written."""
    voucher = parse(code)
    with wallet.writing() as tx:
        issuer = trusted_issuer(tx, voucher)
        check(voucher, issuer.public_key)
        now = wallet.now()
        _refuse_repeated(tx, voucher)
        _refuse_foreign(voucher, own_device(wallet))
        if now // 1000 > voucher.not_after:
            raise UsageError(
                f"this voucher was good until {moment(voucher.not_after)}, and now it is {moment(now // 1000)}",
                "ask its issuer for a new one; if that is not the time, set this device's clock",
            )
        wallet.post_final(tx, _entry(voucher, issuer, now))
        return Redeemed(voucher, issuer, book.available(tx))


def own_device(wallet: Wallet) -> bytes:
    """The eight bytes that vouchers for this device name."""
    return device_id(wallet.device.public)


def trusted_issuer(source: Source, voucher: Voucher) -> Issuer:
    """The issuer that a voucher names, or ``UsageError`` where it is not trusted."""
    kid = voucher.issuer.hex()
    issuer = issuers.find(source, kid)
    if issuer is None:
        raise UsageError(
            f"the issuer of this voucher, {kid}, is not trusted here",
            "nanolocal credits voucher trust NLK-..., with the key that the issuer gives you",
        )
    if not issuer.trusted:
        raise UsageError(
            f"the issuer of this voucher, {issuer.name}, is no longer trusted here",
            "nanolocal credits voucher trust NLK-..., with the key that the issuer gives you",
        )
    return issuer


def redemption(source: Source, voucher: Voucher) -> Entry | None:
    """The entry that redeemed a voucher, if it was."""
    return book.find(source, f"voucher:{voucher.id.hex()}")


def _refuse_repeated(source: Source, voucher: Voucher) -> None:
    earlier = redemption(source, voucher)
    if earlier is not None:
        raise UsageError(
            f"this voucher was already redeemed here on {moment(earlier.ts / 1000)}", "nanolocal credits history"
        )
    rows = source.execute(
        """SELECT ts FROM entry WHERE kind = 'transfer' AND debit = ? AND body ->> '$.terms.serial' = ?
           AND body ->> '$.terms.kind' = ?""",
        (f"issuer:{voucher.issuer.hex()}", voucher.serial, voucher.kind.name.lower()),
    )
    if rows:
        raise UsageError(
            f"another voucher of this issuer with the serial number {voucher.serial} was redeemed here"
            f" on {moment(rows[0][0] / 1000)}",
            "ask its issuer for a new one",
        )


def _refuse_foreign(voucher: Voucher, own: bytes) -> None:
    if voucher.kind is VoucherKind.DEVICE and voucher.device != own:
        raise UsageError(
            f"this voucher is made for the device {DEVICE.write(voucher.device)}; this one is {DEVICE.write(own)}",
            "redeem it there, or ask its issuer for one for this device",
        )


def _entry(voucher: Voucher, issuer: Issuer, now: int) -> Entry:
    return Entry(
        f"voucher:{voucher.id.hex()}",
        EntryKind.TRANSFER,
        f"issuer:{issuer.key_id}",
        WALLET,
        voucher.amount,
        now,
        note=f"voucher {voucher.serial} of {issuer.name}",
        terms={
            "voucher_id": voucher.id.hex(),
            "issuer": issuer.key_id,
            "serial": voucher.serial,
            "kind": voucher.kind.name.lower(),
        },
    )
