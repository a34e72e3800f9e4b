"""``nanolocal ask``: one answer on stdout."""

import argparse
import asyncio
import mimetypes
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nanolocal.chat import media, sounds
from nanolocal.chat.amounts import parse_credits
from nanolocal.chat.choice import PREFERENCES
from nanolocal.chat.messages import Answer, Attachment, Stopped, TurnRequest, Wishes
from nanolocal.cli import output, shaping
from nanolocal.cli.common import Subparsers, is_quiet, open_session, wants_json
from nanolocal.cli.turns import answer_as_json, receipt, take_turn, tell_remarks, unsaid
from nanolocal.errors import EngineFailed, UsageError

if TYPE_CHECKING:
    from nanolocal.library.library import Library

_INTERRUPTED = 130
_MAX_ATTACHMENT_BYTES = 32 * 2**20


def add(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    parser = commands.add_parser("ask", parents=[common], help="one answer on stdout")
    parser.add_argument("prompt", nargs="?", default="", metavar="PROMPT", help="joined with standard input")
    parser.add_argument(
        "--attach", action="append", default=[], metavar="FILE", help="a text file, a picture or a sound"
    )
    parser.add_argument("--chat", metavar="ID", help="continue this conversation")
    parser.add_argument("--no-store", action="store_true", help="keep nothing but the charge")
    add_wishes(parser)
    shaping.add(parser)
    parser.set_defaults(run=run)


def add_wishes(parser: argparse.ArgumentParser) -> None:
    """Declare the options that shape an answer."""
    parser.add_argument("--model", default="auto", metavar="BUILD", help="this build instead of the router's choice")
    parser.add_argument("--prefer", choices=PREFERENCES, help="what the router weighs most")
    parser.add_argument("--max-tokens", type=int, metavar="N", help="the longest answer")
    parser.add_argument("--temperature", type=float, metavar="T", help="0 always takes the likeliest word")
    parser.add_argument("--seed", type=int, metavar="N", help="the same seed gives the same answer")
    parser.add_argument("--system", metavar="TEXT", help="instead of the instructions kept in the app")
    parser.add_argument("--no-helpers", action="store_true", help="the model alone: nothing worked out or looked up")
    parser.add_argument("--max-credits", metavar="C", help="refuse when the answer can cost more")
    named = "count it under this name; `credits budget key:NAME` can limit what it spends"
    parser.add_argument("--key", metavar="NAME", help=named)


def wishes_of(args: argparse.Namespace, library: "Library") -> Wishes:
    """The options as wishes; a path given as the build is adopted for as long as this runs."""
    return Wishes(
        model=library.adopt(Path(args.model)).id if _is_path(args.model, library) else args.model,
        prefer=args.prefer,
        max_tokens=args.max_tokens,
        temperature=args.temperature,
        seed=args.seed,
        system=args.system,
        max_credits_micro=None if args.max_credits is None else parse_credits(args.max_credits),
        store=not getattr(args, "no_store", False),
        key=args.key,
        helpers=not args.no_helpers,
        **shaping.wished(args),
    )


def run(args: argparse.Namespace) -> int:
    """Answer the prompt; exits with 130 when stopped and 1 when the engine died on the way."""
    prompt = join_input(args.prompt)
    attachments = tuple(read_attachment(Path(name)) for name in args.attach)
    if not prompt and not attachments:
        raise UsageError("the prompt is empty", 'nanolocal ask "your question"')
    progress = output.Progress(is_quiet(args))
    answer = asyncio.run(_ask(args, prompt, attachments, progress))
    if wants_json(args):
        output.as_json(answer_as_json(answer))
    else:
        _finish(answer)
        for call in answer.tool_calls:
            output.note(f"it asks for {call.name} with {call.arguments}")
        tell_remarks(answer)
        progress.say(receipt(answer))
    if answer.problem:
        raise EngineFailed(f"{answer.problem}; what it said is kept", "ask again to start a fresh engine")
    return _INTERRUPTED if answer.stopped is Stopped.USER else 0


def _finish(answer: Answer) -> None:
    """End the line that the streamed text stands on, or say where the picture is."""
    if answer.picture is not None:
        where = f"nanolocal chats show {answer.chat_id} --pictures DIR" if answer.chat_id else "not kept"
        output.line(f"[a picture; {where}]")
    elif answer.text:
        output.line()


async def _ask(
    args: argparse.Namespace, prompt: str, attachments: tuple[Attachment, ...], progress: output.Progress
) -> Answer:
    session = open_session(args)
    try:
        request = TurnRequest(prompt, attachments, wishes_of(args, session.library), chat_id=args.chat)
        say, tell = (False, unsaid) if wants_json(args) else (True, output.note)
        return await take_turn(session, request, progress, say, tell)
    finally:
        await session.close(keeps=args.chat is not None)


def _is_path(model: str, library: "Library") -> bool:
    """Whether a file is meant; builds of other programs have names such as org/model too."""
    if not model.endswith(".gguf") and Path(model).name == model:
        return False
    return Path(model).exists() or not any(build.answers_to(model) for build in library.builds())


def join_input(prompt: str) -> str:
    """The prompt and, below it, what was piped in."""
    if sys.stdin is None or sys.stdin.isatty():
        return prompt.strip()
    try:
        piped = sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError("standard input is not text", "attach a picture or a sound with --attach FILE") from error
    return "\n\n".join(part for part in (prompt.strip(), piped.strip()) if part)


def read_attachment(path: Path) -> Attachment:
    """A file as an attachment; raises ``UsageError`` when it cannot be read or is too large."""
    try:
        if path.stat().st_size > _MAX_ATTACHMENT_BYTES:
            raise UsageError(f"{path.name} is larger than 32 MiB", "attach a smaller file")
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "give another file") from error
    if sound := sounds.type_of(path.name):
        return media.checked_sound(Attachment(path.name, sound, data))
    return Attachment(path.name, mimetypes.guess_type(path.name)[0] or "text/plain", data)
