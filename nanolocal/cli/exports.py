"""``nanolocal credits export``: the ledger for other programs."""

import argparse
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from nanolocal.cli import output
from nanolocal.cli.common import Subparsers, is_quiet, open_vault, wants_json
from nanolocal.errors import UsageError

if TYPE_CHECKING:
    from nanolocal.ledger.exports.survey import Period

T = TypeVar("T")

_SHOW_EVERY = 5000
FORMATS = ("hledger", "beancount", "csv", "jsonl")


def add(parts: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the part of ``nanolocal credits``."""
    export = parts.add_parser(
        "export", parents=[common], help="the ledger for hledger, beancount, spreadsheets, or to check; unencrypted"
    )
    export.add_argument("--format", choices=FORMATS, required=True, help="jsonl can be checked with credits verify")
    export.add_argument("--out", type=Path, metavar="FILE", help="a new file; without it: stdout")
    export.add_argument("--since", metavar="DATE", help="from this day on, after an opening balance")
    export.add_argument("--until", metavar="DATE", help="up to and with this day")
    export.add_argument("--overwrite", action="store_true", help="replace FILE if it exists")
    export.set_defaults(run=run_export)


def run_export(args: argparse.Namespace) -> int:
    """Write the ledger out, and say that it is no longer encrypted."""
    from nanolocal import bootstrap
    from nanolocal.ledger.exports.writing import lines

    period = period_of(args)
    if args.out is None and wants_json(args):
        raise UsageError("--json tells about a file, and there is none", "add --out FILE")
    if args.out is not None:
        _check_free(args.out, args.overwrite)
    with open_vault(args) as vault:
        problem = bootstrap.open_wallet(vault).problem
        with vault.database.snapshot() as source:
            written = counted(lines(source, args.format, period), args)
            if args.out is None:
                output.exact(written)
            else:
                _write(args.out, written, args.overwrite)
    if problem is not None:
        output.note(f"the ledger fails its check: {problem.message}")
    if not is_quiet(args):
        where = f"in {args.out}" if args.out is not None else "written here"
        output.note(f"what is {where} is not encrypted: whoever can read it sees what was spent, when and on what")
    if wants_json(args):
        output.as_json({"format": args.format, "path": str(args.out)})
    return 0


def counted(lines: Iterable[T], args: argparse.Namespace) -> Iterator[T]:
    """The lines, with their number shown while they go by."""
    progress = output.Progress(is_quiet(args))
    try:
        for number, line in enumerate(lines, 1):
            yield line
            if number % _SHOW_EVERY == 0:
                progress.show(f"{number:,} lines")
    finally:
        progress.clear()


def period_of(args: argparse.Namespace) -> "Period":
    """``--since`` and ``--until``; raises ``UsageError``."""
    from nanolocal.ledger.exports.survey import Period
    from nanolocal.ledger.usage import parse_day

    since = None if args.since is None else parse_day(args.since, "--since")
    until = None if args.until is None else parse_day(args.until, "--until")
    if since is not None and until is not None and since > until:
        raise UsageError(f"--since {since} is after --until {until}", "turn them round")
    return Period(since, until)


def write_private(path: Path, lines: Iterable[str], *, overwrite: bool) -> None:
    """Write a new file, mode 0600, whole or not at all; raises ``UsageError`` where it exists or cannot be written."""
    _check_free(path, overwrite)
    _write(path, lines, overwrite)


def _write(path: Path, lines: Iterable[str], overwrite: bool) -> None:
    from nanolocal.vault.files import sync_directory

    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with _blaming(path):
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for line in lines:
                    file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
            _put(temporary, path, overwrite)
        finally:
            temporary.unlink(missing_ok=True)
        sync_directory(path.parent)


def _put(temporary: Path, path: Path, overwrite: bool) -> None:
    """Give the file its name. A link, unlike a rename, fails where another file has appeared meanwhile."""
    if not overwrite:
        try:
            path.hardlink_to(temporary)
            return
        except FileExistsError:
            raise
        except OSError:  # a file system without links, as on many memory sticks
            _check_free(path, overwrite)
    temporary.replace(path)


def _check_free(path: Path, overwrite: bool) -> None:
    if path.is_dir():
        raise UsageError(f"{path} is a folder", "name a file")
    if not overwrite and (path.exists() or path.is_symlink()):
        raise UsageError(f"{path} exists", "name another file, or add --overwrite")


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    """Say which file the system would not write."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", "choose another file") from error
