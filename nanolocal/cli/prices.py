"""``nanolocal credits prices``: what each build costs and why, and how to change it."""

import argparse
import asyncio
from dataclasses import asdict, replace
from datetime import date, datetime
from typing import TYPE_CHECKING

from nanolocal.chat.amounts import format_credits, parse_credits
from nanolocal.cli import output
from nanolocal.cli.common import Subparsers, is_quiet, wants_json, with_session
from nanolocal.errors import UsageError

if TYPE_CHECKING:
    from nanolocal.bootstrap import Session
    from nanolocal.chat.routes import Build
    from nanolocal.chat.trial import Trial
    from nanolocal.ledger.prices import PriceCard

_AMOUNTS = {
    "prompt": ("prompt", "a million prompt tokens"),
    "cached": ("cached", "a million prompt tokens that were still in memory"),
    "completion": ("completion", "a million answer tokens"),
    "picture": ("pixel_steps", "a million pixel-steps (width x height x steps)"),
    "load": ("load", "bringing the build into memory"),
    "minimum": ("minimum", "any answer at the least"),
}
"""The owner's own prices: the option, the field of the card, and what it is for."""
_HEADER = ("BUILD", "PROMPT", "CACHED", "ANSWER", "PICTURE", "LOAD", "SOURCE")
_UNITS = "In credits: a million prompt, cached and answer tokens, a million pixel-steps, and one load."
_OWN = "owner"


