"""``nanolocal models pull``: fetch a model from the hub, a mirror or any address, and go on where it stopped."""

import argparse
import asyncio
import re
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from nanolocal.chat.amounts import format_bytes
from nanolocal.cli import hubtoken, output
from nanolocal.cli.common import Subparsers, is_quiet, paths_of, wants_json
from nanolocal.cli.pulled import as_json, show, tell_done
from nanolocal.errors import AccessRefused, UsageError
from nanolocal.paths import Paths
from nanolocal.settings import Settings
from nanolocal.settings import load as load_settings

if TYPE_CHECKING:
    from nanolocal.library.pull.choosing import Pick
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
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Fetch every model named, one after the other; what has arrived is kept whatever happens."""
    from nanolocal.library.opening import open_library
    from nanolocal.library.pull.hub import endpoint_of
    from nanolocal.library.pull.pulling import Source
    from nanolocal.library.pull.references import parse

    paths = paths_of(args)
    settings = load_settings(paths.settings)
    endpoint = endpoint_of(settings.hub)
    references = [parse(text, urlsplit(endpoint).netloc) for text in args.references]
    if args.discard:
        return _discard(args, paths.models, references)
    source = Source(endpoint, "", paths.models, open_library(paths, settings), _pick(paths, settings))
    done = [_pull_one(args, source, reference) for reference in references]
    if wants_json(args):
        output.as_json({"builds": [as_json(each, seconds, args.dry_run) for each, seconds in done]})
    return 0


def _pull_one(args: argparse.Namespace, source: "Source", reference: "Reference") -> "tuple[Done, float]":
    """With the token that is at hand; where the hub refuses, once more with one that has to be asked for."""
    from nanolocal.library.pull.staging import command

    token = hubtoken.find(args, source.endpoint) if reference.repo else ""
    face = _Face(args)
    try:
        return face.pull(replace(source, token=token), reference)
    except AccessRefused:
        other = "" if token else hubtoken.ask_for_vault(args, source.endpoint)
        if not other:
            raise
        return face.pull(replace(source, token=other), reference)
    except KeyboardInterrupt:
        if face.has_begun:
            output.note(f"stopped; what has arrived is kept: {command(reference.typed)} goes on")
        raise


class _Face:
    """Shows one pull, and asks where the licence has conditions."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._shown = 0.0
        self._progress = output.Progress(is_quiet(args) or wants_json(args))
        self.has_begun = False

    def pull(self, source: "Source", reference: "Reference") -> "tuple[Done, float]":
        """Run it; with how many seconds it took."""
        began = time.monotonic()
        try:
            done = asyncio.run(self._run(source, reference))
        finally:
            self._progress.clear()
        seconds = time.monotonic() - began
        if not wants_json(self._args) and (done.is_copy or not self._args.dry_run):
            tell_done(self._args, done, seconds)
        return done, seconds

    async def _run(self, source: "Source", reference: "Reference") -> "Done":
        from nanolocal.library.pull.control import Control
        from nanolocal.library.pull.pulling import pull

        args = self._args
        control = Control(args.rate, args.connections)
        return await pull(source, reference, args.file or "", control, self._agree, self._tell, self._progress.show)

    def _agree(self, prepared: "Prepared", free: int) -> bool:
        self._progress.clear()
        if self.has_begun:  # and was refused: with another token now
            return True
        if not wants_json(self._args) and not is_quiet(self._args):
            show(prepared, free)
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


def _pick(paths: Paths, settings: Settings) -> "Pick":
    """What this machine can hold and run at a pace."""
    from nanolocal.device.bandwidth import memory_bandwidth
    from nanolocal.device.machine import inspect
    from nanolocal.library.pull.choosing import best_that_fits

    budget = inspect().memory_budget(settings.memory_mb)
    return best_that_fits(budget, memory_bandwidth(paths.bandwidth))


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
