"""``nanolocal chats export`` and ``nanolocal chats import``."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nanolocal.cli import output
from nanolocal.cli.common import Subparsers, agreed, is_quiet, wants_json, whole_id, with_session
from nanolocal.errors import NanolocalError, UsageError

if TYPE_CHECKING:
    from nanolocal.bootstrap import Session
    from nanolocal.vault.transfer.exporting import Written
    from nanolocal.vault.transfer.report import Report

_EVERYTHING = 1_000_000_000


def add(parts: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare both parts of ``nanolocal chats``."""
    export = parts.add_parser("export", parents=[common], help="write conversations to files, unencrypted")
    export.add_argument(
        "chats", nargs="*", metavar="ID", help="their ids, or the start of them; all when there is none"
    )
    export.add_argument(
        "--out", type=Path, required=True, metavar="PATH", help="a folder for Markdown, a file for JSON"
    )
    export.add_argument(
        "--format",
        choices=("markdown", "json"),
        help="markdown to read, json to import again; without it json when PATH ends in .json",
    )
    export.add_argument("--force", action="store_true", help="overwrite files")
    export.set_defaults(run=with_session(run_export))
    taking = parts.add_parser(
        "import", parents=[common], help="take conversations from ChatGPT, Claude, Open WebUI, LM Studio, Jan, Ollama"
    )
    taking.add_argument(
        "paths", nargs="*", type=Path, metavar="PATH", help="an export, as it was downloaded, or a folder"
    )
    taking.add_argument("--find", action="store_true", help="look where these programs keep theirs on this machine")
    taking.add_argument("--dry-run", action="store_true", help="only tell what would be taken")
    taking.add_argument("--yes", action="store_true", help="with --find: take what is found without asking")
    taking.set_defaults(run=with_session(run_import))


def run_export(args: argparse.Namespace, session: "Session") -> int:
    """Write conversations out, and say that they are no longer encrypted."""
    from nanolocal.vault.transfer import exporting

    ids = [whole_id(session, start) for start in args.chats] or [row.id for row in session.store.chats(_EVERYTHING)]
    kind = args.format or ("json" if args.out.suffix == ".json" else "markdown")
    write = exporting.write_json if kind == "json" else exporting.write_markdown
    progress = output.Progress(is_quiet(args))
    try:
        told = write(session.store, list(dict.fromkeys(ids)), args.out, progress.show, force=args.force)
    finally:
        progress.clear()
    _tell_written(args, kind, told)
    return 0


def run_import(args: argparse.Namespace, session: "Session") -> int:
    """Take conversations in and report, for each path, what was and what was not taken."""
    if args.find == bool(args.paths):
        raise UsageError("name the files to import, or look for them", "nanolocal chats import --find")
    paths = args.paths
    if args.find:
        from nanolocal.vault.transfer.places import histories

        paths = histories(Path.home(), os.environ, sys.platform)
        if not _wanted(args, session, paths):
            return 0
    reports = _take(args, session, paths, dry_run=args.dry_run)
    return UsageError.exit_code if any(told.problems for told in reports) else 0


def _wanted(args: argparse.Namespace, session: "Session", paths: Sequence[Path]) -> bool:
    """List what was found; whether the user wants it."""
    if not paths:
        output.note("found no conversations of other programs")
    if args.yes and not args.dry_run and paths:
        return True
    found = _take(args, session, paths, dry_run=True)
    count = sum(told.taken for told in found)
    if args.dry_run or not count:
        return False
    if wants_json(args) or not sys.stdin.isatty():
        output.note("nothing was imported; add --yes to take these conversations")
        return False
    return agreed(args, f"Import {count:,} conversations?")


def _take(args: argparse.Namespace, session: "Session", paths: Sequence[Path], *, dry_run: bool) -> "list[Report]":
    """Go through the paths; what was taken until an error or Ctrl+C is told too."""
    from nanolocal.vault.transfer.importing import take
    from nanolocal.vault.transfer.report import Report

    progress = output.Progress(is_quiet(args))
    reports: list[Report] = []
    try:
        for path in paths:
            reports.append(Report(str(path)))
            take(path, session.store, reports[-1], progress.show, dry_run=dry_run)
    finally:
        progress.clear()
        _tell_taken(args, reports, dry_run)
    return reports


def _tell_taken(args: argparse.Namespace, reports: "Sequence[Report]", dry_run: bool) -> None:
    if wants_json(args):
        totals = {key: sum(getattr(told, key) for told in reports) for key in ("taken", "already_here", "messages")}
        output.as_json({"dry_run": dry_run, **totals, "files": [told.as_json() for told in reports]})
    else:
        for told in reports:
            _tell_one(told, "would be taken" if dry_run else "taken")
    for told in reports:
        for problem in told.problems:
            output.error(NanolocalError(f"{told.path}: {problem.message}", problem.hint))


def _tell_one(told: "Report", verb: str) -> None:
    kind = f" ({', '.join(told.formats)})" if told.formats else ""
    here = f", {told.already_here:,} already here" if told.already_here else ""
    inside = f", {_count(told.messages, 'message')}, {_count(told.attachments, 'attachment')}" if told.taken else ""
    output.line(f"{told.path}{kind}: {_count(told.taken, 'conversation')} {verb}{here}{inside}")
    for line in told.notes.lines():
        output.line(f"    {line}")


def _tell_written(args: argparse.Namespace, kind: str, told: "Written") -> None:
    if told.damaged:
        output.note(f"{_count(told.damaged, 'attachment')} missing: damaged in the vault")
    if not is_quiet(args):
        output.note(f"what is in {args.out} is not encrypted: everybody who can read it can read these conversations")
    if wants_json(args):
        counts = {key: getattr(told, key) for key in ("chats", "messages", "attachments", "damaged")}
        output.as_json({"format": kind, "path": str(args.out), **counts, "files": told.files})
        return
    inside = f"{_count(told.messages, 'message')}, {_count(told.attachments, 'attachment')}"
    output.line(f"wrote {_count(told.chats, 'conversation')}, {inside} to {args.out}")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
