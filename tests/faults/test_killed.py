"""kill -9 at any moment: nothing acknowledged is lost, nothing half-done remains, no credit leaks."""

import os
import random
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nanolocal.chat.messages import Usage
from nanolocal.errors import Damaged, OutOfCredit, UsageError
from nanolocal.vault.vault import Vault, VaultState
from tests.fakes.homes import BUILD, CHEAP, Home, fork, home, open_vault, rooms
from tests.faults.machinery import check, kill_at_random, writer

SEED = 20
KILLS = 60


def check_files(here: Home, directory: Path) -> None:
    assert here.vault.database.problems() == ()
    with here.vault.database.transaction() as tx:
        for index in ("message_index", "chat_index"):
            tx.execute(f"INSERT INTO {index} ({index}, rank) VALUES ('integrity-check', 1)")
    known = {row[0] for row in here.vault.database.execute("SELECT blob_id FROM attachment")}
    assert known == {path.name for path in (directory / "blobs").iterdir()}


def test_sixty_kills_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    chance, directory = random.Random(SEED), tmp_path / "home"
    open_vault(directory).close()
    assert sum(kill_at_random(directory, f"r{round_}n", chance) for round_ in range(KILLS)) >= KILLS
    with home(directory) as here:
        check_files(here, directory)


def test_two_processes_write_at_once_and_both_are_killed(tmp_path: Path) -> None:
    directory = tmp_path / "home"
    open_vault(directory).close()
    children = [writer(directory, name) for name in ("a", "b")]
    acknowledged = [next(child.lines) for _ in range(25) for child in children]
    for child in children:
        acknowledged += child.kill()
    with home(directory) as here:
        check(here, acknowledged)
        check_files(here, directory)


def test_processes_together_never_spend_more_than_there_is(tmp_path: Path) -> None:
    directory = tmp_path / "home"

    def spend(report: Callable[[str], None]) -> None:
        here = rooms(open_vault(directory))
        for _ in range(40):
            try:
                hold = here.hold(3_000)
            except OutOfCredit:
                continue
            with here.store.transaction() as tx:
                report(str(here.wallet.settle(tx, hold, BUILD, Usage(0, 0, 20_000), None)))
        here.vault.close()

    open_vault(directory).close()
    children = [fork(spend) for _ in range(3)]
    charges = [int(line) for child in children for line in child.finish()]
    assert set(charges) == {2_000}
    with home(directory) as here:
        assert here.wallet.balance() == 100_000 - sum(charges)
        assert 0 <= here.wallet.balance() < 9_000
        assert here.wallet.verify((here.vault.anchor.seq, here.vault.anchor.head)).open_holds == 0


@pytest.mark.parametrize("steps", range(1, 13))
def test_a_passphrase_change_killed_anywhere_leaves_one_of_the_two(tmp_path: Path, steps: int) -> None:
    """The process dies at its ``steps``-th durable step, by the operating system's own audit of file operations."""
    directory = tmp_path / "home"
    with home(directory, None) as here:
        here.turn("one", "1")

    def change(report: Callable[[str], None]) -> None:
        vault = open_vault(directory, None)
        left = [steps]

        def die(event: str, arguments: tuple[object, ...]) -> None:
            if event in ("open", "os.rename", "os.remove"):
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), 9)

        sys.addaudithook(die)
        vault.change_passphrase("new", CHEAP)

    child = fork(change)
    list(child.lines)
    os.waitpid(child.pid, 0)
    passphrase = "new" if Vault.state(directory) is VaultState.PASSPHRASE else None
    for _ in range(2):
        with home(directory, passphrase) as here:
            assert len(here.store.chats(9)) == 1


# damage


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    with home(tmp_path / "home") as here:
        for number in range(12):
            here.turn(f"prompt {number} " * 200, f"answer {number}")
    return tmp_path / "home"


def read_everything(directory: Path) -> None:
    with home(directory) as here:
        if here.vault.database.problems():
            raise Damaged("found by the check")
        for chat in here.store.chats(99):
            here.store.path(chat.id)
        here.wallet.verify((here.vault.anchor.seq, here.vault.anchor.head))


def is_reported(directory: Path) -> bool:
    """Damage is told, or repaired from a snapshot with a notice; never passed over in silence."""
    try:
        read_everything(directory)
    except Damaged:
        return True
    with home(directory) as here:
        told = bool(here.vault.notices)
        here.vault.dismiss_notices()
        return told


def test_a_truncated_database_is_reported(closed: Path, tmp_path: Path) -> None:
    whole = (closed / "vault.db").read_bytes()
    read_everything(closed)
    for length in (0, 1, 15, 16, 100, 4095, 4096, len(whole) // 2, len(whole) - 4096, len(whole) - 1):
        assert is_reported(copy_with(closed, tmp_path / str(length), whole[:length]))


def test_flipped_bytes_in_the_database_are_reported(closed: Path, tmp_path: Path) -> None:
    whole = (closed / "vault.db").read_bytes()
    for position in range(5, len(whole), len(whole) // 60):
        changed = bytearray(whole)
        changed[position] ^= 0x10
        assert is_reported(copy_with(closed, tmp_path / str(position), bytes(changed)))


def copy_with(directory: Path, target: Path, database: bytes) -> Path:
    """A copy of a vault with another database file."""
    shutil.copytree(directory, target)
    (target / "vault.db").write_bytes(database)
    return target


def test_a_missing_clear_or_foreign_database_is_damage_and_never_replaced(closed: Path, tmp_path: Path) -> None:
    with home(tmp_path / "other") as other:
        other.turn("one", "1")
    clear = sqlite3.connect(tmp_path / "clear.db")
    clear.execute("CREATE TABLE chat (x)")
    clear.close()
    for content in ((tmp_path / "other" / "vault.db").read_bytes(), (tmp_path / "clear.db").read_bytes()):
        (closed / "vault.db").write_bytes(content)
        with pytest.raises(Damaged):
            open_vault(closed)
        assert (closed / "vault.db").read_bytes() == content
    (closed / "vault.db").unlink()
    with pytest.raises(Damaged):
        open_vault(closed)
    assert not (closed / "vault.db").exists()


def test_an_older_database_put_back_is_reported(closed: Path) -> None:
    old = (closed / "vault.db").read_bytes()
    with home(closed) as here:
        here.turn("later", "paid for")
    (closed / "vault.db").write_bytes(old)
    with pytest.raises(Damaged, match="an older copy was put back"):
        read_everything(closed)


def test_a_lost_log_is_reported(closed: Path) -> None:
    child = writer(closed, "w")
    next(child.lines)
    child.kill()
    (closed / "vault.db-wal").unlink()
    with pytest.raises(Damaged, match="an older copy was put back"):
        read_everything(closed)


def test_a_full_disk_stores_nothing_and_says_so(closed: Path) -> None:
    with home(closed) as here:
        pages = here.vault.database.execute("PRAGMA page_count")[0][0]
        here.vault.database.execute(f"PRAGMA max_page_count={pages + 5}")
        before = here.wallet.balance(), len(here.store.chats(99))
        with pytest.raises(UsageError, match="disk is full"):
            here.turn("x" * 500_000, "never stored")
        assert (here.wallet.balance(), len(here.store.chats(99))) == before
        here.turn("small", "stored")
