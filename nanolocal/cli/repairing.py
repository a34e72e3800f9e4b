"""``nanolocal models repair``: exchange the damaged chunks of a build that was pulled."""

import argparse
from typing import TYPE_CHECKING

from nanolocal.chat.amounts import format_bytes
from nanolocal.cli import hubtoken, insecure, output
from nanolocal.cli.common import Subparsers, is_quiet, paths_of, wants_json
from nanolocal.settings import load as load_settings

if TYPE_CHECKING:
    from nanolocal.library.pull.mending import Mended


def add(parts: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    parser = parts.add_parser("repair", parents=[common], help="fetch again what is damaged of a build that was pulled")
    parser.add_argument("build", metavar="BUILD")
    insecure.add(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Read every file of the build, and fetch only the chunks that are not what came."""
    import asyncio

    progress = output.Progress(is_quiet(args) or wants_json(args))
    try:
        mended = asyncio.run(_mend(args, progress))
    finally:
        progress.clear()
    if wants_json(args):
        files = [
            {"file": each.file.name, "bytes": each.file.size, "chunks": len(each.file.chunks), "repaired": each.chunks}
            for each in mended
        ]
        output.as_json({"build": args.build, "files": files})
    elif not is_quiet(args):
        for each in mended:
            output.line(f"{each.file.name}: {_told(each)}")
    return 0


def _told(each: "Mended") -> str:
    if not each.chunks:
        return "whole, nothing to repair"
    size = min(each.chunks * each.file.chunk_bytes, each.file.size)
    return f"{each.chunks} of {len(each.file.chunks)} chunks repaired, {format_bytes(size)} fetched"


async def _mend(args: argparse.Namespace, progress: output.Progress) -> "list[Mended]":
    from nanolocal.library.opening import open_library
    from nanolocal.library.pull import mending, pulledcard
    from nanolocal.library.pull.control import Control
    from nanolocal.library.pull.hub import endpoint_of
    from nanolocal.library.pull.links import Links
    from nanolocal.library.pull.telling import line_of

    paths = paths_of(args)
    settings = load_settings(paths.settings)
    library = open_library(paths, settings)
    place = mending.place_of(library, args.build, paths.models)
    endpoint = pulledcard.endpoint_in(place if place.is_dir() else place.parent)
    is_trusted = endpoint == endpoint_of(settings.hub)  # a card may come from anybody, and name any hub
    token = hubtoken.find(args, endpoint) if is_trusted else ""
    allows_plain = insecure.allows_plain(args, settings)
    async with Links(endpoint, token, allows_plain=allows_plain, says=progress.show) as links:
        control = Control()
        mended = await mending.mend(
            links, place, paths.models, library, control, lambda now: progress.show(line_of(now))
        )
    library.descriptions.save()
    return mended
