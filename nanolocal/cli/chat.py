"""``nanolocal chat``: plain lines, for screen readers and slow links."""

import argparse
import asyncio
import select
import sys
from typing import TYPE_CHECKING

from nanolocal.chat.messages import TurnRequest
from nanolocal.cli import output
from nanolocal.cli.ask import add_wishes, wishes_of
from nanolocal.cli.common import Subparsers, is_quiet, open_session, paths_of
from nanolocal.cli.turns import receipt, take_turn, tell_remarks
from nanolocal.errors import NanolocalError
from nanolocal.running import registered

if TYPE_CHECKING:
    from nanolocal.bootstrap import Session

_HELP = "An empty line does nothing, /new starts a new conversation, /quit or Ctrl+D ends, Ctrl+C stops an answer."


def add(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    parser = commands.add_parser("chat", parents=[common], help="plain line mode, for screen readers and slow links")
    parser.add_argument("--chat", metavar="ID", help="continue this conversation")
    add_wishes(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Talk until the input ends."""
    with registered(paths_of(args)):
        asyncio.run(_talk(args))
    return 0


async def _talk(args: argparse.Namespace) -> None:
    session = open_session(args)
    chat_id: str | None = args.chat
    try:
        if not is_quiet(args):
            output.note(_HELP)
        while (prompt := read_prompt()) is not None and prompt != "/quit":
            if prompt == "/new":
                chat_id = None
                output.note("a new conversation")
            elif prompt:
                chat_id = await _say(args, session, prompt, chat_id)
    finally:
        await session.close()


async def _say(args: argparse.Namespace, session: "Session", prompt: str, chat_id: str | None) -> str | None:
    """Answer one prompt; an error is told and the conversation goes on."""
    request = TurnRequest(prompt, wishes=wishes_of(args, session.library), chat_id=chat_id)
    output.piece("Assistant: ")
    try:
        answer = await take_turn(session, request, output.Progress(is_quiet=True), say=True, tell=_tell)
    except NanolocalError as problem:
        output.line()
        output.error(problem)
        return chat_id
    if answer.picture is not None:
        output.piece("(a picture)")
    output.line()
    tell_remarks(answer)
    if answer.problem:
        output.note(f"{answer.problem}; what it said is kept")
    if not is_quiet(args):
        output.note(receipt(answer))
    return answer.chat_id or chat_id


def _tell(words: str) -> None:
    """Say something before the answer, whose line has begun."""
    output.line(f"({words})")
    output.piece("Assistant: ")


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
