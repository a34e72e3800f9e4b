"""``nanolocal image``: one picture in a file."""

import argparse
import asyncio
import re
import sys
from dataclasses import replace
from pathlib import Path

from nanolocal.chat.messages import Answer, TurnRequest
from nanolocal.cli import output
from nanolocal.cli.ask import add_wishes, join_input, wishes_of
from nanolocal.cli.common import Subparsers, is_quiet, open_session, wants_json
from nanolocal.cli.turns import answer_as_json, receipt, take_turn, tell_remarks, unsaid
from nanolocal.errors import UsageError

_INTERRUPTED = 130


def add(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    parser = commands.add_parser("image", parents=[common], help="one picture in a file")
    parser.add_argument("prompt", nargs="?", default="", metavar="PROMPT", help="what the picture shows")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where the PNG goes; - is standard output")
    parser.add_argument("--size", metavar="WxH", help="in pixels, for example 64x64")
    parser.add_argument("--steps", type=int, metavar="N", help="denoising steps")
    parser.add_argument("--no-store", action="store_true", help="keep nothing but the charge")
    add_wishes(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Draw and write the file; exits with 130 when stopped before the picture was done."""
    prompt = join_input(args.prompt)
    if not prompt:
        raise UsageError("the prompt is empty", 'nanolocal image "a red circle" --out circle.png')
    width, height = _size(args.size)
    out = args.out or _free_name()
    is_stdout = str(out) == "-"
    if is_stdout and wants_json(args):
        raise UsageError("--json and --out - both want standard output", "give --out a file")
    if is_stdout and sys.stdout.isatty():
        raise UsageError("a picture on a terminal would be noise", "--out FILE, or --out - into a pipe")
    if not is_stdout:
        _check_writable(out)
    answer = asyncio.run(_draw(args, prompt, width, height))
    if answer.picture is None:
        output.note("stopped before the picture was done")
        return _INTERRUPTED
    if is_stdout:
        sys.stdout.buffer.write(answer.picture.data)
    else:
        out.write_bytes(answer.picture.data)
    if wants_json(args):
        output.as_json(answer_as_json(answer) | {"picture": str(out), "bytes": len(answer.picture.data)})
    else:
        tell_remarks(answer)
        if not is_stdout:
            output.line(str(out))
    return 0


async def _draw(args: argparse.Namespace, prompt: str, width: int | None, height: int | None) -> Answer:
    progress = output.Progress(is_quiet(args))
    session = open_session(args)
    try:
        wishes = replace(
            wishes_of(args, session.library),
            picture=True,
            width=width,
            height=height,
            steps=args.steps,
        )
        tell = unsaid if wants_json(args) else output.note
        answer = await take_turn(session, TurnRequest(prompt, wishes=wishes), progress, say=False, tell=tell)
    finally:
        await session.close()
    progress.say(receipt(answer))
    return answer


def _size(text: str | None) -> tuple[int | None, int | None]:
    if text is None:
        return None, None
    match = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text.strip().lower())
    if not match:
        raise UsageError(f"{text!r} is not a size", "write it as --size 64x64")
    return int(match.group(1)), int(match.group(2))


def _free_name() -> Path:
    names = (Path(f"picture{n or ''}.png") for n in range(10_000))
    return next(name for name in names if not name.exists())


def _check_writable(out: Path) -> None:
    """Raise ``UsageError`` before anything is drawn for nothing."""
    if out.is_dir():
        raise UsageError(f"{out} is a directory", f"--out {out / 'picture.png'}")
    is_new = not out.exists()
    try:
        out.open("ab").close()
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror}", "choose another file with --out") from error
    if is_new:
        out.unlink()
