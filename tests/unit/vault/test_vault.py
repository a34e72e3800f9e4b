import fcntl
import os
import stat
import time
from pathlib import Path
from threading import Thread

import pytest

from nanolocal.errors import Damaged, UsageError, VaultLocked
from nanolocal.vault.database import Database
from nanolocal.vault.files import exclusive
from nanolocal.vault.header import decode
from nanolocal.vault.keys import DatabaseKey, Stretching, measured_stretching
from nanolocal.vault.vault import Vault, VaultState
from tests.fakes.homes import CHEAP, MIGRATIONS, PASSPHRASE, fork, home

KEY = DatabaseKey(bytes(range(32)), bytes(range(16)))


def tree(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}


def create(directory: Path, passphrase: str | None = PASSPHRASE) -> None:
    Vault.create(directory, passphrase, MIGRATIONS, CHEAP).close()


def open_(directory: Path, passphrase: str | None = PASSPHRASE) -> Vault:
    return Vault.open(directory, passphrase, MIGRATIONS)


def test_the_state_says_what_is_needed(tmp_path: Path) -> None:
    assert Vault.state(tmp_path / "none") is VaultState.ABSENT
    create(tmp_path / "locked")
    create(tmp_path / "open", None)
    assert Vault.state(tmp_path / "locked") is VaultState.PASSPHRASE
    assert Vault.state(tmp_path / "open") is VaultState.KEYFILE


def test_everything_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with home(tmp_path / "home", None) as here:
            here.turn("one", "1")
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "home").rglob("*")}
    finally:
        os.umask(before)
    assert {"vault.db", "vault.db-wal", "vault.db-shm", "vault.hdr", "vault.hdr.bak", "vault.key"} <= modes.keys()
    assert modes.pop("blobs") == 0o700
    assert set(modes.values()) == {0o600}


def test_the_present_passphrase_can_be_checked(tmp_path: Path) -> None:
    with home(tmp_path / "home") as here:
        here.vault.check_passphrase(PASSPHRASE)
        for wrong in ("wrong", "", None):
            with pytest.raises(VaultLocked):
                here.vault.check_passphrase(wrong)
        here.vault.change_passphrase(None)
        here.vault.check_passphrase(None)


def test_closing_in_the_middle_of_a_new_passphrase_waits_for_it(tmp_path: Path) -> None:
    create(tmp_path / "home")
    vault = open_(tmp_path / "home")
    slow = Stretching(memory_kib=64 * 1024, iterations=8, lanes=1)
    change = Thread(target=vault.change_passphrase, args=("second", slow))
    change.start()
    while not is_held(tmp_path / "home" / "vault.lock"):
        time.sleep(0.001)
    vault.close()
    change.join()
    open_(tmp_path / "home", "second").close()


def is_held(lock: Path) -> bool:
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.mark.parametrize("wrong", [None, "", "wrong", PASSPHRASE + " ", "\ud800"])
def test_a_wrong_passphrase_always_says_the_same_and_changes_nothing(tmp_path: Path, wrong: str | None) -> None:
    create(tmp_path / "home")
    before = tree(tmp_path)
    with pytest.raises(VaultLocked) as refused:
        open_(tmp_path / "home", wrong)
    assert refused.value.message == "the vault is locked: the passphrase is missing or wrong"
    assert tree(tmp_path) == before


def test_composed_and_decomposed_letters_are_one_passphrase(tmp_path: Path) -> None:
    create(tmp_path / "home", "caf\u00e9")
    open_(tmp_path / "home", "cafe\u0301").close()


def test_the_key_file_opens_its_vault_only(tmp_path: Path) -> None:
    create(tmp_path / "a", None)
    create(tmp_path / "b", None)
    open_(tmp_path / "a", None).close()
    key = (tmp_path / "a" / "vault.key").read_bytes()
    (tmp_path / "a" / "vault.key").write_bytes((tmp_path / "b" / "vault.key").read_bytes())
    with pytest.raises(VaultLocked):
        open_(tmp_path / "a", None)
    (tmp_path / "a" / "vault.key").unlink()
    with pytest.raises(VaultLocked):
        open_(tmp_path / "a", None)
    (tmp_path / "a" / "vault.key").write_bytes(key)
    (tmp_path / "a" / "vault.key").chmod(0o644)
    with pytest.raises(UsageError):
        open_(tmp_path / "a", None)
    (tmp_path / "a" / "vault.key").chmod(0o600)
    (tmp_path / "a" / "vault.key").write_bytes(b"not hex")
    with pytest.raises(Damaged):
        open_(tmp_path / "a", None)


def test_a_changed_passphrase_is_the_only_one_even_in_the_backup(tmp_path: Path) -> None:
    directory = tmp_path / "home"
    create(directory)
    vault = open_(directory)
    vault.change_passphrase("second", CHEAP)
    vault.close()
    for name in ("vault.hdr.bak", "vault.hdr"):  # the backup first: unlocking renews it
        (directory / "vault.hdr").write_bytes((directory / name).read_bytes())
        with pytest.raises(VaultLocked):
            open_(directory)
        open_(directory, "second").close()


