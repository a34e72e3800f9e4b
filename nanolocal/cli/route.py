"""``nanolocal route``: what would answer, and why."""

import argparse
import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from nanolocal.chat.amounts import format_credits
from nanolocal.chat.jobs import with_files
from nanolocal.chat.messages import Attachment, Message, Role, TurnRequest
from nanolocal.chat.ports import RouteRequest
from nanolocal.chat.routes import Route
from nanolocal.cli import output
from nanolocal.cli.ask import add_wishes, join_input, read_attachment, wishes_of
from nanolocal.cli.common import Subparsers, given_passphrase, paths_of, wants_json
from nanolocal.cli.turns import route_as_json
from nanolocal.errors import NanolocalError, UsageError
from nanolocal.settings import load as load_settings

if TYPE_CHECKING:
    from nanolocal.chat.turn import Quote


def add(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    parser = commands.add_parser("route", parents=[common], help="what would answer, and why")
    parser.add_argument("prompt", nargs="?", default="", metavar="PROMPT", help="joined with standard input")
    parser.add_argument("--attach", action="append", default=[], metavar="FILE", help="a text file or a picture")
    parser.add_argument("--batch", action="store_true", help="JSON lines on standard input, one answered on each line")
    add_wishes(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Decide, show, run nothing. Needs no vault; one that opens without asking adds what the answer would cost."""
    from nanolocal import bootstrap
    from nanolocal.device.machine import inspect

    paths = paths_of(args)
    settings = load_settings(paths.settings)
    library = bootstrap.open_library(paths, settings)
    router = bootstrap.open_router(library, settings, inspect())
    if args.batch:
        from nanolocal.cli import batch

        return batch.run(args, router.pick)
    prompt = join_input(args.prompt)
    if not prompt:
        raise UsageError("the prompt is empty", 'nanolocal route "your question"')
    attachments = tuple(read_attachment(Path(name)) for name in args.attach)
    text = with_files(Message(Role.USER, prompt, attachments)).text
    route = router.pick(RouteRequest(text, attachments, 0, wishes_of(args, library)))
    quote = _quote(args, prompt, attachments)
    if wants_json(args):
        decided = {"task": route.task, "build": route.build.id, "model": route.build.name}
        price = {} if quote is None else {"quote_micro": quote.most_micro}
        output.as_json({**decided, "route": route_as_json(route), **price})
    else:
        _show(route, quote)
    return 0


def _quote(args: argparse.Namespace, prompt: str, attachments: tuple[Attachment, ...]) -> "Quote | None":
    """What it would cost, where that can be told without asking for a passphrase or making a vault."""
    from nanolocal import bootstrap

    paths = paths_of(args)
    vault = bootstrap.peek(paths, given_passphrase(args))
    if vault is None:
        return None
    session = bootstrap.open_session(paths, None, vault)
    try:
        return session.chat.quote(TurnRequest(prompt, attachments, wishes_of(args, session.library)))
    except NanolocalError:
        return None
    finally:
        asyncio.run(session.close())


def _show(route: Route, quote: "Quote | None") -> None:
    output.line(f"{route.build.id} answers")
    if quote is not None:
        short = f"; that is {quote.shortage}" if quote.shortage else ""
        output.line(f"  for up to {format_credits(quote.most_micro)} credits{short}")
    for reason in route.reasons:
        output.line(f"  because {reason}")
    for other in route.runners_up:
        output.line(f"  next: {other.build_id}, {other.reason}")
    for item in route.rejected:
        output.line(f"  not {item.build_id} ({item.gate}): {item.reason}")
