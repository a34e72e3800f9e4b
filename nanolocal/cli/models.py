"""``nanolocal models``: the builds on this device."""

import argparse

from nanolocal.chat.amounts import format_bytes
from nanolocal.chat.routes import Build
from nanolocal.cli import catalogue, output
from nanolocal.cli.common import Subparsers, paths_of, wants_json
from nanolocal.errors import UsageError
from nanolocal.settings import load as load_settings


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


def run_list(args: argparse.Namespace) -> int:
    """List the builds; files that were refused follow on stderr."""
    from nanolocal import bootstrap

    paths = paths_of(args)
    library = bootstrap.open_library(paths, load_settings(paths.settings))
    if wants_json(args):
        refused = [{"path": str(item.path), "reason": item.reason} for item in library.problems()]
        output.as_json({"builds": [_as_json(build) for build in library.builds()], "refused": refused})
        return 0
    rows = [(b.id, b.kind, format_bytes(b.size_bytes), _context(b), b.licence or "-", b.name) for b in library.builds()]
    output.table(rows, ("BUILD", "MAKES", "SIZE", "CONTEXT", "LICENCE", "NAME"))
    for problem in library.problems():
        output.note(f"refused: {problem.reason}")
    if not rows:
        output.note(f"no builds: put a .gguf file or a diffusers folder into {paths.models}")
    return 0


def run_show(args: argparse.Namespace) -> int:
    """Show one build, or what the catalogue has when it is not stored; raises ``UsageError`` for an unknown name."""
    from nanolocal import bootstrap

    paths = paths_of(args)
    try:
        build = bootstrap.open_library(paths, load_settings(paths.settings)).get(args.build)
    except UsageError as error:
        if catalogue.show(args.build, wants_json(args)):
            return 0
        raise UsageError(error.message, f"{error.hint}; nanolocal models catalogue lists what exists") from error
    facts = _as_json(build)
    if wants_json(args):
        output.as_json(facts)
        return 0
    for key, value in facts.items():
        if value not in ("", 0, {}):
            output.line(f"{key:16} {value}")
    return 0


def _context(build: Build) -> str:
    return str(build.context_length) if build.context_length else "-"


def _as_json(build: Build) -> dict[str, object]:
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
    }
