"""``nanolocal credits``: what answers cost, and what is left."""

import argparse
from datetime import datetime

from nanolocal.chat.amounts import format_credits, parse_credits
from nanolocal.cli import budgets, exports, output, prices, receipts, savings, usage, voucher
from nanolocal.cli.common import Subparsers, open_wallet, wants_json
from nanolocal.errors import UsageError


def add(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the command and its parts."""
    parser = commands.add_parser("credits", parents=[common], help="what answers cost, and what is left")
    parser.set_defaults(run=run_balance)
    parts = parser.add_subparsers(metavar="PART")
    parts.add_parser("balance", parents=[common], help="what can be spent now").set_defaults(run=run_balance)
    history = parts.add_parser("history", parents=[common], help="the newest entries")
    history.add_argument("--limit", type=int, default=20, metavar="N")
    history.set_defaults(run=run_history)
    topup = parts.add_parser("topup", parents=[common], help="grant yourself more; no money moves")
    topup.add_argument("credits", metavar="CREDITS", help="for example 0.10")
    topup.add_argument("--note", metavar="TEXT", help="kept with the entry, encrypted like everything else")
    topup.set_defaults(run=run_topup)
    receipts.add_show(parts, common)
    usage.add(parts, common)
    exports.add(parts, common)
    verify = parts.add_parser("verify", parents=[common], help="check the whole chain of entries and every sum")
    verify.add_argument(
        "--file", metavar="FILE", help="check what `credits export --format jsonl` wrote; needs no vault"
    )
    receipts.add_key(verify)
    verify.set_defaults(run=run_verify)
    budgets.add(parts, common)
    prices.add(parts, common)
    savings.add(parts, common)
    voucher.add(parts, common)


def run_balance(args: argparse.Namespace) -> int:
    """Print the balance."""
    with open_wallet(args, to_read=True) as wallet:
        balance = wallet.balance()
    if wants_json(args):
        output.as_json({"balance_micro": balance, "balance": format_credits(balance)})
    else:
        output.line(f"{format_credits(balance)} credits")
    return 0


def run_history(args: argparse.Namespace) -> int:
    """Print the newest entries of the ledger."""
    if args.limit < 1:
        raise UsageError(f"--limit is at least 1, not {args.limit}", "--limit 20")
    with open_wallet(args, to_read=True) as wallet:
        rows = wallet.history(args.limit)
    if wants_json(args):
        keys = ("seq", "ts", "kind", "amount_micro", "build_id", "chat_id", "note")
        output.as_json({"entries": [{key: getattr(row, key) for key in keys} for row in rows]})
        return 0
    output.table(
        [
            (
                str(row.seq),
                datetime.fromtimestamp(row.ts).astimezone().strftime("%Y-%m-%d %H:%M:%S"),
                row.kind,
                format_credits(row.amount_micro),
                row.build_id or row.note or "",
            )
            for row in rows
        ],
        ("ENTRY", "TIME", "KIND", "CREDITS", "BUILD OR NOTE"),
    )
    return 0


def run_verify(args: argparse.Namespace) -> int:
    """Walk the chain, here or in an exported file; raises ``Damaged`` where it breaks."""
    if args.file is not None:
        return receipts.run_file(args)
    if args.key is not None:
        raise UsageError("--key pins the device of an exported ledger", "add --file FILE")
    with open_wallet(args) as wallet:
        checked = wallet.verify()
    if wants_json(args):
        output.as_json({"verified": True, "entries": checked.entries})
    else:
        output.line(f"{checked.entries} entries, chain and sums are right")
    return 0


def run_topup(args: argparse.Namespace) -> int:
    """Add to the balance; raises ``UsageError`` for an amount that is not one."""
    amount = parse_credits(args.credits)
    with open_wallet(args) as wallet:
        balance = wallet.top_up(amount, note=args.note)
    if wants_json(args):
        output.as_json({"balance_micro": balance, "balance": format_credits(balance)})
    else:
        output.line(f"{format_credits(balance)} credits")
    return 0