def add(parts: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    parser = parts.add_parser("prices", parents=[common], help="what each build costs and why; set it")
    parser.add_argument("build", nargs="?", metavar="BUILD", help="show one in full, or change it:")
    for option, (_, what) in _AMOUNTS.items():
        parser.add_argument(f"--{option}", metavar="C", help=f"your own price in credits: {what}")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--like", metavar="NAME", help="what a cloud asks for that model, from the public list")
    how.add_argument("--electricity", action="store_true", help="the estimate from size, watts and tariff")
    how.add_argument("--measure", action="store_true", help="run it once, free of charge, and take what that cost")
    how.add_argument("--list", action="store_true", dest="public", help="the public list")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List, show or change prices; raises ``UsageError`` before anything is written."""
    given = {field: getattr(args, option) for option, (field, _) in _AMOUNTS.items()}
    own = {field: parse_credits(text) for field, text in given.items() if text is not None}
    is_change = bool(own) or args.like is not None or args.electricity or args.measure
    if own and (args.like is not None or args.electricity or args.measure or args.public):
        raise UsageError("your own amounts go with no other way to set a price", "give only one of them")
    if args.public:
        return _list_public(args)
    if args.build is None and is_change:
        raise UsageError("say which build the price is for", "nanolocal credits prices BUILD ...")
    if args.like is not None:
        from nanolocal.ledger import listprices

        listprices.load().get(args.like)
    if args.build is None:
        return with_session(_list)(args)
    args.own = own
    return with_session(_change if is_change else _show)(args)


def _list(args: argparse.Namespace, session: "Session") -> int:
    cards = [session.ledger.shown_price(build) for build in session.library.builds()]
    if wants_json(args):
        output.as_json({"prices": [_as_json(card) for card in cards]})
        return 0
    output.table([_row(card) for card in cards], _HEADER)
    output.line()
    output.line(_UNITS)
    return 0


def _list_public(args: argparse.Namespace) -> int:
    from nanolocal.ledger import listprices

    listed = listprices.load()
    if wants_json(args):
        prices = [asdict(price) | {"date": price.date.isoformat()} for price in listed.prices]
        month = asdict(listed.subscription) | {"date": listed.subscription.date.isoformat()}
        output.as_json({"prices": prices, "subscription": month})
        return 0
    rows = [
        (
            price.name,
            price.provider,
            *(_amount(value) for value in (price.prompt, price.cached, price.completion, price.pixel_steps)),
            price.date.isoformat(),
            price.url,
        )
        for price in listed.prices
    ]
    output.table(rows, ("NAME", "PROVIDER", "PROMPT", "CACHED", "ANSWER", "PICTURE", "DATE", "SEEN AT"))
    plan = listed.subscription
    output.line()
    output.line("In US dollars per million tokens or pixel-steps, each as its provider stated it on that date.")
    offer = f"{plan.name} ({plan.provider}) is {format_credits(plan.month)} a month ({plan.date.isoformat()})"
    output.line(f"A subscription: {offer}: {plan.url}")
    return 0


def _show(args: argparse.Namespace, session: "Session") -> int:
    build = session.library.get(args.build)
    return _tell(args, session, build)


def _change(args: argparse.Namespace, session: "Session") -> int:
    build = session.library.get(args.build)
    if session.ledger.problem is not None:
        raise session.ledger.problem
    card = _new_card(args, session, build)
    session.ledger.set_price(card)
    return _tell(args, session, build)


def _new_card(args: argparse.Namespace, session: "Session", build: "Build") -> "PriceCard":
    today = date.today()
    if args.like is not None:
        from nanolocal.ledger import listprices

        return listprices.like(build, listprices.load().get(args.like))
    if args.electricity:
        return session.ledger.estimate(build)
    if args.measure:
        return _measured(args, session, build, today)
    card = session.ledger.shown_price(build)
    return replace(card, **args.own, source=_OWN, evidence=f"set on {today.isoformat()}; before: {card.source}")


def _measured(args: argparse.Namespace, session: "Session", build: "Build", today: date) -> "PriceCard":
    from nanolocal.ledger import measured

    progress = output.Progress(is_quiet(args))
    progress.show(f"measuring {build.id}: it is loaded and answers once")
    try:
        found = asyncio.run(_try(session, build))
    finally:
        progress.clear()
    return measured.card(build, found, session.ledger.power, today)


async def _try(session: "Session", build: "Build") -> "Trial":
    from nanolocal.chat import trial

    try:
        return await trial.run(session.router, session.engines, session.meter, build)
    finally:
        await session.engines.close()


def _tell(args: argparse.Namespace, session: "Session", build: "Build") -> int:
    """One build's card in full and the cards before it, the newest first."""
    card = session.ledger.shown_price(build)
    history = session.ledger.price_changes(build)
    if wants_json(args):
        changes = [{"seq": change.seq, "ts": change.ts, **_as_json(change.card)} for change in history]
        output.as_json(_as_json(card) | {"history": changes})
        return 0
    output.line(f"{build.id}")
    for field, what in _AMOUNTS.values():
        output.line(f"  {format_credits(getattr(card, field)):>14}  {what}")
    output.line(f"source    {card.source}")
    output.line(f"evidence  {card.evidence}")
    output.line(f"card      {card.id}")
    if history:
        output.line()
        output.table([_history_row(change.ts, change.card) for change in history], ("IN FORCE FROM", *_HEADER[1:]))
    return 0


def _history_row(ts: float, card: "PriceCard") -> tuple[str, ...]:
    return datetime.fromtimestamp(ts).astimezone().strftime("%Y-%m-%d %H:%M:%S"), *_row(card)[1:]


def _row(card: "PriceCard") -> tuple[str, ...]:
    prices = (card.prompt, card.cached, card.completion, card.pixel_steps, card.load)
    return card.build_id, *(_amount(price) for price in prices), card.source


def _amount(micro: int) -> str:
    return format_credits(micro) if micro else "-"


def _as_json(card: "PriceCard") -> dict[str, object]:
    """Every amount in micro-credits."""
    amounts = {option: getattr(card, field) for option, (field, _) in _AMOUNTS.items()}
    return {
        "build": card.build_id,
        "sha256": card.build_sha256,
        "price_id": card.id,
        "micro": amounts,
        "source": card.source,
        "evidence": card.evidence,
    }
