"""``nanolocal models disk``: what the builds take, which are used, and what deleting one would change."""

import argparse
import textwrap
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nanolocal.chat.amounts import format_bytes
from nanolocal.chat.routes import Build
from nanolocal.cli import output
from nanolocal.cli.common import Subparsers, given_passphrase, is_quiet, paths_of, wants_json
from nanolocal.errors import NanolocalError
from nanolocal.safetext import safe_line
from nanolocal.settings import load as load_settings

if TYPE_CHECKING:
    from nanolocal.library.leftovers import Leftover
    from nanolocal.library.library import Library
    from nanolocal.routing.deletion import Change, Deletions

_UNUSED_DAYS = 30
_WIDEST = 34
_COLUMNS = 80
_DAY_S = 86400


@dataclass(frozen=True, slots=True)
class _Used:
    """How often a build answered, and on which day the last time."""

    times: int = 0
    last: str = ""


@dataclass(frozen=True, slots=True)
class _Row:
    build: Build
    owner: str
    used: _Used | None
    changes: "tuple[Change, ...] | None"
    """What deleting it would change; ``None`` where it is not nanolocal's own."""
    is_elsewhere: bool = False
    """Whether it lies in another place too, from where it would be used."""

    @property
    def is_idle(self) -> bool:
        """Whether it can go: it is never picked, and neither used nor new in the last month."""
        if self.changes is None or self.changes or self.used is None:
            return False
        return max(self.used.last, _day_of(self.build.path)) <= _days_ago(_UNUSED_DAYS)


