"""``nanolocal credits budget``: what may be spent a day, a month, by a conversation, with a model, under a name."""

import argparse
from typing import TYPE_CHECKING

from nanolocal.chat.amounts import format_credits, parse_credits
from nanolocal.cli import output
from nanolocal.cli.common import Subparsers, open_wallet, wants_json

if TYPE_CHECKING:
    from nanolocal.ledger.budgets import Budget

_OFF = "off"
_SCOPES = "day, month, chat, chat:ID, model:BUILD or key:NAME, the last four also with /day or /month"


def add(parts: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the part of ``nanolocal credits``."""
    parser = parts.add_parser("budget", parents=[common], help="show, set or lift what may be spent")
    parser.add_argument("scope", nargs="?", metavar="SCOPE", help=_SCOPES)
    parser.add_argument("limit", nargs="?", metavar="CREDITS|off", help="the most, for example 0.10; off lifts it")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Set or lift a budget, if asked to, then print those in force: all, or the one that was named."""
    from nanolocal.ledger.budgets import Scope

    scope = None if args.scope is None else Scope.parse(args.scope)
    is_set = args.limit is not None
    limit = parse_credits(args.limit) if is_set and args.limit != _OFF else None
    with open_wallet(args, to_read=not is_set) as wallet:
        if scope is not None and is_set:
            wallet.set_budget(scope, limit)
        found = [(budget, spent) for budget, spent in wallet.budgets() if scope in (None, budget.scope)]
    if wants_json(args):
        output.as_json({"budgets": [_as_json(budget, spent) for budget, spent in found]})
    elif found:
        output.table([_row(budget, spent) for budget, spent in found], ("BUDGET", "CREDITS", "SPENT", "LEFT"))
    else:
        output.line("no budget" if scope is None else f"no budget for {scope}")
    return 0


def _left(budget: "Budget", spent: int | None) -> int | None:
    return None if spent is None else max(0, budget.limit_micro - spent)


def _as_json(budget: "Budget", spent: int | None) -> dict[str, object]:
    """``null`` where each conversation, model or name has a sum of its own."""
    amounts = {"limit_micro": budget.limit_micro, "spent_micro": spent, "left_micro": _left(budget, spent)}
    return {"scope": str(budget.scope), **amounts}


def _row(budget: "Budget", spent: int | None) -> tuple[str, ...]:
    amounts = (budget.limit_micro, spent, _left(budget, spent))
    return (str(budget.scope), *("each" if micro is None else format_credits(micro) for micro in amounts))
