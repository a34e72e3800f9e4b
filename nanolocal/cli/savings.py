"""``nanolocal credits savings``: what the same use would have cost elsewhere."""

import argparse
from datetime import date
from typing import TYPE_CHECKING

from nanolocal.chat.amounts import format_credits
from nanolocal.cli import output
from nanolocal.cli.common import Subparsers, open_vault, wants_json
from nanolocal.errors import UsageError

if TYPE_CHECKING:
    from nanolocal.ledger.listprices import ListPrices
    from nanolocal.ledger.savings import Elsewhere, Used

_CAVEATS = (
    "Quality is not compared: a larger model may have answered better, or in fewer words.",
    "Other tokenizers count differently, and a cloud keeps less or more of a prompt cached; pictures are compared by "
    "pixels and steps.",
    "A memo only: nothing of this is charged. One credit stands for one US dollar.",
)


def add(parts: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    parser = parts.add_parser("savings", parents=[common], help="what the same use would have cost elsewhere")
    parser.add_argument("--since", metavar="DATE", help="from that day on, such as 2026-01-31")
    parser.add_argument("--like", action="append", metavar="NAME", help="a name of the public list; may be repeated")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compare; raises ``UsageError`` for a date that is none or an unknown name."""
    from nanolocal.ledger import listprices, savings

    since = None if args.since is None else _day(args.since)
    listed = listprices.load()
    prices = [listed.get(name) for name in args.like or savings.COMPARED]
    with open_vault(args) as vault:
        used = savings.used(vault.database, since)
    compared = savings.elsewhere(used, prices)
    month = savings.subscription_micro(used, listed)
    if wants_json(args):
        output.as_json(_as_json(used, compared, month, listed))
    else:
        _show(used, compared, month, listed)
    return 0


def _show(used: "Used", compared: "list[Elsewhere]", month: int, listed: "ListPrices") -> None:
    usage = used.usage
    if not used.answers:
        output.line("no answer was charged in this time")
        return
    answers = "1 answer was" if used.answers == 1 else f"{used.answers} answers were"
    output.line(f"{answers} charged, from {used.first_day} to {used.last_day}:")
    output.line(f"  {format_credits(used.charged_micro):>16}  credits here")
    output.line()
    output.line(
        f"The same {usage.prompt_tokens} prompt tokens ({usage.cached_tokens} of them cached), "
        f"{usage.completion_tokens} answer tokens and {usage.pixel_steps} pixel-steps would have cost"
    )
    for item in compared:
        price = item.price
        output.line(f"  {format_credits(item.micro):>16}  at {price.name} ({price.provider}, {price.date.isoformat()})")
    plan = listed.subscription
    noun = "month" if used.months == 1 else "months"
    per_month = format_credits(plan.month)
    output.line(
        f"  {format_credits(month):>16}  by {plan.name} at {per_month} a month ({plan.date.isoformat()}), "
        f"for {used.months} {noun} with answers"
    )
    output.line()
    for caveat in _CAVEATS:
        output.line(caveat)


def _as_json(used: "Used", compared: "list[Elsewhere]", month: int, listed: "ListPrices") -> dict[str, object]:
    usage, plan = used.usage, listed.subscription
    return {
        "answers": used.answers,
        "first_day": used.first_day,
        "last_day": used.last_day,
        "prompt_tokens": usage.prompt_tokens,
        "cached_tokens": usage.cached_tokens,
        "completion_tokens": usage.completion_tokens,
        "pixel_steps": usage.pixel_steps,
        "charged_micro": used.charged_micro,
        "elsewhere": [
            {
                "name": item.price.name,
                "provider": item.price.provider,
                "date": item.price.date.isoformat(),
                "url": item.price.url,
                "makes": item.price.kind,
                "cost_micro": item.micro,
            }
            for item in compared
        ],
        "subscription": {
            "name": plan.name,
            "date": plan.date.isoformat(),
            "url": plan.url,
            "month_micro": plan.month,
            "months": used.months,
            "cost_micro": month,
        },
        "caveats": list(_CAVEATS),
    }


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{text[:40]!r} is not a date", "write it as 2026-01-31") from error
