"""Encrypted copies of the database, so that one bad page does not take everything: three days and three weeks of them.

A snapshot has the database's own key. Its name says when it was made and after which commit.
"""

import re
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

from nanolocal.errors import NanolocalError
from nanolocal.vault.database import Database
from nanolocal.vault.files import exclusive, make_private_directory, sync_directory

DUE_AFTER_S = 20 * 3600
_DAILY, _WEEKLY = 3, 3
DELETED = "deleted"
"""The setting that says that snapshots still hold a deleted conversation."""

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


class Keeper:
    """Makes the snapshots of an open database when they are due, beside the running program; one may fail."""

    def __init__(self, database: Database, directory: Path) -> None:
        self._database = database
        self._directory = directory
        self._thread: Thread | None = None

    def start(self) -> None:
        """Make one beside the running program, if it is due."""
        if self._is_due():
            self._thread = Thread(target=self._make, name="snapshot", daemon=True)
            self._thread.start()

    def wait(self) -> None:
        """Until none is being made."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def finish(self) -> None:
        """Make one now, if it is due; the database is about to be closed."""
        self.wait()
        with suppress(NanolocalError, OSError):
            if self._is_due():
                self._make()

    def _is_due(self) -> bool:
        if self._holds_deleted():
            return True
        newest = next(iter(listed(self._directory)), None)
        if newest is None:
            return bool(self._database.execute("SELECT 1 FROM chat LIMIT 1"))
        changed = self._database.progress()[0] != newest.commits
        return changed and not 0 <= time.time() - newest.made_at < DUE_AFTER_S

    def _make(self) -> None:
        with suppress(NanolocalError, OSError):
            deleted = self._holds_deleted()
            make(self._database, self._directory, time.time(), alone=deleted)
            if deleted:
                with self._database.transaction() as tx:
                    tx.execute("DELETE FROM setting WHERE name = ?", (DELETED,))

    def _holds_deleted(self) -> bool:
        return bool(self._database.execute("SELECT 1 FROM setting WHERE name = ?", (DELETED,)))


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
    with exclusive(directory / "snapshot.lock"):
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
