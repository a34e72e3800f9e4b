"""``nanolocal models bundle``: one build in one file, and back, without a network."""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

from nanolocal.chat.amounts import format_bytes
from nanolocal.cli import output
from nanolocal.cli.common import Subparsers, is_quiet, paths_of, wants_json
from nanolocal.errors import UsageError
from nanolocal.paths import make_private
from nanolocal.settings import load as load_settings

_STREAM = "-"


def add(parts: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the command and its parts."""
    parser = parts.add_parser("bundle", parents=[common], help="carry a build to a machine without a network")
    inner = parser.add_subparsers(metavar="PART", required=True)
    out = inner.add_parser("export", parents=[common], help="write a build into one file")
    out.add_argument("build", metavar="BUILD")
    out.add_argument("file", metavar="FILE", help="- for standard output")
    out.add_argument("--force", action="store_true", help="replace FILE")
    out.set_defaults(run=run_export)
    taking = inner.add_parser("import", parents=[common], help="take a build from such a file")
    taking.add_argument("file", metavar="FILE", help="- for standard input")
    taking.set_defaults(run=run_import)


def run_export(args: argparse.Namespace) -> int:
    """Write one file that holds everything of a build; a build of another program is read where it is."""
    from nanolocal.library.bundle.exporting import export
    from nanolocal.library.opening import open_library

    paths = paths_of(args)
    build = open_library(paths, load_settings(paths.settings)).get(args.build)
    progress = output.Progress(is_quiet(args))
    try:
        with _target(args.file, force=args.force) as out:
            manifest = export(build, out, partial(_show, progress))
    finally:
        progress.clear()
    if args.file == _STREAM:
        return 0
    if wants_json(args):
        output.as_json({
            "build": build.id, "file": args.file, "bytes": manifest.size,
            "files": [{"path": file.name, "bytes": file.size, "sha256": file.sha256} for file in manifest.files],
        })  # fmt: skip
    elif not is_quiet(args):
        output.line(f"{args.file} holds {build.id}: {format_bytes(manifest.size)} in {_counted(len(manifest.files))}")
        output.line(f"on the other machine: nanolocal models bundle import {Path(args.file).name}")
        if manifest.card.get("licence"):
            output.line(f"licence  {manifest.card['licence']}")
    return 0


def run_import(args: argparse.Namespace) -> int:
    """Take a build in, checked as it comes; a damaged bundle leaves nothing behind."""
    from nanolocal.library.bundle.importing import take
    from nanolocal.library.opening import open_library

    paths = paths_of(args)
    library = open_library(paths, load_settings(paths.settings))
    progress = output.Progress(is_quiet(args))
    make_private(paths.models)
    try:
        with _source(args.file) as source:
            taken = take(source, paths.models, library, partial(_show, progress))
    finally:
        progress.clear()
    build = next((each for each in library.builds() if taken.place in library.origin(each).places), None)
    name = build.id if build is not None else taken.manifest.build
    if wants_json(args):
        files = [{"path": file.name, "bytes": file.size, "sha256": file.sha256}
                 for file in taken.manifest.files]  # fmt: skip
        output.as_json(
            {
                "build": name,
                "place": str(taken.place),
                "was_here": taken.was_here,
                "bytes": taken.manifest.size,
                "files": files,
            }
        )
    elif not is_quiet(args):
        was = "was here already" if taken.was_here else "is in the library"
        output.line(f"{name} {was}: {format_bytes(taken.manifest.size)}, every hash checked")
        output.line(f"place    {taken.place}")
        if taken.manifest.card.get("licence"):
            output.line(f"licence  {taken.manifest.card['licence']}")
    return 0


def _counted(number: int) -> str:
    return f"{number} file{'' if number == 1 else 's'}"


def _show(progress: output.Progress, what: str, done: int, total: int) -> None:
    share = done * 100 // total if total else 100
    progress.show(f"{what}: {share} % of {format_bytes(total)}")


@contextmanager
def _source(name: str) -> Iterator[BinaryIO]:
    if name == _STREAM:
        yield sys.stdin.buffer
        return
    path = Path(name)
    if not path.is_file():
        raise UsageError(f"there is no file {name}", "nanolocal models bundle import FILE")
    with path.open("rb") as file:
        yield file


@contextmanager
def _target(name: str, *, force: bool) -> Iterator[BinaryIO]:
    """Standard output, or a private file that gets its name once it is whole."""
    if name == _STREAM:
        if sys.stdout.isatty():
            raise UsageError(
                "a bundle is not for a terminal", "give a file, or send it on: ... bundle export BUILD - |"
            )
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(name).absolute()
    if path.exists() and not (force and path.is_file()):
        raise UsageError(f"{name} exists", "--force replaces it" if path.is_file() else "give the bundle a name")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}", "give another place")
    import tempfile

    descriptor, part = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(part).replace(path)
    finally:
        Path(part).unlink(missing_ok=True)
