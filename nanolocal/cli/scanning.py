"""``nanolocal models scan``: what other programs keep on this machine, adopted where it is."""

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nanolocal.chat.amounts import format_bytes
from nanolocal.chat.routes import Build, Kind
from nanolocal.cli import output
from nanolocal.cli.common import is_quiet, wants_json
from nanolocal.errors import UsageError
from nanolocal.library.adopted import Adopted, Entry
from nanolocal.library.discover.scan import Report, merged_entries, used_projectors
from nanolocal.library.discover.scan import scan as read_stores
from nanolocal.library.discover.stores import FOLDER, Target, store_called, target_for, usual_targets
from nanolocal.library.discover.system import System
from nanolocal.library.duplicates import merge
from nanolocal.library.found import Part, Role
from nanolocal.library.library import Library
from nanolocal.safetext import safe_line

_SHOWN_EVERY_S = 0.1
_MOST_SHOWN = 30
_WIDEST = 60


@dataclass(frozen=True, slots=True)
class _Sum:
    builds: int
    same: int
    adapters: int
    controlnets: int
    components: int
    refused: int
    size_bytes: int


def scan(args: argparse.Namespace, library: Library) -> int:
    """Read the stores, show what they hold, and adopt it unless this is a dry run."""
    adopted = _index(library)
    targets = _targets(args.folder, adopted)
    progress = output.Progress(is_quiet(args) or wants_json(args))
    shown = 0.0

    def tell(text: str) -> None:
        nonlocal shown
        if time.monotonic() - shown > _SHOWN_EVERY_S:
            shown = time.monotonic()
            progress.show(text)

    try:
        reports = read_stores(targets, library.descriptions, tell)
        total = _sum(reports, library)
    finally:
        progress.clear()
    library.descriptions.save()
    if not args.dry_run:
        adopted.keep(merged_entries(adopted.entries(), reports, library.directories))
        library.forget()
    if wants_json(args):
        output.as_json(_as_json(reports, total, not args.dry_run))
    else:
        _show(reports, total, args.dry_run)
    return 0


def forget(args: argparse.Namespace, library: Library) -> int:
    """Take a store or a place out of the index; raises ``UsageError`` when nothing of it was adopted."""
    adopted = _index(library)
    wanted, store = _path(args.forget).absolute(), store_called(args.forget)
    gone = [
        entry
        for entry in adopted.entries()
        if Path(entry.path).is_relative_to(wanted)
        or Path(entry.root) == wanted
        or (store is not None and entry.store == store.name)
    ]
    if not gone:
        known = ", ".join(dict.fromkeys(entry.store for entry in adopted.entries())) or "nothing"
        raise UsageError(f"nothing was adopted from {args.forget!r}", f"adopted from: {known}")
    if not args.dry_run:
        adopted.keep(entry for entry in adopted.entries() if entry not in set(gone))
    if wants_json(args):
        output.as_json({"forgot": [entry.path for entry in gone], "forgotten": not args.dry_run})
        return 0
    for entry in gone:
        output.line(f"{'would forget' if args.dry_run else 'forgot'} {entry.shown}")
    output.line("no file was touched")
    return 0


def _index(library: Library) -> Adopted:
    if library.adopted is None:
        raise UsageError("this library keeps no index", "nanolocal models list")
    library.adopted.entries()
    if library.adopted.note:
        output.note(library.adopted.note)
    return library.adopted


