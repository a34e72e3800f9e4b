"""``nanolocal chat``: plain lines, for screen readers and slow links."""

import argparse
import asyncio
import select
import sys

from nanolocal.cli import output, shaping, showing
from nanolocal.cli.ask import add_wishes
from nanolocal.cli.common import Subparsers, is_quiet, open_session, paths_of
from nanolocal.cli.talking import Talk
from nanolocal.errors import NanolocalError
from nanolocal.running import registered

_HELP = "An empty line does nothing, /help lists the commands, /quit or Ctrl+D ends, Ctrl+C stops an answer."


def add(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    parser = commands.add_parser("chat", parents=[common], help="plain line mode, for screen readers and slow links")
    parser.add_argument("--chat", metavar="ID", help="continue this conversation")
    parser.add_argument("--show", action="store_true", help=f"where it is a picture, {showing.HELP}")
    add_wishes(parser)
    shaping.add(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Talk until the input ends."""
    with registered(paths_of(args)):
        asyncio.run(_talk(args))
    return 0


async def _talk(args: argparse.Namespace) -> None:
    session = open_session(args)
    try:
        talk = Talk(args, session)
        if not is_quiet(args):
            output.note(_HELP)
        is_on = True
        while is_on and (line := read_prompt()) is not None:
            is_on = not line or await _take(talk, line)
    finally:
        await session.close()


async def _take(talk: Talk, line: str) -> bool:
    """An error is told, and the conversation goes on."""
    try:
        return await talk.take(line)
    except NanolocalError as problem:
        output.error(problem)
        return True


def read_prompt() -> str | None:
    """The next prompt, ``None`` at the end of the input. Lines pasted together stay together."""
    if sys.stdin.isatty():
        output.piece("You: ")
    try:
        first = sys.stdin.readline()
    except KeyboardInterrupt:
        output.line()
        return ""
    if not first:
        return None
    lines = [first]
    while sys.stdin.isatty() and select.select([sys.stdin], [], [], 0.05)[0]:
        lines.append(sys.stdin.readline())
    return "".join(lines).strip()
