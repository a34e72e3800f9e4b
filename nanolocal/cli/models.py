"""``nanolocal models``: the builds on this device."""

import argparse
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nanolocal.chat.amounts import format_bytes
from nanolocal.chat.routes import Build
from nanolocal.cli import (
    bench,
    bundling,
    care,
    catalogue,
    disk,
    embed,
    fit,
    hubtoken,
    output,
    pulling,
    repairing,
    tuning,
)
from nanolocal.cli.common import Subparsers, agreed, is_quiet, paths_of, wants_json
from nanolocal.errors import UsageError
from nanolocal.settings import load as load_settings

if TYPE_CHECKING:
    from nanolocal.library.library import Library


_MOST_ADAPTERS = 20
_FACT_COLUMNS = 64


def add(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the command and its parts."""
    parser = commands.add_parser("models", parents=[common], help="the builds on this device")
    parser.set_defaults(run=run_list)
    parts = parser.add_subparsers(metavar="PART")
    parts.add_parser("list", parents=[common], help="every build, and what was refused").set_defaults(run=run_list)
    show = parts.add_parser("show", parents=[common], help="everything known about one build or model")
    show.add_argument("build", metavar="BUILD")
    show.set_defaults(run=run_show)
    catalogue.add(parts, common)
    pulling.add(parts, common)
    hubtoken.add(parts, common)
    repairing.add(parts, common)
    bundling.add(parts, common)
    bench.add(parts, common)
    embed.add(parts, common)
    care.add(parts, common)
    disk.add(parts, common)
    fit.add(parts, common)
    scan = parts.add_parser("scan", parents=[common], help="use models where other programs keep them, copying nothing")
    scan.add_argument("folder", metavar="FOLDER", nargs="*", help="instead of the usual places")
    scan.add_argument("--dry-run", action="store_true", help="show what is there and adopt nothing")
    scan.add_argument("--forget", metavar="STORE|PATH", help="adopt these no longer; no file is touched")
    scan.set_defaults(run=run_scan)
    remove = parts.add_parser("remove", parents=[common], help="delete a build of nanolocal's own, or forget another's")
    remove.add_argument("build", metavar="BUILD")
    remove.add_argument("--yes", action="store_true", help="do not ask")
    remove.set_defaults(run=run_remove)


def open_library(args: argparse.Namespace) -> "Library":
    """The library of this invocation's home."""
    from nanolocal.library import opening

    paths = paths_of(args)
    return opening.open_library(paths, load_settings(paths.settings))


def run_list(args: argparse.Namespace) -> int:
    """List the builds; files that were refused follow on stderr."""
    library = open_library(args)
    builds = library.builds()
    notes = [*library.notes(), *_unfinished(paths_of(args).models)]
    if wants_json(args):
        refused = [{"path": str(item.path), "reason": item.reason} for item in library.problems()]
        adapters = [{"path": str(part.path), "name": part.name, "what": part.what} for part in library.adapters()]
        nets = [{"path": str(part.path), "name": part.name, "what": part.what} for part in library.controlnets()]
        listed = [as_json(build, library) for build in builds]
        output.as_json(
            {"builds": listed, "adapters": adapters, "controlnets": nets, "refused": refused, "notes": notes}
        )
        return 0
    rows = [(b.id, b.kind, format_bytes(b.size_bytes), _context(b), b.licence or "-", b.name) for b in builds]
    output.table(rows, ("BUILD", "MAKES", "SIZE", "CONTEXT", "LICENCE", "NAME"))
    for what, parts in (("adapters", library.adapters()), ("ControlNets", library.controlnets())):
        named = [part.name for part in parts]
        if named:
            more = f" and {len(named) - _MOST_ADAPTERS} more" if len(named) > _MOST_ADAPTERS else ""
            output.line(f"{what}: {', '.join(named[:_MOST_ADAPTERS])}{more}")
    for build in builds:
        if build.set_aside:
            output.note(f"{build.id} is set aside: {build.set_aside}")
    for problem in library.problems():
        output.note(f"refused: {problem.reason}")
    for note in notes:
        output.note(note)
    if not rows:
        output.note(
            f"no builds: nanolocal models scan, or models pull NAME, or put a .gguf file into {paths_of(args).models}"
        )
    return 0


def _unfinished(models: Path) -> list[str]:
    """What is to be said of pulls on their way."""
    from nanolocal.library.pull import UNFINISHED

    if not (models / UNFINISHED).is_dir():
        return []
    from nanolocal.library.pull.staging import notes

    return notes(models)


def run_show(args: argparse.Namespace) -> int:
    """Show one build, or what the catalogue has when it is not stored; raises ``UsageError`` for an unknown name."""
    from nanolocal.library.cards import REPORT, report_beside

    library = open_library(args)
    try:
        build = library.get(args.build)
    except UsageError as error:
        if catalogue.show(args.build, wants_json(args)):
            return 0
        raise UsageError(error.message, f"{error.hint}; nanolocal models catalogue lists what exists") from error
    report = report_beside(build.path)
    facts = as_json(build, library) | catalogue.facts_of(build) | tuning.facts_of(args, build)
    if wants_json(args):
        output.as_json(facts | ({REPORT: dict(report)} if report else {}))
        return 0
    for key, value in facts.items():
        if value not in ("", 0, {}, [], None) and (key != "places" or value != [facts["path"]]):
            label = "scores" if key == "published_scores" else key
            for number, text in enumerate(_folded(key, _in_words(key, value))):
                output.line(f"{'' if number else label:15} {text}")
    if report:
        _show_report(report)
    if build.set_aside:
        output.note(f"nanolocal models verify {build.id}, or nanolocal models release {build.id} to try it again")
    return 0


def _show_report(report: Mapping[str, object]) -> None:
    """What the compression lab measured."""
    from nanolocal.compress.report import lines

    output.line()
    output.line("measured when it was made smaller:")
    for label, text in lines(report):
        output.fact(label, text)


def _folded(key: str, text: str) -> list[str]:
    """``text`` in lines of a terminal; a path stays as it can be copied."""
    if key in ("path", "places", "projector"):
        return [text]
    return textwrap.wrap(text, _FACT_COLUMNS, break_long_words=False, break_on_hyphens=False)


def _in_words(key: str, value: object) -> str:
    """A fact as it is read, not as it is counted."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {number:g}" for name, number in value.items())
    if isinstance(value, list):
        return ", ".join(value)
    if value is True:
        return "yes"
    if isinstance(value, int):
        return f"{value:,}" + (f" ({format_bytes(value)})" if key == "size_bytes" else "")
    return str(value)


def run_scan(args: argparse.Namespace) -> int:
    """Find models in the stores of other programs and adopt them in place."""
    from nanolocal.cli import scanning

    library = open_library(args)
    if args.forget is not None:
        return scanning.forget(args, library)
    return scanning.scan(args, library)


def run_remove(args: argparse.Namespace) -> int:
    """Delete a build of nanolocal's own; forget one that was adopted. Raises ``UsageError`` for any other."""
    from nanolocal.library import removal

    library = open_library(args)
    models = paths_of(args).models
    planned = removal.plan(library, args.build, models)
    what = f"{planned.build.id} ({format_bytes(planned.size_bytes)})"
    if planned.own and not agreed(args, f"Delete {what} from {models}?"):
        output.note("nothing was deleted")
        return 0
    removal.carry_out(planned, library, models)
    if wants_json(args):
        deleted, left = [str(path) for path in planned.own], [str(path) for path in planned.others]
        result = {"build": planned.build.id, "deleted": deleted, "bytes": planned.size_bytes, "untouched": left}
        output.as_json(result)
    elif not is_quiet(args):
        output.line(f"deleted {what}" if planned.own else f"forgot {planned.build.name}; no file was touched")
        for place in planned.others:
            output.line(f"still there: {place}")
        if planned.entries:
            output.note("it is not nanolocal's own, and the next `models scan` would find it again")
    return 0


def as_json(build: Build, library: "Library") -> dict[str, object]:
    """Everything known about a build, for ``--json`` and ``models show``."""
    return {
        "build": build.id,
        "name": build.name,
        "kind": build.kind,
        "quantization": build.quantization,
        "size_bytes": build.size_bytes,
        "parameters": build.parameters,
        "context_length": build.context_length,
        "architecture": build.architecture,
        "licence": build.licence,
        "tiny": build.tiny,
        "defaults": dict(build.defaults),
        "quality": dict(build.quality),
        "sha256": build.sha256,
        "path": str(build.path),
        "places": [str(place) for place in library.origin(build).places],
        "stores": list(dict.fromkeys(entry.store for entry in library.origin(build).entries)),
        "also_called": list(build.aliases),
        "projector": str(build.projector) if build.projector else None,
        "senses": list(build.senses) if build.projector else [],
        "needs": build.needs,
        "set_aside": build.set_aside,
    }


def _context(build: Build) -> str:
    return str(build.context_length) if build.context_length else "-"
