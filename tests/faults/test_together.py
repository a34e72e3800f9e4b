"""Processes that open, sweep and copy the same vault at the same moment do not get in each other's way."""

import time
from collections.abc import Callable
from pathlib import Path

from nanolocal.vault import snapshots
from nanolocal.vault.blobs import Blobs
from nanolocal.vault.database import Database
from tests.fakes.homes import fork, home, open_vault


def test_sweeping_does_not_disturb_another_process_that_opens_the_blobs(tmp_path: Path) -> None:
    def sweep(report: Callable[[str], None]) -> None:
        for _ in range(150):
            Blobs(tmp_path / "blobs", bytes(32)).keep_only(set())

    children = [fork(sweep) for _ in range(3)]
    assert [child.finish() for child in children] == [[], [], []]


def test_snapshots_made_at_the_same_time_are_all_whole(tmp_path: Path) -> None:
    directory = tmp_path / "home"
    with home(directory, None) as here:
        here.turn("a prompt", "an answer")
        key = here.vault.keys.database

    def copy(report: Callable[[str], None]) -> None:
        vault = open_vault(directory, None)
        for _ in range(5):
            snapshots.make(vault.database, directory / "snapshots", time.time(), alone=False)
        vault.close()

    children = [fork(copy) for _ in range(3)]
    assert [child.finish() for child in children] == [[], [], []]
    found = snapshots.listed(directory / "snapshots")
    assert found
    assert all(Database.is_whole(snapshot.path, key) for snapshot in found)