def test_a_passphrase_can_be_declined_later_and_taken_up_again(tmp_path: Path) -> None:
    directory = tmp_path / "home"
    with home(directory) as here:
        chat_id, _, _ = here.turn("one", "1")
        here.vault.change_passphrase(None)
        here.turn("still", "open")
    assert Vault.state(directory) is VaultState.KEYFILE
    with home(directory, None) as here:
        assert here.store.chat_exists(chat_id)
        here.vault.change_passphrase("again", CHEAP)
    assert not (directory / "vault.key").exists()
    with home(directory, "again") as here:
        assert here.store.chat_exists(chat_id)


def test_a_backup_with_the_old_passphrase_is_renewed_at_the_next_unlock(tmp_path: Path) -> None:
    directory = tmp_path / "home"
    create(directory)
    old = (directory / "vault.hdr.bak").read_bytes()
    vault = open_(directory)
    vault.change_passphrase("second", CHEAP)
    vault.close()
    (directory / "vault.hdr.bak").write_bytes(old)  # as if killed between the two writes
    open_(directory, "second").close()
    assert decode((directory / "vault.hdr.bak").read_bytes()).epoch == 2


@pytest.mark.parametrize("empty", ["", "   "])
def test_an_empty_passphrase_is_refused(tmp_path: Path, empty: str) -> None:
    with pytest.raises(UsageError):
        Vault.create(tmp_path / "home", empty, MIGRATIONS, CHEAP)
    assert not (tmp_path / "home").exists()


def test_a_vault_is_never_made_over_another(tmp_path: Path) -> None:
    create(tmp_path / "home")
    before = tree(tmp_path)
    with pytest.raises(UsageError):
        Vault.create(tmp_path / "home", "x", MIGRATIONS, CHEAP)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("missing", [("vault.hdr",), ("vault.hdr", "vault.hdr.bak"), ("vault.hdr", "vault.db")])
def test_a_vault_without_its_header_is_damaged_not_absent(tmp_path: Path, missing: tuple[str, ...]) -> None:
    create(tmp_path / "home")
    for name in missing:
        (tmp_path / "home" / name).unlink()
    with pytest.raises(Damaged):
        Vault.state(tmp_path / "home")
    with pytest.raises(Damaged):
        Vault.create(tmp_path / "home", PASSPHRASE, MIGRATIONS, CHEAP)


def test_opening_where_there_is_no_vault_makes_none(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(UsageError):
        open_(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unsuitable_home_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o750)
    for unsuitable in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / "open", Path("/proc/nanolocal-home")):
        with pytest.raises(UsageError) as refused:
            Vault.create(unsuitable, PASSPHRASE, MIGRATIONS, CHEAP)
        assert refused.value.hint
    create(tmp_path / "home")
    (tmp_path / "home").chmod(0o755)
    with pytest.raises(UsageError):
        open_(tmp_path / "home")


def test_only_one_of_several_processes_makes_the_vault(tmp_path: Path) -> None:
    def make(report: object) -> None:
        try:
            Vault.create(tmp_path / "home", PASSPHRASE, MIGRATIONS, CHEAP).close()
        except UsageError:
            report("refused")  # type: ignore[operator]

    children = [fork(make) for _ in range(4)]
    assert sum(len(child.finish()) for child in children) == 3
    open_(tmp_path / "home").close()


def test_a_creation_cut_short_before_the_header_starts_over(tmp_path: Path) -> None:
    directory = tmp_path / "home"
    create(directory, None)
    for name in ("vault.hdr", "vault.hdr.bak"):
        (directory / name).unlink()
    (directory / "vault.db").rename(directory / "vault.db.new")
    assert Vault.state(directory) is VaultState.ABSENT
    create(directory, None)
    open_(directory, None).close()


def test_a_creation_cut_short_after_the_header_is_finished_at_the_next_start(tmp_path: Path) -> None:
    directory = tmp_path / "home"
    create(directory)
    (directory / "vault.hdr.bak").unlink()
    (directory / "vault.db").rename(directory / "vault.db.new")
    open_(directory).close()
    assert (directory / "vault.hdr.bak").exists()
    assert not (directory / "vault.db.new").exists()


def test_the_anchor_only_moves_forward_and_survives_a_passphrase_change(tmp_path: Path) -> None:
    create(tmp_path / "home")
    first, second = open_(tmp_path / "home"), open_(tmp_path / "home")
    first.keep_anchor(5, "aa" * 32)
    second.keep_anchor(7, "bb" * 32)
    first.keep_anchor(6, "cc" * 32)
    first.change_passphrase("second", CHEAP)
    second.keep_anchor(8, "dd" * 32)
    first.close()
    second.close()
    vault = open_(tmp_path / "home", "second")
    assert (vault.anchor.seq, vault.anchor.head) == (8, "dd" * 32)
    vault.close()


