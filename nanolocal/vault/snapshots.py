"""Encrypted copies of the database, so that one bad page does not take everything: three days and three weeks of them.

A snapshot has the database's own key. Its name says when it was made and after which commit.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from nanolocal.vault.database import Database
from nanolocal.vault.files import make_private_directory, sync_directory

DUE_AFTER_S = 20 * 3600
_DAILY, _WEEKLY = 3, 3
_NAME = re.compile(r"(\d{8}T\d{6}Z)-(\d+)\.db")
_TIME = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A copy of the database as it was after commit ``commits``, at ``made_at`` (seconds since 1970)."""

    path: Path
    made_at: float
    commits: int

    @property
    def when(self) -> str:
        """The local time, for people."""
        return datetime.fromtimestamp(self.made_at).astimezone().strftime("%Y-%m-%d %H:%M")


def listed(directory: Path) -> list[Snapshot]:
    """The snapshots in ``directory``, the newest first."""
    found = [(path, _NAME.fullmatch(path.name)) for path in directory.glob("*.db")]
    snapshots = [Snapshot(path, _seconds(match[1]), int(match[2])) for path, match in found if match]
    return sorted(snapshots, key=lambda snapshot: (snapshot.made_at, snapshot.commits), reverse=True)


def make(database: Database, directory: Path, now: float, *, alone: bool) -> Snapshot:
    """Copy and check the database, then remove what is too old; ``alone`` removes all earlier ones.

    Raises ``Unreadable`` for a damaged database, ``UsageError`` for a full disk; then all earlier ones stay.
    """
    make_private_directory(directory)
    part = directory / "snapshot.part"
    commits = database.progress()[0]
    database.copy_to(part)
    path = directory / f"{datetime.fromtimestamp(now, UTC).strftime(_TIME)}-{commits}.db"
    part.replace(path)
    sync_directory(directory)
    snapshots = listed(directory)
    for old in snapshots if alone else set(snapshots) - _worth_keeping(snapshots):
        if old.path != path:
            old.path.unlink(missing_ok=True)
    sync_directory(directory)
    return Snapshot(path, _seconds(path.name.partition("-")[0]), commits)


def remove_all(directory: Path) -> None:
    """Remove every snapshot."""
    for path in directory.glob("*"):
        path.unlink(missing_ok=True)


def _worth_keeping(snapshots: list[Snapshot]) -> set[Snapshot]:
    """The newest of each of the last days, and of each of the last weeks before."""
    days: dict[str, Snapshot] = {}
    weeks: dict[str, Snapshot] = {}
    for snapshot in snapshots:
        made = datetime.fromtimestamp(snapshot.made_at, UTC)
        days.setdefault(made.strftime("%Y-%m-%d"), snapshot)
        weeks.setdefault(made.strftime("%G-%V"), snapshot)
    return {*list(days.values())[:_DAILY], *list(weeks.values())[: _WEEKLY + 1]}


def _seconds(stamp: str) -> float:
    return datetime.strptime(stamp, _TIME).replace(tzinfo=UTC).timestamp()
