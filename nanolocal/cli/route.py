"""``nanolocal route``: what would answer, and why."""

import argparse
import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from nanolocal.chat import helping
from nanolocal.chat.amounts import format_credits
from nanolocal.chat.decisions import as_record
from nanolocal.chat.jobs import request_for
from nanolocal.chat.messages import Attachment, Message, Role, TurnRequest
from nanolocal.chat.routes import Route
from nanolocal.cli import deciding, output
from nanolocal.cli.ask import add_wishes, join_input, read_attachment, wishes_of
from nanolocal.cli.common import Subparsers, agreed, given_passphrase, paths_of, wants_json, with_session
from nanolocal.cli.turns import route_as_json
from nanolocal.errors import NanolocalError, UsageError
from nanolocal.routing.explain import weighed
from nanolocal.settings import load as load_settings

if TYPE_CHECKING:
    from nanolocal.bootstrap import Session
    from nanolocal.chat.turn import Quote


def add(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    parser = commands.add_parser("route", parents=[common], help="what would answer, and why")
    parser.add_argument("prompt", nargs="?", default="", metavar="PROMPT", help="joined with standard input")
    parser.add_argument(
        "--attach", action="append", default=[], metavar="FILE", help="a text file, a picture or a sound"
    )
    parser.add_argument("--batch", action="store_true", help="JSON lines on standard input, one answered on each line")
    parser.add_argument("--forget", action="store_true", help="forget what was learned of every build; nothing else")
    parser.add_argument("--yes", action="store_true", help="with --forget: do not ask")
    add_wishes(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Decide, show, run nothing. Needs no vault; one that opens without asking adds what the answer would cost."""
    from nanolocal import bootstrap
    from nanolocal.device.machine import inspect

    if args.forget:
        return with_session(_forget)(args)
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
    message = Message(Role.USER, prompt, attachments)
    quote = _quote(args, prompt, attachments)
    if quote is None:
        wishes = wishes_of(args, library)
        known = helping.found(bootstrap.open_helpers(settings), message, wishes, ())
        route, _ = helping.decided(router.pick(request_for(message, wishes)), known, wishes)
    else:
        route = quote.route
    if wants_json(args):
        decided = {"task": route.task, "build": route.build.id, "model": route.build.name}
        price = {} if quote is None else {"quote_micro": quote.most_micro}
        ranking = [asdict(each) for each in weighed(route.case)]
        output.as_json({**decided, "route": {**route_as_json(route), "ranking": ranking}, **price})
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
    cost = ""
    if quote is not None:
        short = f"; that is {quote.shortage}" if quote.shortage else ""
        cost = f", for up to {format_credits(quote.most_micro)} credits{short}"
    output.line(f"{'nanolocal itself' if route.is_told else route.build.id}{cost}\n")
    deciding.show(as_record(route), weighed, "answers")
    if route.may_be_picture:
        output.line("\nPerhaps a picture was meant: nanolocal image draws it.")


def _forget(args: argparse.Namespace, session: "Session") -> int:
    """Let only published scores, sizes and exams to come count again."""
    if agreed(args, "Forget what ratings, comparisons, exams and speeds have told of every build?"):
        session.experience.forget()
        output.note("forgotten; conversations and ratings stay as they are")
    return 0
