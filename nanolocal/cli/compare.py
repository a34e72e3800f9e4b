"""``nanolocal compare``: two builds answer one prompt, and you say which did better."""

import argparse
import asyncio
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nanolocal.chat.amounts import format_credits
from nanolocal.chat.contests import Contest, arrange, can_be_judged, is_whole, named, once_more, signals
from nanolocal.chat.messages import Answer, Attachment, TurnRequest
from nanolocal.cli import output
from nanolocal.cli.ask import add_wishes, join_input, read_attachment, wishes_of
from nanolocal.cli.common import Subparsers, is_quiet, open_session, wants_json
from nanolocal.cli.turns import answer_as_json, receipt, take_turn, tell_remarks
from nanolocal.errors import UsageError

if TYPE_CHECKING:
    from nanolocal.bootstrap import Session

_INTERRUPTED = 130
WHICH = "Which is better, a or b? Enter leaves it open: "
_PLACES = {"a": 0, "b": 1}


def add(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    parser = commands.add_parser("compare", parents=[common], help="two builds answer one prompt; you judge")
    parser.add_argument("prompt", nargs="?", default="", metavar="PROMPT", help="joined with standard input")
    parser.add_argument("--builds", metavar="A,B", help="these two; without it the pick and the next best")
    parser.add_argument(
        "--attach", action="append", default=[], metavar="FILE", help="a text file, a picture or a sound"
    )
    parser.add_argument("--blind", action="store_true", help="in random order, and named once you have judged")
    add_wishes(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exits with 130 where there are no two whole answers."""
    prompt = join_input(args.prompt)
    attachments = tuple(read_attachment(Path(name)) for name in args.attach)
    return asyncio.run(_compare(args, prompt, attachments))


async def _compare(args: argparse.Namespace, prompt: str, attachments: tuple[Attachment, ...]) -> int:
    """Announce the price of both, let both answer, and learn from the verdict where somebody can give one."""
    session = open_session(args)
    try:
        request = TurnRequest(prompt, attachments, wishes_of(args, session.library))
        contest = arrange(session.chat.quote, request, _names(args.builds))
        output.note(f"two answers, for up to {format_credits(contest.most_micro)} credits together")
        answers: list[Answer] = []
        progress = output.Progress(is_quiet(args) or args.blind)
        await play(session, contest, answers, progress, is_blind=args.blind, is_silent=wants_json(args))
        asks = not wants_json(args) and can_be_judged(answers)
        better = verdict(ask_line(WHICH)) if asks else None
        for message_id, kind in signals(answers, better).items():
            session.experience.learn(message_id, kind)
    finally:
        await session.close()
    if wants_json(args):
        output.as_json({"answers": [answer_as_json(answer) for answer in answers]})
    else:
        for letter, answer in zip("AB", answers, strict=False):
            output.note(f"{letter} was {receipt(answer)}")
    return 0 if can_be_judged(answers) else _INTERRUPTED


async def play(
    session: "Session",
    contest: Contest,
    answers: list[Answer],
    progress: output.Progress,
    *,
    is_blind: bool,
    is_silent: bool = False,
) -> None:
    """Add the two answers, or those up to the first that is not whole; in random order where it ``is_blind``."""
    request, rivals = contest.request, list(contest.rivals)
    if is_blind:
        random.SystemRandom().shuffle(rivals)
    for letter, quote in zip("AB", rivals, strict=True):
        build_id = quote.route.build.id
        if not is_silent:
            output.line(letter if is_blind else f"{letter}: {build_id}")
        answer = await take_turn(session, named(request, build_id), progress, say=not is_silent)
        answers.append(answer)
        if not is_silent:
            output.line("(a picture)\n" if answer.picture else "\n")
            tell_remarks(answer)
        if not is_whole(answer) or answer.chat_id is None:
            return
        request = once_more(request, answer, session.store.path(answer.chat_id, answer.message_id)[-1].parent_id)


def ask_line(question: str) -> str:
    """The line that is typed to ``question``; an empty one where there is nobody to ask."""
    if not sys.stdin.isatty():
        return ""
    output.piece(question)
    return sys.stdin.readline().strip()


def verdict(typed: str) -> int | None:
    """Which one is better, by its letter; ``None`` leaves it open."""
    return _PLACES.get(typed.lower())


def _names(builds: str | None) -> tuple[str, ...]:
    names = tuple(name.strip() for name in (builds or "").split(",") if name.strip())
    if builds is not None and len(names) != 2:
        raise UsageError(f"{builds!r} is not two builds", "--builds A,B")
    return names