def add(parts: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    parser = parts.add_parser("disk", parents=[common], help="what the builds take, and what deleting one would change")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show the builds, the largest first. Deletes nothing; looks into the vault where that asks for nothing."""
    from nanolocal.device.disk import free_bytes
    from nanolocal.library import opening
    from nanolocal.library.leftovers import leftovers

    paths = paths_of(args)
    settings = load_settings(paths.settings)
    library = opening.open_library(paths, settings)
    used = _usage(args)
    rows = _rows(library, paths.models, _deletions(args, library), used)
    left, free = leftovers(paths.models), free_bytes(paths.models)
    if wants_json(args):
        output.as_json(_as_json(rows, left, free, used is not None))
    else:
        _show(rows, left, free)
        if used is None and not is_quiet(args):
            output.note("how often each answered is in the vault, and that is not open")
    return 0


def _deletions(args: argparse.Namespace, library: "Library") -> "Deletions":
    """Picks as this machine would make them with nothing else in its memory: what is free just now is chance."""
    from dataclasses import replace

    from nanolocal.device.machine import inspect
    from nanolocal.routing.deletion import Deletions
    from nanolocal.routing.router import Rules, TaskRouter
    from nanolocal.routing.surroundings import Surroundings

    settings = load_settings(paths_of(args).settings)
    machine = inspect()
    budget = replace(machine, memory_available=machine.memory_total).memory_budget(settings.memory_mb)
    around, rules = Surroundings(budget), Rules(settings.prefer, settings.deny, settings.deny_licences)
    return Deletions(library.builds(), lambda builds: TaskRouter(lambda: builds, lambda: around, rules))


def _usage(args: argparse.Namespace) -> Mapping[str, _Used] | None:
    """What the ledger says of each build; ``None`` where there is no vault, or it is locked or damaged."""
    from nanolocal import bootstrap
    from nanolocal.ledger.usage import usage

    vault = bootstrap.peek(paths_of(args), given_passphrase(args))
    if vault is None:
        return None
    used: dict[str, _Used] = {}
    try:
        with vault.database.snapshot() as source:
            for row in usage(source, ("model", "day")):
                build_id, day = row.group
                before = used.get(build_id, _Used())
                used[build_id] = _Used(before.times + row.requests, max(before.last, day))
    except NanolocalError:
        return None
    finally:
        vault.close()
    return used


def _rows(library: "Library", models: Path, deletions: "Deletions", used: Mapping[str, _Used] | None) -> Sequence[_Row]:
    from nanolocal.library.removal import owns

    rows = []
    for build in library.builds():
        origin = library.origin(build)
        ours = [place for place in origin.places if owns(models, place)]
        stores = dict.fromkeys(entry.store for entry in origin.entries)
        owner = ", ".join([*(["nanolocal"] if ours else []), *stores]) or _whose(build)
        is_elsewhere = len(ours) < len(origin.places)
        changes = None if not ours else () if is_elsewhere else deletions.without({build.id})
        rows.append(_Row(build, owner, None if used is None else used.get(build.id, _Used()), changes, is_elsewhere))
    return sorted(rows, key=lambda row: (-row.build.size_bytes, row.build.id))


def _whose(build: Build) -> str:
    from nanolocal.paths import starter_models

    return "the program" if build.path.is_relative_to(starter_models()) else "a folder"


def _show(rows: Sequence[_Row], left: "Sequence[Leftover]", free: int) -> None:
    cells = [(_cut(row.build.id), format_bytes(row.build.size_bytes), row.owner, *_when(row.used)) for row in rows]
    output.table(cells, ("BUILD", "SIZE", "WHOSE", "ANSWERS", "LAST USED"))
    own = [row for row in rows if row.changes is not None]
    if own:
        output.line()
        output.line("If one of nanolocal's own is deleted:")
    for row in own:
        for line in textwrap.wrap(safe_line(f"{row.build.id}: {_effect(row)}"), _COLUMNS - 4):
            output.line(f"  {line}")
    output.line()
    output.line(
        f"{format_bytes(sum(row.build.size_bytes for row in own))} are nanolocal's own, {format_bytes(free)} free"
    )
    if left:
        size = format_bytes(sum(each.size_bytes for each in left))
        output.line(f"{len(left)} unfinished download{'' if len(left) == 1 else 's'}, {size}, in the models folder")
    idle = [row.build for row in rows if row.is_idle]
    if idle:
        size = format_bytes(sum(build.size_bytes for build in idle))
        output.line(f"never picked and not used for {_UNUSED_DAYS} days, {size}: {', '.join(each.id for each in idle)}")
        output.line(f"  nanolocal models remove {idle[0].id}")


def _day_of(path: Path) -> str:
    """The day on which what lies there was changed last."""
    try:
        return time.strftime("%Y-%m-%d", time.gmtime(path.stat().st_mtime))
    except OSError:
        return ""


def _days_ago(days: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(time.time() - days * _DAY_S))


def _when(used: _Used | None) -> tuple[str, str]:
    if used is None:
        return "not known", "not known"
    return f"{used.times:,}", used.last or "never"


def _effect(row: _Row) -> str:
    """One short line: ``code, math: goes to X; chat: nobody answers``."""
    if row.is_elsewhere:
        return "nothing changes, it lies elsewhere too"
    if not row.changes:
        return "nothing changes, it is never picked"
    return "; ".join(f"{_tasks(change)}: {_heir(change)}" for change in row.changes)


def _tasks(change: "Change") -> str:
    from nanolocal.routing.deletion import PROBES
    from nanolocal.routing.router import IMAGE_TASKS

    texts = [task for task in PROBES if task not in IMAGE_TASKS]
    return "all text" if set(change.tasks) == set(texts) else ", ".join(change.tasks)


def _heir(change: "Change") -> str:
    return f"goes to {change.after}" if change.after else "nobody answers"


def _cut(name: str) -> str:
    return name if len(name) <= _WIDEST else name[: _WIDEST - 1] + "…"


def _as_json(rows: Sequence[_Row], left: "Sequence[Leftover]", free: int, is_usage_known: bool) -> dict[str, object]:
    return {
        "builds": [
            {
                "build": row.build.id,
                "size_bytes": row.build.size_bytes,
                "owner": row.owner,
                "path": str(row.build.path),
                "answers": row.used.times if row.used else None,
                "last_used": (row.used.last or None) if row.used else None,
                "deleting": None
                if row.changes is None
                else [{"tasks": list(change.tasks), "goes_to": change.after} for change in row.changes],
                "suggested": row.is_idle,
            }
            for row in rows
        ],
        "usage_known": is_usage_known,
        "free_bytes": free,
        "unfinished": [{"path": str(each.path), "size_bytes": each.size_bytes} for each in left],
    }
