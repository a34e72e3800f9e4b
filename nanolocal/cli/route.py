"""``nanolocal route``: what would answer, and why."""

import argparse
from pathlib import Path

from nanolocal.chat.ports import RouteRequest
from nanolocal.chat.routes import Route
from nanolocal.cli import output
from nanolocal.cli.ask import add_wishes, join_input, read_attachment, wishes_of
from nanolocal.cli.common import Subparsers, paths_of, wants_json
from nanolocal.cli.turns import route_as_json
from nanolocal.errors import UsageError
from nanolocal.settings import load as load_settings


def add(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    parser = commands.add_parser("route", parents=[common], help="what would answer, and why")
    parser.add_argument("prompt", nargs="?", default="", metavar="PROMPT", help="joined with standard input")
    parser.add_argument("--attach", action="append", default=[], metavar="FILE", help="a text file or a picture")
    add_wishes(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Decide, show, run nothing. Needs no vault."""
    from nanolocal import bootstrap
    from nanolocal.device.machine import inspect

    prompt = join_input(args.prompt)
    if not prompt:
        raise UsageError("the prompt is empty", 'nanolocal route "your question"')
    paths = paths_of(args)
    settings = load_settings(paths.settings)
    library = bootstrap.open_library(paths, settings)
    router = bootstrap.open_router(library, settings, inspect())
    attachments = tuple(read_attachment(Path(name)) for name in args.attach)
    route = router.pick(RouteRequest(prompt, attachments, 0, wishes_of(args, library)))
    if wants_json(args):
        output.as_json(
            {"task": route.task, "build": route.build.id, "model": route.build.name, "route": route_as_json(route)}
        )
    else:
        _show(route)
    return 0


def _show(route: Route) -> None:
    output.line(f"{route.build.id} answers")
    for reason in route.reasons:
        output.line(f"  because {reason}")
    for other in route.runners_up:
        output.line(f"  next: {other.build_id}, {other.reason}")
    for item in route.rejected:
        output.line(f"  not {item.build_id} ({item.gate}): {item.reason}")
