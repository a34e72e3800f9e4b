"""``nanolocal models embed``: a vector for each text, for programs that search and sort by meaning."""

import argparse
import sys
from array import array
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

from nanolocal.chat.amounts import format_credits
from nanolocal.cli import output
from nanolocal.cli.common import Subparsers, is_quiet, wants_json, with_session
from nanolocal.errors import UsageError

if TYPE_CHECKING:
    from nanolocal.bootstrap import Session
    from nanolocal.chat.embedding import EmbeddingRequest, Sum
    from nanolocal.chat.events import Embedded, EngineEvent
    from nanolocal.chat.routes import Build

_MOST_FILE_BYTES = 256 * 2**20
_DIGITS = 9
"""Enough that every 32-bit number is read back as it was."""


def add(parts: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    parser = parts.add_parser("embed", parents=[common], help="a vector for each line or text, to search by meaning")
    parser.add_argument(
        "texts", nargs="*", metavar="FILE|-|TEXT", help="a file read line by line, standard input (-), or a text itself"
    )
    parser.add_argument("--model", metavar="BUILD", help="instead of the best build that makes vectors")
    parser.add_argument("--binary", action="store_true", help="32-bit little-endian numbers alone, row after row")
    parser.add_argument("--raw", action="store_true", help="as the model makes them, not scaled to length 1")
    parser.add_argument("--truncate", action="store_true", help="of texts that are too long read the beginning")
    parser.add_argument("--as-text", action="store_true", help="take every argument as a text, also a file's name")
    parser.add_argument("--key", metavar="NAME", help="count what it costs under this name")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make the vectors; 130 when stopped, with those that were made before."""
    from nanolocal.chat import embedding

    if args.binary and wants_json(args):
        raise UsageError("--binary and --json are two forms of one output", "leave one of them out")
    if args.binary and sys.stdout.isatty():
        raise UsageError("a terminal shows no binary numbers", "nanolocal models embed --binary FILE > vectors.f32")
    args.lines = list(_texts(args))
    embedding.check(args.lines)
    return with_session(_embed)(args)


def _texts(args: argparse.Namespace) -> Iterator[str]:
    """What is to be read: each text, each line of a file, each line of standard input."""
    for given in args.texts or ["-"]:
        if given == "-" and not args.as_text:
            yield from _lines(sys.stdin.buffer.read(_MOST_FILE_BYTES + 1), "standard input")
        elif not args.as_text and _is_file(given):
            try:
                with Path(given).open("rb") as file:
                    yield from _lines(file.read(_MOST_FILE_BYTES + 1), given)
            except OSError as error:
                raise UsageError(f"cannot read {given}: {error.strerror}", "give another file") from error
        else:
            yield given


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):  # a text may be longer than a name, or hold what no name does
        return False


def _lines(data: bytes, name: str) -> list[str]:
    if len(data) > _MOST_FILE_BYTES:
        raise UsageError(f"{name} is larger than {_MOST_FILE_BYTES // 2**20} MiB", "split it")
    try:
        return data.decode("utf-8").removesuffix("\n").split("\n") if data else []
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is not UTF-8 text", "give another file") from error


def _embed(args: argparse.Namespace, session: "Session") -> int:
    import asyncio

    from nanolocal.chat.embedding import EmbeddingRequest
    from nanolocal.chat.jobs import is_text
    from nanolocal.chat.messages import Stopped

    embedder = session.embedder()
    build = embedder.choose(args.model)
    if is_text(build):
        output.note(f"{build.id} was not made for vectors: the mean of what it sees in each token is a rough one")
    request = EmbeddingRequest(tuple(args.lines), build, args.truncate, not args.raw, args.key)
    shown = _Shown(args, build, len(request.texts))
    asyncio.run(_run(session, request, shown))
    total = shown.total
    if total is None or total.stopped is Stopped.USER:
        output.note(f"stopped: {shown.done} of {len(request.texts)} texts are done")
        return 130
    return 0


async def _run(session: "Session", request: "EmbeddingRequest", shown: "_Shown") -> None:
    import asyncio

    from nanolocal.cli.turns import ended_by_signals

    stop, end = asyncio.Event(), asyncio.Event()
    try:
        with ended_by_signals(stop, end):
            async with aclosing(session.embedder().run(request, stop)) as events:
                async for event in events:
                    shown.take(event)
    finally:
        await session.engines.close()
        shown.end()
    if end.is_set():
        raise KeyboardInterrupt


class _Shown:
    """What is written of a run: rows as they come, or one object at the end; progress beside them."""

    def __init__(self, args: argparse.Namespace, build: "Build", count: int) -> None:
        self._args = args
        self._build = build
        self._count = count
        self._progress = output.Progress(is_quiet(args))
        self._rows: list[list[float]] = []
        self._cut = 0
        self.done = 0
        self.total: Sum | None = None

    def take(self, event: "EngineEvent | Sum") -> None:
        """Show what happened."""
        from nanolocal.chat.embedding import Sum
        from nanolocal.chat.events import Embedded, FirstUse, Loading, MadeDo

        match event:
            case Loading(build_id, fraction):
                self._progress.show(f"loading {build_id} {fraction:.0%}")
            case FirstUse(_, said) | MadeDo(said):
                self._progress.clear()
                output.note(said)
            case Embedded():
                self._write(event)
                self.done += event.count
                self._cut += event.cut
                self._progress.show(f"{self._build.id}: {self.done} of {self._count} texts")
            case Sum():
                self.total = event

    def end(self) -> None:
        """Say what is said at the end; what was made before an error is not lost."""
        from nanolocal.chat.messages import Stopped

        self._progress.clear()
        if self._cut:
            output.note(f"{self._cut} of {self.done} texts were too long: their beginning was read")
        if self.total is None or (self.total.stopped is Stopped.CRASH and not self.done):
            return
        if wants_json(self._args):
            output.as_json(self._as_json(self.total))
        elif not is_quiet(self._args):
            self._progress.say(
                f"{self.total.usage.prompt_tokens:,} tokens, {format_credits(self.total.cost_micro)} credits"
            )

    def _write(self, event: "Embedded") -> None:
        if self._args.binary:
            output.binary(event.vectors)
            return
        rows = list(_rows(event))
        if wants_json(self._args):
            self._rows += rows
        else:
            for row in rows:
                output.as_json(row)

    def _as_json(self, total: "Sum") -> dict[str, object]:
        return {
            "model": self._build.id,
            "embeddings": self._rows,
            "width": len(self._rows[0]) if self._rows else 0,
            "truncated": self._cut,
            "usage": {"prompt_tokens": total.usage.prompt_tokens, "loads": total.usage.loads},
            "cost_micro": total.cost_micro,
            "balance_micro": total.balance_micro,
            "stopped": total.stopped,
        }


def _rows(event: "Embedded") -> Iterator[list[float]]:
    """The vectors as numbers with as many digits as they have."""
    numbers = array("f", event.vectors)
    if sys.byteorder == "big":
        numbers.byteswap()
    width = len(numbers) // event.count
    for start in range(0, len(numbers), width):
        yield [float(f"{number:.{_DIGITS}g}") for number in numbers[start : start + width]]
