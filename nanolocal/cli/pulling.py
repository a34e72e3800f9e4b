"""``nanolocal models pull``: fetch a model from the hub, a mirror or any address, and go on where it stopped."""

import argparse
import asyncio
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from nanolocal.chat.amounts import format_bytes
from nanolocal.cli import hubtoken, output
from nanolocal.cli.common import Subparsers, is_quiet, paths_of, wants_json
from nanolocal.cli.pulled import Done, as_json, show, tell_done
from nanolocal.errors import AccessRefused, UsageError
from nanolocal.paths import Paths, make_private
from nanolocal.settings import Settings
from nanolocal.settings import load as load_settings

if TYPE_CHECKING:
    from nanolocal.library.pull.choosing import Pick
    from nanolocal.library.pull.plan import Fetched, Progress
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
    from nanolocal.library.pull.hub import endpoint_of
    from nanolocal.library.pull.references import parse

    paths = paths_of(args)
    settings = load_settings(paths.settings)
    endpoint = endpoint_of(settings.hub)
    references = [parse(text, urlsplit(endpoint).netloc) for text in args.references]
    if args.discard:
        return _discard(args, paths.models, references)
    done = [_pull_one(args, paths, settings, endpoint, reference) for reference in references]
    if wants_json(args):
        output.as_json({"builds": [as_json(each, args.dry_run) for each in done]})
    return 0


def _pull_one(
    args: argparse.Namespace, paths: Paths, settings: Settings, endpoint: str, reference: "Reference"
) -> Done:
    """With the token that is at hand; where the hub refuses, once more with one that has to be asked for."""
    token = hubtoken.find(args, endpoint) if reference.repo else ""
    puller = _Puller(args, paths, settings, endpoint, reference)
    try:
        return puller.run(token)
    except AccessRefused as error:
        other = hubtoken.ask_for_vault(args, endpoint) if not token else ""
        if other:
            return puller.run(other)
        hint = f"{error.hint}: nanolocal models token" if not token else error.hint
        raise AccessRefused(error.message, hint) from error
    except KeyboardInterrupt:
        if puller.has_begun:
            output.note(f"stopped; what has arrived is kept: nanolocal models pull {reference.typed} goes on")
        raise


class _Puller:
    """One pull on the command line."""

    def __init__(
        self, args: argparse.Namespace, paths: Paths, settings: Settings, endpoint: str, reference: "Reference"
    ) -> None:
        self._args = args
        self._paths = paths
        self._settings = settings
        self._endpoint = endpoint
        self._reference = reference
        self._shown = 0.0
        self._progress = output.Progress(is_quiet(args) or wants_json(args))
        self.has_begun = False

    def run(self, token: str) -> Done:
        """Plan, show, ask where that is needed, fetch, and take into the library."""
        from nanolocal.library.opening import open_library
        from nanolocal.library.pull.result import take_in

        began = time.monotonic()
        try:
            prepared, fetched = asyncio.run(self._fetch(token))
        finally:
            self._progress.clear()
        if self._args.dry_run:
            return Done(prepared, (), None, 0.0)
        library = open_library(self._paths, self._settings)
        done = Done(prepared, fetched, take_in(library, prepared, fetched), time.monotonic() - began)
        if not wants_json(self._args):
            tell_done(self._args, done)
        return done

    async def _fetch(self, token: str) -> "tuple[Prepared, tuple[Fetched, ...]]":
        from nanolocal.library.pull.control import Control
        from nanolocal.library.pull.links import Links
        from nanolocal.library.pull.running import carry_out, check_room, prepare

        models, args = self._paths.models, self._args
        async with Links(self._endpoint, token, says=self._progress.show) as links:
            pick = _pick(self._settings)
            prepared = await prepare(links, self._endpoint, self._reference, pick, models, args.file or "")
            free = check_room(prepared, models)
            if not wants_json(args) and not is_quiet(args):
                self._progress.clear()
                show(prepared, free)
            if args.dry_run or prepared.spot.is_complete(prepared.plan):
                return prepared, ()
            _agree(args, prepared)
            make_private(models)
            self.has_begun = True
            return prepared, await carry_out(links, prepared, models, Control(args.rate, args.connections), self._tell)

    def _tell(self, now: "Progress") -> None:
        from nanolocal.library.pull.telling import line_of

        if time.monotonic() - self._shown >= _SHOWN_EVERY_S:
            self._shown = time.monotonic()
            self._progress.show(line_of(now))


def _pick(settings: Settings) -> "Pick":
    """What a machine like this one can hold."""
    from nanolocal.device.machine import inspect
    from nanolocal.library.pull.choosing import largest_that_fits

    return largest_that_fits(inspect().memory_budget(settings.memory_mb))


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


def _agree(args: argparse.Namespace, prepared: "Prepared") -> None:
    """Ask once where the licence has conditions; raises ``UsageError`` when nobody agrees."""
    terms = prepared.plan.terms
    if args.yes or prepared.is_resumed or not terms.need_consent:
        return
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