def _path(text: str) -> Path:
    """A path as typed, with ``~`` where that is somebody."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 (Path.expanduser raises for nobody's home)


def _targets(folders: Sequence[str], adopted: Adopted) -> list[Target]:
    """The folders given; else the usual places and the folders adopted before."""
    system = System.here()
    given = [_path(folder) for folder in folders]
    for folder in given:
        if not folder.is_dir():
            raise UsageError(f"there is no folder {folder}", "nanolocal models scan FOLDER")
    if given:
        return [target_for(folder, system) for folder in given]
    usual = usual_targets(system)
    known = {str(target.root.absolute()) for target in usual}
    before = dict.fromkeys(entry.root for entry in adopted.entries() if entry.root not in known)
    return usual + [target_for(Path(root), system) for root in before if Path(root).is_dir()]


def _sum(reports: Sequence[Report], library: Library) -> _Sum:
    everything = [item for report in reports for item in report.builds]
    merged = merge(everything, library.descriptions.fingerprints)
    parts = {part.path: part for report in reports for part, _ in report.parts}
    projectors = {path for report in reports for path in used_projectors(report)} - set(parts)
    size = sum(build.size_bytes for build, _, _ in merged) + sum(part.size_bytes for part in parts.values())
    return _Sum(
        builds=len(merged),
        same=len(everything) - len(merged),
        adapters=sum(part.role is Role.ADAPTER for part in parts.values()),
        controlnets=sum(part.role is Role.CONTROLNET for part in parts.values()),
        components=sum(part.role is Role.COMPONENT for part in parts.values()),
        refused=sum(len(report.problems) for report in reports),
        size_bytes=size + sum(path.stat().st_size for path in projectors if path.is_file()),
    )


def _show(reports: Sequence[Report], total: _Sum, is_dry_run: bool) -> None:
    for report in reports:
        if not (report.builds or report.parts or report.problems):
            continue
        name = "" if report.target.store is FOLDER else f"{report.target.store.name}: "
        output.line(f"{name}{report.root}")
        lines = [(entry.shown, build.size_bytes, _what(build)) for build, entry in report.builds]
        lines += [(entry.shown, part.size_bytes, part.what) for part, entry in _own_lines(report)]
        width = min(max((len(shown) for shown, _, _ in lines), default=0), _WIDEST)
        for shown, size, what in lines:
            output.line(f"  {safe_line(shown):{width}}  {format_bytes(size):>8}  {what}")
        for problem in report.problems[:_MOST_SHOWN]:
            output.line(
                f"  refused: {problem.reason}" + ("" if problem.path.name in problem.reason else f" ({problem.path})")
            )
        if len(report.problems) > _MOST_SHOWN:
            output.line(f"  and {len(report.problems) - _MOST_SHOWN} more refused; --json lists them")
    if not any(report.builds or report.parts or report.problems for report in reports):
        output.line("nothing was found; nanolocal models scan FOLDER looks anywhere else")
        return
    counts = {
        _counted(total.adapters, "adapter"): total.adapters,
        _counted(total.controlnets, "ControlNet"): total.controlnets,
        _counted(total.components, "part of a picture model", "parts of picture models"): total.components,
        f"{total.refused} refused": total.refused,
        f"{total.same} in more than one place": total.same,
    }
    output.line(", ".join([_counted(total.builds, "model"), *(words for words, number in counts.items() if number)]))
    output.line(f"{format_bytes(total.size_bytes)} used where they are, 0 bytes copied")
    if is_dry_run:
        output.line("nothing was adopted: this was a dry run")


def _counted(number: int, one: str, more: str = "") -> str:
    return f"{number} {one if number == 1 else more or one + 's'}"


def _own_lines(report: Report) -> list[tuple[Part, Entry]]:
    used = used_projectors(report)
    return [(part, entry) for part, entry in report.parts if part.path not in used]


def _what(build: Build) -> str:
    kind = {Kind.TEXT: "text", Kind.IMAGE: "pictures", Kind.EMBEDDING: "embeddings"}[build.kind]
    senses = ", with a projector" if build.projector else ""
    needs = f", needs {build.needs}" if build.needs else ""
    return f"{kind}, {build.quantization}{senses}{needs}"


def _as_json(reports: Sequence[Report], total: _Sum, is_adopted: bool) -> dict[str, object]:
    return {
        "stores": [
            {
                "store": report.target.store.name,
                "root": report.root,
                "builds": [
                    {
                        "name": entry.shown,
                        "build": build.id,
                        "kind": build.kind,
                        "architecture": build.architecture,
                        "quantization": build.quantization,
                        "size_bytes": build.size_bytes,
                        "path": entry.path,
                        "projector": entry.projector or None,
                        "base": str(build.base) if build.base else None,
                        "needs": build.needs,
                    }
                    for build, entry in report.builds
                ],
                "parts": [
                    {"name": entry.shown, "role": part.role, "what": part.what, "path": entry.path}
                    for part, entry in report.parts
                ],
                "refused": [{"path": str(item.path), "reason": item.reason} for item in report.problems],
            }
            for report in reports
        ],
        "builds": total.builds,
        "bytes_in_place": total.size_bytes,
        "bytes_copied": 0,
        "adopted": is_adopted,
    }
