"""``nanolocal credits voucher issue`` and ``list``: the issuer's side."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from nanolocal.chat.amounts import format_credits, parse_credits
from nanolocal.cli import output, qr, sheet
from nanolocal.cli.common import Subparsers, is_quiet, open_vault, wants_json
from nanolocal.errors import UsageError
from nanolocal.ledger.base32 import DEVICE, ISSUER
from nanolocal.ledger.vouchers import Voucher, VoucherKind, moment

_AGAIN = "nanolocal credits voucher list --codes prints the codes again"
_WRITERS = {".txt": sheet.text, ".html": sheet.page}


def add(parts: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare both parts."""
    issue = parts.add_parser("issue", parents=[common], help="hand out credits as signed codes")
    issue.add_argument("credits", metavar="CREDITS", help="what each voucher is good for, for example 5")
    whom = issue.add_mutually_exclusive_group(required=True)
    whom.add_argument(
        "--for", action="append", metavar="DEVICE", dest="devices", help="who can redeem it; again for more devices"
    )
    whom.add_argument("--bearer", action="store_true", help="whoever has it can redeem it, once on each device")
    issue.add_argument("--days", type=int, default=90, metavar="N", help="how long it is good (90)")
    issue.add_argument("--count", type=int, default=1, metavar="N", help="so many for each device")
    issue.add_argument(
        "--as", default="issuer", metavar="NAME", dest="key_name", help="which of your issuer keys signs"
    )
    _add_ways(issue)
    issue.set_defaults(run=run_issue)
    shown = parts.add_parser("list", parents=[common], help="what was handed out here")
    shown.add_argument("--serial", type=int, action="append", metavar="N", help="this one alone")
    shown.add_argument("--codes", action="store_true", help="print the codes again")
    _add_ways(shown)
    shown.set_defaults(run=run_list)


def run_issue(args: argparse.Namespace) -> int:
    """Sign vouchers, record them, then print or write them."""
    from nanolocal import bootstrap
    from nanolocal.ledger import issuing

    amount = parse_credits(args.credits)
    devices = [DEVICE.read(name) for name in args.devices or ()]
    _check_out(args)
    with open_vault(args) as vault:
        wallet = bootstrap.open_wallet(vault)
        vouchers = issuing.issue(wallet, args.key_name, amount, args.days, devices, args.count)
        keys = {key.name: key for key in issuing.issuer_keys(vault.database)}
    key = ISSUER.write(keys[args.key_name.strip()].public_key)
    if not is_quiet(args):
        _remark(vouchers[0], key)
    _deliver(args, vouchers, {"issuer_key": key})
    return 0


def run_list(args: argparse.Namespace) -> int:
    """Print what was handed out, with its sum, or the codes again."""
    from nanolocal.ledger import issuing

    _check_out(args)
    with open_vault(args) as vault:
        found = issuing.issued(vault.database)
    if args.serial:
        found = [one for one in found if one.voucher.serial in args.serial]
        if not found:
            raise UsageError(f"no voucher with the serial number {args.serial[0]} was issued here", _AGAIN)
    total = sum(one.voucher.amount for one in found)
    if args.codes or args.qr or args.out is not None:
        _deliver(args, [one.voucher for one in found], {"total_micro": total})
        return 0
    if wants_json(args):
        rows = [{"ts": one.ts, "key_name": one.key_name, **facts(one.voucher)} for one in found]
        output.as_json({"vouchers": rows, "total_micro": total})
        return 0
    output.table(
        [
            (
                one.key_name,
                str(one.voucher.serial),
                moment(one.ts),
                format_credits(one.voucher.amount),
                moment(one.voucher.not_after),
                "whoever has it" if one.voucher.kind is VoucherKind.BEARER else DEVICE.write(one.voucher.device),
            )
            for one in found
        ],
        ("KEY", "SERIAL", "ISSUED", "CREDITS", "GOOD UNTIL", "FOR"),
    )
    output.line(f"{len(found):,} handed out, {format_credits(total)} credits")
    return 0


def facts(voucher: Voucher) -> dict[str, object]:
    """A voucher's fields for JSON, all but its code; ``device`` is null for a bearer voucher."""
    is_bearer = voucher.kind is VoucherKind.BEARER
    return {
        "voucher_id": voucher.id.hex(),
        "issuer": voucher.issuer.hex(),
        "kind": voucher.kind.name.lower(),
        "amount_micro": voucher.amount,
        "serial": voucher.serial,
        "not_after": voucher.not_after,
        "device": None if is_bearer else DEVICE.write(voucher.device),
    }


def _remark(first: Voucher, key: str) -> None:
    """Before the codes, so that a QR code stays on the screen."""
    if first.serial == 1:
        output.note(f"these are the first of this issuer key; who takes them needs: credits voucher trust {key}")
    if first.kind is VoucherKind.BEARER:
        output.note("whoever has a bearer voucher can redeem it, once on each device: no device knows of the others")


def _add_ways(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--qr", action="store_true", help="also as QR codes in the terminal")
    parser.add_argument("--out", type=Path, metavar="FILE", help=".html: a page to print; .txt: text to redeem from")
    parser.add_argument("--force", action="store_true", help="replace FILE")


def _check_out(args: argparse.Namespace) -> None:
    """Refuse a file that cannot be written before anything is issued."""
    out: Path | None = args.out
    if out is None:
        return
    if out.suffix.lower() not in _WRITERS:
        raise UsageError(f"vouchers are written as .html or .txt, not as {out.name}", "--out vouchers.html")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {out.parent}", "give another file")
    if out.exists() and not args.force:
        raise UsageError(f"{out} is there already", "--force replaces it")


def _deliver(args: argparse.Namespace, vouchers: Sequence[Voucher], more: dict[str, object]) -> None:
    if args.out is not None:
        _write(args.out, _WRITERS[args.out.suffix.lower()](vouchers))
    if wants_json(args):
        written = None if args.out is None else str(args.out)
        output.as_json({"vouchers": [{**facts(one), "code": one.code()} for one in vouchers], **more, "out": written})
        return
    if args.out is not None:
        output.line(f"wrote {len(vouchers):,} voucher{'' if len(vouchers) == 1 else 's'} to {args.out}")
        if not args.qr:
            return
    for voucher in vouchers:
        output.line(sheet.text([voucher]))
        if args.qr:
            output.blocks(qr.half_blocks(qr.modules(voucher.code())))


def _write(out: Path, content: str) -> None:
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            out.chmod(0o600)  # it may have been there, readable to others
            file.write(content)
    except OSError as error:
        raise UsageError(f"the vouchers are issued, but {out} cannot be written: {error.strerror}", _AGAIN) from error
