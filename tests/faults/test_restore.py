"""Damage, rollback and lost commits: repaired from a snapshot or reported, never passed over."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nanolocal.errors import Damaged, UsageError
from nanolocal.ledger.losses import LedgerLosses
from nanolocal.vault import repair
from tests.fakes.homes import MIGRATIONS, Home, fork, home, open_vault, rooms

FILES = ("vault.db", "vault.db-wal", "vault.hdr", "vault.hdr.bak")


def kept(directory: Path) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in FILES if (directory / name).exists()}


def put(directory: Path, files: dict[str, bytes], *names: str) -> None:
    for name in names:
        (directory / f"{name}-shm").unlink(missing_ok=True)
        if name in files:
            (directory / name).write_bytes(files[name])
            (directory / name).chmod(0o600)
        else:
            (directory / name).unlink(missing_ok=True)
    (directory / "vault.db-shm").unlink(missing_ok=True)


def everything(here: Home) -> list[str]:
    """Every text and what was paid, as a user would read them."""
    return [
        f"{chat.title} {stored.message.text} {stored.cost_micro}"
        for chat in here.store.chats(99)
        for stored in here.store.path(chat.id)
    ] + [str(here.wallet.balance())]


def repaired(directory: Path) -> Home:
    return rooms(repair.restore(directory, None, MIGRATIONS, LedgerLosses()))


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    with home(tmp_path / "home", None) as here:
        here.turn("in the snapshot", "1")
    yield tmp_path / "home"


def killed_after(directory: Path, turns: int) -> None:
    """A process that stored so many turns and was killed: the last commits lie in the log alone."""

    def work(report: Callable[[str], None]) -> None:
        here = rooms(open_vault(directory, None))
        for number in range(turns):
            here.turn(f"in the log {number}", str(number))
        report("stored")
        signal.pause()

    child = fork(work)
    assert next(child.lines) == "stored"
    child.kill()


def test_a_broken_page_is_repaired_and_what_is_lost_is_said(directory: Path) -> None:
    with home(directory, None) as here:
        here.turn("after the snapshot", "2")
    data = bytearray((directory / "vault.db").read_bytes())
    data[200] ^= 1
    (directory / "vault.db").write_bytes(data)
    with home(directory, None) as here:
        assert [chat.title for chat in here.store.chats(9)] == ["a title"]
        (notice,) = here.vault.notices
        assert "restored" in notice
        assert "later changes could not be saved" in notice
        assert here.vault.verify() == []
        here.wallet.verify((here.vault.anchor.seq, here.vault.anchor.head))
        here.turn("life goes on", "3")
        here.vault.dismiss_notices()
    assert list(directory.glob("vault.db.damaged-*"))
    with home(directory, None) as here:
        assert here.vault.notices == []
        kinds = here.vault.database.execute("SELECT kind FROM entry WHERE kind = 'restore'")
        assert kinds == [("restore",)]


def test_a_page_that_breaks_later_is_repaired_at_the_next_unlock(directory: Path) -> None:
    with home(directory, None) as here:
        chat_id, _, _ = here.turn("x" * 60_000, "2")
        whole = here.vault.database.execute("SELECT count(*) FROM message")
    data = (directory / "vault.db").read_bytes()
    for page in range(len(data) // 4096 - 1, 5, -1):
        changed = bytearray(data)
        changed[page * 4096 + 100] ^= 1
        (directory / "vault.db").write_bytes(changed)
        vault = open_vault(directory, None)
        try:
            rooms(vault).store.path(chat_id)
        except Damaged:
            break
        finally:
            vault.close()
    else:
        pytest.fail("no page of the message was found")
    assert (directory / "vault.suspect").exists()
    with home(directory, None) as here:
        assert here.vault.notices
        assert here.vault.database.execute("SELECT count(*) FROM message") < whole
        assert here.vault.verify() == []


@pytest.mark.parametrize("names", [("vault.db", "vault.db-wal"), ("vault.db",), ("vault.db-wal",)])
def test_an_older_database_or_log_is_reported_and_can_be_accepted(directory: Path, names: tuple[str, ...]) -> None:
    killed_after(directory, 2)
    old = kept(directory)
    with home(directory, None) as here:
        here.turn("later", "2")
        here.store.rename_chat(here.store.chats(1)[0].id, "renamed")
    put(directory, old, *names)
    before = kept(directory)
    with pytest.raises(Damaged) as reported:
        open_vault(directory, None)
    assert "nanolocal vault restore" in reported.value.hint
    assert {name: data for name, data in kept(directory).items() if name != "vault.db-wal"} == {
        name: data for name, data in before.items() if name != "vault.db-wal"
    }
    here = repaired(directory)
    assert here.vault.notices
    assert here.vault.verify() == []
    if names == ("vault.db-wal",):
        assert "nothing is lost" in here.vault.notices[0]
        assert [chat.title for chat in here.store.chats(1)] == ["renamed"]
    here.turn("life goes on", "3")
    here.vault.close()
    with home(directory, None) as here:
        assert here.wallet.verify((here.vault.anchor.seq, here.vault.anchor.head)).open_holds == 0


def test_a_lost_prompt_is_noticed_though_nothing_was_paid_after_it(directory: Path) -> None:
    old = kept(directory)
    with home(directory, None) as here:
        here.store.keep_setting("instructions", "x")
    put(directory, old, "vault.db", "vault.db-wal")
    with pytest.raises(Damaged, match="lacks 1 change"):
        open_vault(directory, None)


def test_an_older_header_is_reported(directory: Path) -> None:
    old = kept(directory)
    with home(directory, None) as here:
        here.turn("later", "2")
    put(directory, old, "vault.hdr")
    with pytest.raises(Damaged, match=r"an older vault\.hdr was put back"):
        open_vault(directory, None)


def test_a_header_that_is_one_change_older_is_reported_after_a_clean_end(directory: Path) -> None:
    with home(directory, None) as here:
        old = kept(directory)
        here.store.keep_setting("instructions", "x")
    put(directory, old, "vault.hdr")
    with pytest.raises(Damaged, match=r"an older vault\.hdr was put back"):
        open_vault(directory, None)


def test_an_end_beside_another_process_that_writes_leaves_a_vault_that_opens(directory: Path) -> None:
    def work(report: Callable[[str], None]) -> None:
        here = rooms(open_vault(directory, None))
        for number in range(10**6):
            here.store.keep_setting("number", str(number))
            report(str(number))

    child = fork(work)
    for _ in range(5):
        next(child.lines)
        with home(directory, None) as here:
            here.store.keep_setting("instructions", "x")
    last = child.kill()[-1]
    with home(directory, None) as here:
        assert int(here.store.setting("number") or 0) >= int(last)
        assert here.vault.notices == []
        assert here.vault.verify() == []


def test_a_page_brought_back_from_an_older_copy_is_found(directory: Path) -> None:
    with home(directory, None) as here:
        for number in range(20):
            here.turn(f"{number} " * 900, "1")
    old = (directory / "vault.db").read_bytes()
    with home(directory, None) as here:
        here.store.delete_chat(here.store.chats(9)[3].id)
        here.turn("another " * 900, "2")
        texts = everything(here)
    new = (directory / "vault.db").read_bytes()
    pages = [at for at in range(0, min(len(old), len(new)), 4096) if old[at : at + 4096] != new[at : at + 4096]]
    assert len(pages) > 5
    for at in pages:
        (directory / "vault.db").write_bytes(new[:at] + old[at : at + 4096] + new[at + 4096 :])
        for path in directory.glob("vault.db-*"):
            path.unlink()
        found, is_harmless = list[str](), False
        try:
            vault = open_vault(directory, None)
        except Damaged:
            continue
        try:
            here = rooms(vault)
            found, is_harmless = vault.verify(), everything(here) == texts
            here.wallet.verify((vault.anchor.seq, vault.anchor.head))
        except Damaged as error:
            found.append(error.message)
        finally:
            vault.close()
        assert found or is_harmless, f"page {at // 4096}"


@pytest.mark.parametrize("step", [1, 97])
def test_every_flipped_byte_of_a_live_log_is_reported_or_harmless(directory: Path, step: int) -> None:
    """``step`` 1 flips every byte of the log's header and first frame header, 97 one in so many of the whole log."""
    killed_after(directory, 1)
    files = kept(directory)
    log = files["vault.db-wal"]
    stored = 4
    positions = range(0, 56) if step == 1 else range(56, len(log), 97 * 13)
    for position in positions:
        changed = bytearray(log)
        changed[position] ^= 0x24
        put(directory, files | {"vault.db-wal": bytes(changed)}, *FILES)
        try:
            vault = open_vault(directory, None)
        except Damaged:
            continue
        try:
            count = vault.database.execute("SELECT count(*) FROM message")[0][0]
            assert vault.notices or (count == stored and vault.verify() == []), position
        finally:
            vault.close()
        for snapshot in list((directory / "snapshots").glob("*.db"))[1:]:
            snapshot.unlink()


def test_deleting_a_conversation_takes_it_out_of_the_snapshots(directory: Path) -> None:
    with home(directory, None) as here:
        (chat,) = here.store.chats(9)
        before = {snapshot.path for snapshot in here.vault.snapshots()}
        here.store.delete_chat(chat.id)
    with home(directory, None) as here:
        (snapshot,) = here.vault.snapshots()
        assert snapshot.path not in before


def test_a_whole_vault_is_not_restored(directory: Path) -> None:
    with pytest.raises(UsageError, match="whole"):
        repaired(directory)
