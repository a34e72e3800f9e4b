"""``nanolocal credits voucher``: credits that somebody hands out, as signed codes."""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from nanolocal.chat.amounts import format_credits
from nanolocal.cli import handout, output, trusted
from nanolocal.cli.codes import given_codes
from nanolocal.cli.common import Subparsers, wants_json
from nanolocal.cli.trusted import opened_wallet
from nanolocal.errors import UsageError
from nanolocal.ledger.base32 import DEVICE, ISSUER
from nanolocal.ledger.vouchers import Voucher, VoucherKind, check, key_id, moment, parse

if TYPE_CHECKING:
    from nanolocal.ledger.issuers import Issuer
    from nanolocal.ledger.redeeming import Redeemed


def add(parts: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare ``voucher`` and its parts."""
    voucher = parts.add_parser("voucher", parents=[common], help="credits that somebody hands out as signed codes")
    parts = voucher.add_subparsers(metavar="PART", required=True)
    handout.add(parts, common)
    redeem = parts.add_parser("redeem", parents=[common], help="add vouchers to the balance")
    redeem.add_argument("code", nargs="*", metavar="CODE", help="as it is printed; else read from standard input")
    redeem.add_argument("--file", type=Path, metavar="FILE", help="redeem every voucher in FILE, one a paragraph")
    redeem.set_defaults(run=run_redeem)
    inspect = parts.add_parser("inspect", parents=[common], help="what a voucher is, without redeeming it")
    inspect.add_argument("code", nargs="*", metavar="CODE")
    inspect.add_argument("--issuer", metavar="KEY", help="check it against this issuer key alone; needs no vault")
    inspect.set_defaults(run=run_inspect)
    trusted.add(parts, common)
    device = parts.add_parser("device", parents=[common], help="the id to give to an issuer")
    device.set_defaults(run=run_device)


def run_redeem(args: argparse.Namespace) -> int:
    """Redeem one voucher, or report each of several; raises ``UsageError`` where the only one is refused."""
    from nanolocal.ledger import redeeming

    codes = given_codes(args)
    taken: list[Redeemed] = []
    refused: list[UsageError] = []
    with opened_wallet(args) as (wallet, _):
        for number, code in enumerate(codes, 1):
            try:
                taken.append(redeeming.redeem(wallet, code))
                _tell_redeemed(args, taken[-1])
            except UsageError as error:
                if len(codes) == 1:
                    raise
                refused.append(UsageError(f"voucher {number}: {error.message}", error.hint))
                output.error(refused[-1])
        balance = wallet.balance()
    if wants_json(args):
        output.as_json(
            {
                "redeemed": [{**handout.facts(one.voucher), "issuer_name": one.issuer.name} for one in taken],
                "refused": [{"message": error.message, "hint": error.hint} for error in refused],
                "balance_micro": balance,
            }
        )
    elif len(codes) > 1:
        output.line(f"{len(taken)} redeemed, {len(refused)} refused; the balance is {format_credits(balance)} credits")
    return UsageError.exit_code if refused else 0


def run_inspect(args: argparse.Namespace) -> int:
    """Tell what a voucher says, whether it is genuine, and what would become of it here."""
    codes = given_codes(args)
    if len(codes) > 1:
        raise UsageError(f"these are {len(codes)} vouchers", "inspect one at a time")
    voucher = parse(codes[0])
    if args.issuer is not None:
        check(voucher, ISSUER.read(args.issuer))
        _tell_voucher(args, voucher, [("issuer", f"{voucher.issuer.hex()}, the key given")], {"genuine": True})
        return 0
    from nanolocal.ledger import issuers, issuing, redeeming

    with opened_wallet(args) as (wallet, source):
        own = redeeming.own_device(wallet)
        issuer = issuers.find(source, voucher.issuer.hex())
        keys = {key_id(key.public_key): key.public_key for key in issuing.issuer_keys(source)}
        earlier = redeeming.redemption(source, voucher)
    public_key = keys.get(voucher.issuer) if issuer is None else issuer.public_key
    if public_key is not None:
        check(voucher, public_key)
    when = None if earlier is None else earlier.ts / 1000
    lines = [
        ("issuer", _issuer_words(voucher, issuer, is_own=voucher.issuer in keys)),
        ("here", "made for another device" if _is_foreign(voucher, own) else "this device can redeem it"),
        ("redeemed", "not here" if when is None else f"here on {moment(when)}"),
    ]
    more: dict[str, object] = {
        "genuine": None if public_key is None else True,
        "trusted": issuer is not None and issuer.trusted,
        "issuer_name": None if issuer is None else issuer.name,
        "for_this_device": not _is_foreign(voucher, own),
        "redeemed_at": when,
    }
    _tell_voucher(args, voucher, lines, more)
    return 0


def run_device(args: argparse.Namespace) -> int:
    """Print this device's id."""
    from nanolocal.ledger.redeeming import own_device

    with opened_wallet(args) as (wallet, _):
        device = DEVICE.write(own_device(wallet))
    if wants_json(args):
        output.as_json({"device": device})
    else:
        output.line(device)
    return 0


def _tell_redeemed(args: argparse.Namespace, one: "Redeemed") -> None:
    if wants_json(args):
        return
    amount, balance = format_credits(one.voucher.amount), format_credits(one.balance)
    output.line(f"{amount} credits from {one.issuer.name}, serial {one.voucher.serial}; the balance is {balance}")


def _tell_voucher(
    args: argparse.Namespace, voucher: Voucher, lines: list[tuple[str, str]], more: dict[str, object]
) -> None:
    has_expired = time.time() > voucher.not_after
    if wants_json(args):
        output.as_json({**handout.facts(voucher), "expired": has_expired, **more})
        return
    is_bearer = voucher.kind is VoucherKind.BEARER
    for name, value in [
        ("credits", format_credits(voucher.amount)),
        ("for", "whoever has it, once on each device" if is_bearer else DEVICE.write(voucher.device)),
        ("until", moment(voucher.not_after) + (", so it has expired" if has_expired else "")),
        ("serial", str(voucher.serial)),
        ("voucher", voucher.id.hex()),
        *lines,
    ]:
        output.line(f"{name:10}{value}")


def _issuer_words(voucher: Voucher, issuer: "Issuer | None", *, is_own: bool) -> str:
    if issuer is not None:
        here = "trusted here" if issuer.trusted else "no longer trusted here"
        return f"{issuer.key_id} ({issuer.name}), {here}; genuine"
    if is_own:
        return f"{voucher.issuer.hex()}, an issuer key of your own, not trusted here; genuine"
    return f"{voucher.issuer.hex()}, not known here, so it may be forged: --issuer KEY checks it"


def _is_foreign(voucher: Voucher, own: bytes) -> bool:
    return voucher.kind is VoucherKind.DEVICE and voucher.device != own
