"""``nanolocal image``: pictures in files."""

import argparse
import asyncio
import re
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

from nanolocal.chat.drawing import PictureReceipt
from nanolocal.chat.messages import Answer, Stopped, TurnRequest
from nanolocal.chat.redrawing import like
from nanolocal.cli import drawing, output, showing
from nanolocal.cli.ask import add_wishes, join_input, wishes_of
from nanolocal.cli.common import Subparsers, is_quiet, open_session, wants_json
from nanolocal.cli.turns import answer_as_json, receipt, take_turn, tell_remarks, unsaid
from nanolocal.errors import EngineFailed, UsageError

_INTERRUPTED = 130


def add(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    parser = commands.add_parser("image", parents=[common], help="pictures in files")
    parser.add_argument("prompt", nargs="?", default="", metavar="PROMPT", help="what the picture shows")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where the PNG goes; - is standard output")
    parser.add_argument("--show", action="store_true", help=f"{showing.HELP}; without --out no file is written")
    parser.add_argument("--size", metavar="WxH", help="in pixels, for example 64x64")
    parser.add_argument("--steps", type=int, metavar="N", help="denoising steps")
    parser.add_argument("--no-store", action="store_true", help="keep nothing but the charge")
    drawing.add(parser)
    add_wishes(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Draw and write the file; exits with 130 when stopped before the picture was done."""
    told = drawing.settings_of(args.like) if args.like else None
    prompt = join_input(args.prompt) or (told.prompt if told else "")
    if not prompt and not args.upscale:
        raise UsageError("the prompt is empty", 'nanolocal image "a red circle" --out circle.png')
    width, height = _size(args.size)
    shows = args.show and showing.can_show() and not wants_json(args)
    is_stdout = str(args.out) == "-"
    files = [] if is_stdout or (shows and args.out is None) else _files(args.out, args.count)
    if is_stdout and wants_json(args):
        raise UsageError("--json and --out - both want standard output", "give --out a file")
    if is_stdout and sys.stdout.isatty():
        raise UsageError("a picture on a terminal would be noise", "--out FILE, or --out - into a pipe")
    if is_stdout and args.count != 1:
        raise UsageError("standard output takes one picture", "give --out a file, or leave --count out")
    for file in files:
        _check_writable(file)
    answer = asyncio.run(_draw(args, prompt, (width, height), told, shows))
    pictures = drawing.leaving(answer.pictures, with_metadata=args.with_metadata)
    written = files[: len(pictures)]
    if is_stdout and pictures:
        sys.stdout.buffer.write(pictures[0].data)
    for picture, file in zip(pictures, written, strict=False):
        file.write_bytes(picture.data)
    if answer.picture is not None and wants_json(args):
        listed = drawing.as_json(pictures, written)
        first = {"picture": listed[0]["picture"], "bytes": listed[0]["bytes"]}
        output.as_json(answer_as_json(answer) | first | {"pictures": listed})
    elif answer.picture is not None:
        tell_remarks(answer)
        for file in written:
            output.line(str(file))
    if answer.stopped is Stopped.USER or answer.picture is None:
        whats_left = "the picture was done" if args.count == 1 else f"all {args.count} pictures were done"
        output.note(f"stopped before {whats_left}")
        return _INTERRUPTED
    if answer.problem:
        raise EngineFailed(f"{answer.problem}; what was drawn is kept", "draw again to start a fresh engine")
    return 0


async def _draw(
    args: argparse.Namespace, prompt: str, size: tuple[int | None, int | None], told: PictureReceipt | None, shows: bool
) -> Answer:
    progress = output.Progress(is_quiet(args))
    session = open_session(args)
    try:
        wishes = replace(
            wishes_of(args, session.library),
            picture=True,
            width=size[0],
            height=size[1],
            steps=args.steps,
            drawing=drawing.wished(args),
        )
        if told is not None:
            wishes, notes = like(session, told, wishes)
            for note in notes:
                output.note(note)
        tell = unsaid if wants_json(args) else output.note
        request = TurnRequest(prompt, drawing.source(args), wishes)
        answer = await take_turn(session, request, progress, say=False, tell=tell)
    finally:
        await session.close()
    if shows:
        showing.show(answer.pictures, session.settings)
    progress.say(receipt(answer))
    return answer


def _size(text: str | None) -> tuple[int | None, int | None]:
    if text is None:
        return None, None
    match = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text.strip().lower())
    if not match:
        raise UsageError(f"{text!r} is not a size", "write it as --size 64x64")
    return int(match.group(1)), int(match.group(2))


def _files(out: Path | None, count: int) -> list[Path]:
    """Where so many pictures go: as they are called, or under names that are free here."""
    if out is not None:
        return list(drawing.places(out, count))
    names = (Path(f"picture{n or ''}.png") for n in range(10_000))
    return list(islice((name for name in names if not name.exists()), max(1, count)))


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