def test_the_header_follows_an_urgent_commit_and_closing_waits_for_it(tmp_path: Path) -> None:
    create(tmp_path / "home")
    vault = open_(tmp_path / "home")
    behind = vault.anchor.commit
    with exclusive(tmp_path / "home/vault.lock"):
        with vault.database.transaction(is_urgent=True) as tx:
            tx.execute("INSERT INTO setting (name, value) VALUES ('urgent', '1')")
        stored = Database.peek(tmp_path / "home/vault.db", vault.keys.database)
        assert stored is not None
        assert (stored[0], vault.anchor.commit) == (behind + 1, behind)
    vault.close()
    reopened = open_(tmp_path / "home")
    assert reopened.anchor.commit == reopened.kept == behind + 1
    assert reopened.database.execute("SELECT value FROM setting WHERE name = 'urgent'") == [("1",)]
    reopened.close()


def test_a_closed_vault_is_locked_and_the_log_is_folded_back(tmp_path: Path) -> None:
    with home(tmp_path / "home") as here:
        here.turn("one", "1")
    with pytest.raises(VaultLocked):
        here.store.chats(1)
    with pytest.raises(VaultLocked):
        here.wallet.top_up(1)
    here.vault.close()
    assert not (tmp_path / "home" / "vault.db-wal").exists()


def test_blobs_that_a_crash_left_are_removed_at_unlock(tmp_path: Path) -> None:
    with home(tmp_path / "home") as here:
        stray = here.vault.blobs.write(b"never referred to")
        (tmp_path / "home" / "blobs" / "half.tmp").write_bytes(b"cut short")
    with home(tmp_path / "home"):
        assert list((tmp_path / "home" / "blobs").iterdir()) == []
    assert stray


# the database on its own


def test_the_settings_that_keep_data_are_in_force(tmp_path: Path) -> None:
    database = Database.create(tmp_path / "x.db", KEY, MIGRATIONS)
    names = ("journal_mode", "synchronous", "foreign_keys", "secure_delete", "trusted_schema", "busy_timeout")
    values = [database.execute(f"PRAGMA {name}")[0][0] for name in names]
    assert values == ["wal", 2, 1, 1, 0, 10_000]
    assert database.execute("SELECT v FROM message_index_config WHERE k = 'secure-delete'") == [(1,)]
    database.close()


def test_migrations_run_once_in_order_and_a_newer_file_is_refused(tmp_path: Path) -> None:
    one, two = (1, ("CREATE TABLE a (x)",)), (2, ("INSERT INTO a VALUES (1)",))
    Database.create(tmp_path / "x.db", KEY, [one]).close()
    for _ in range(2):
        database = Database.open(tmp_path / "x.db", KEY, [two, one])
        assert database.execute("SELECT x FROM a") == [(1,)]
        database.close()
    with pytest.raises(VaultLocked):
        Database.open(tmp_path / "x.db", KEY, [one])
    with pytest.raises(ValueError, match="numbered"):
        Database.open(tmp_path / "x.db", KEY, [one, (3, ())])


def test_a_failed_migration_changes_nothing(tmp_path: Path) -> None:
    one = (1, ("CREATE TABLE a (x)",))
    Database.create(tmp_path / "x.db", KEY, [one]).close()
    with pytest.raises(Exception, match="no such table"):
        Database.open(tmp_path / "x.db", KEY, [one, (2, ("INSERT INTO a VALUES (1)", "INSERT INTO b VALUES (1)"))])
    database = Database.open(tmp_path / "x.db", KEY, [one])
    assert database.execute("SELECT x FROM a") == []
    database.close()


def test_a_snapshot_sees_one_moment(tmp_path: Path) -> None:
    writer = Database.create(tmp_path / "x.db", KEY, [(1, ("CREATE TABLE a (x)",))])
    reader = Database.open(tmp_path / "x.db", KEY, [(1, ())])
    with reader.snapshot() as moment:
        assert moment.execute("SELECT count(*) FROM a") == [(0,)]
        with writer.transaction() as tx:
            tx.execute("INSERT INTO a VALUES (1)")
        assert moment.execute("SELECT count(*) FROM a") == [(0,)]
    assert reader.execute("SELECT count(*) FROM a") == [(1,)]
    writer.close()
    reader.close()


def test_the_lock_file_lets_one_in_at_a_time(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")

    def count(report: object) -> None:
        for _ in range(50):
            with exclusive(tmp_path / "lock"):
                counter.write_text(str(int(counter.read_text()) + 1))

    children = [fork(count) for _ in range(4)]
    for child in children:
        child.finish()
    assert counter.read_text() == "200"


def test_the_measured_cost_is_at_least_the_floor() -> None:
    cost = measured_stretching()
    assert (cost.iterations, cost.lanes) == (3, 4)
    assert cost.memory_kib in (64 * 1024, 128 * 1024, 256 * 1024)
    Stretching().check()
