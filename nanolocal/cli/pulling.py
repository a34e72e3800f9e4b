"""``nanolocal models pull``: fetch a model from the hub, a mirror or any address, and go on where it stopped."""

import argparse
import re
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nanolocal.chat.amounts import format_bytes
from nanolocal.cli import hubtoken, insecure, output
from nanolocal.cli.common import Subparsers, is_quiet, paths_of, wants_json
from nanolocal.cli.pulled import as_json, fit_json, show, tell_done
from nanolocal.errors import UsageError
from nanolocal.paths import Paths
from nanolocal.settings import Settings
from nanolocal.settings import load as load_settings

if TYPE_CHECKING:
    from nanolocal.library.pull.expecting import Room
    from nanolocal.library.pull.plan import Progress
    from nanolocal.library.pull.pulling import Done, Source
    from nanolocal.library.pull.references import Reference
    from nanolocal.library.pull.running import Prepared

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([kMG]?)B?(?:/s)?")
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
_MOST_CONNECTIONS = 16
_SHOWN_EVERY_S = 0.1


def add(parts: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    parser = parts.add_parser("pull", parents=[common], help="fetch a model; the same command goes on where it stopped")
    parser.add_argument(
        "references",
        nargs="+",
        metavar="MODEL",
        help="a name of the catalogue, OWNER/REPOSITORY[:QUANT], or an address",
    )
    parser.add_argument("--file", metavar="FILE", help="this file of the repository")
    parser.add_argument("--rate", metavar="5MB/s", type=_rate, default=0, help="take no more of the line than this")
    parser.add_argument("--connections", metavar="N", type=_connections, default=4, help="at once, 4 unless given")
    parser.add_argument("--dry-run", action="store_true", help="only show what would be fetched")
    parser.add_argument("--yes", action="store_true", help="agree to the licence without being asked")
    parser.add_argument("--discard", action="store_true", help="delete what an unfinished pull has fetched")
    insecure.add(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Fetch every model named, one after the other; what has arrived is kept whatever happens."""
    from urllib.parse import urlsplit

    from nanolocal.library.opening import open_library
    from nanolocal.library.pull.choosing import best_that_fits
    from nanolocal.library.pull.expecting import expect
    from nanolocal.library.pull.hub import endpoint_of
    from nanolocal.library.pull.pulling import Source
    from nanolocal.library.pull.references import parse

    paths = paths_of(args)
    settings = load_settings(paths.settings)
    endpoint = endpoint_of(settings.hub)
    references = [parse(text, urlsplit(endpoint).netloc) for text in args.references]
    if args.discard:
        return _discard(args, paths.models, references)
    room = _room(paths, settings)
    pick = best_that_fits(room.budget, room.bandwidth)
    allows_plain = insecure.allows_plain(args, settings)
    source = Source(endpoint, "", paths.models, open_library(paths, settings), pick, allows_plain)
    done = [_pull_one(args, source, reference, room) for reference in references]
    if wants_json(args):
        rows = [
            as_json(each, seconds, args.dry_run) | {"fit": fit_json(expect(each.prepared.plan, reference.model, room))}
            for reference, (each, seconds) in zip(references, done, strict=True)
        ]
        output.as_json({"builds": rows})
    return 0


def _pull_one(args: argparse.Namespace, source: "Source", reference: "Reference", room: "Room") -> "tuple[Done, float]":
    """With the token that is kept, where the hub wants one; says how to go on after Ctrl+C."""
    from nanolocal.library.pull.staging import command

    face = _Face(args, reference, room)
    try:
        if not reference.repo:
            return face.pull(source)
        return hubtoken.with_token(args, source.endpoint, lambda token: face.pull(replace(source, token=token)))
    except KeyboardInterrupt:
        if face.has_begun:
            output.note(f"stopped; what has arrived is kept: {command(reference.typed)} goes on")
        raise


class _Face:
    """Shows one pull, and asks where the licence has conditions."""

    def __init__(self, args: argparse.Namespace, reference: "Reference", room: "Room") -> None:
        self._args = args
        self._reference = reference
        self._room = room
        self._shown = 0.0
        self._progress = output.Progress(is_quiet(args) or wants_json(args))
        self.has_begun = False

    def pull(self, source: "Source") -> "tuple[Done, float]":
        """Run it; with how many seconds it took."""
        import asyncio

        began = time.monotonic()
        try:
            done = asyncio.run(self._run(source))
        finally:
            self._progress.clear()
        seconds = time.monotonic() - began
        if not wants_json(self._args) and (done.is_copy or not self._args.dry_run):
            tell_done(self._args, done, seconds)
        return done, seconds

    async def _run(self, source: "Source") -> "Done":
        from nanolocal.library.pull.control import Control
        from nanolocal.library.pull.pulling import pull

        args = self._args
        control = Control(args.rate, args.connections)
        file, says = args.file or "", self._progress.show
        return await pull(source, self._reference, file, control, self._agree, self._tell, says)

    def _agree(self, prepared: "Prepared", free: int) -> bool:
        from nanolocal.library.pull.expecting import expect

        self._progress.clear()
        if self.has_begun:  # and was refused: with another token now
            return True
        if not wants_json(self._args) and not is_quiet(self._args):
            show(prepared, free, expect(prepared.plan, self._reference.model, self._room))
        if self._args.dry_run:
            return False
        if not prepared.spot.is_complete(prepared.plan):
            _check_consent(self._args, prepared)
            self.has_begun = True
        return True

    def _tell(self, now: "Progress") -> None:
        from nanolocal.library.pull.telling import line_of

        if time.monotonic() - self._shown >= _SHOWN_EVERY_S:
            self._shown = time.monotonic()
            self._progress.show(line_of(now))


def _room(paths: Paths, settings: Settings) -> "Room":
    """What this machine can hold, and how fast it reads it."""
    from nanolocal.device.bandwidth import memory_bandwidth
    from nanolocal.device.machine import inspect
    from nanolocal.library.pull.expecting import Room

    return Room(inspect().memory_budget(settings.memory_mb), memory_bandwidth(paths.bandwidth))


def _discard(args: argparse.Namespace, models: Path, references: "list[Reference]") -> int:
    from nanolocal.library.pull.staging import unfinished

    typed = {reference.typed for reference in references}
    gone = [each for each in unfinished(models) if each.plan.typed.partition(" --file ")[0] in typed]
    size = sum(each.done for each in gone)
    for each in gone:
        each.discard()
    if wants_json(args):
        output.as_json({"discarded": [each.plan.typed for each in gone], "bytes": size})
    elif gone:
        output.line(f"deleted {format_bytes(size)} of {', '.join(each.plan.typed for each in gone)}")
    else:
        output.note("there is no unfinished pull of that name")
    return 0


def _check_consent(args: argparse.Namespace, prepared: "Prepared") -> None:
    """Ask where the licence has conditions; raises ``UsageError`` when nobody agrees."""
    if args.yes or not prepared.needs_consent:
        return
    terms = prepared.plan.terms
    refusal = UsageError(f"the licence has conditions: {terms.shown}", "read it, then add --yes to agree")
    if wants_json(args) or not sys.stdin.isatty():
        raise refusal
    output.piece("The licence has conditions. Fetch the model under them? [y/N] ")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise refusal


def _rate(text: str) -> int:
    match = _RATE.fullmatch(text.strip())
    if match is None or (rate := int(float(match[1]) * _UNITS[match[2]])) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no rate such as 5MB/s or 800kB/s")
    return rate


def _connections(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_CONNECTIONS:
        raise argparse.ArgumentTypeError(f"from 1 to {_MOST_CONNECTIONS} connections, not {text!r}")
    return int(text)
