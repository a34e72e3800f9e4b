"""Backups: whole in another home, consistent while others write, and nothing in them changes unnoticed."""

import os
import random
import shutil
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from nanolocal.chat.messages import Attachment
from nanolocal.errors import Damaged, UsageError, VaultLocked
from nanolocal.ledger.losses import LedgerLosses
from nanolocal.vault import contents
from nanolocal.vault.archive import Writer
from nanolocal.vault.backup import make
from nanolocal.vault.blobs import seal_blob
from nanolocal.vault.header import SlotKind
from nanolocal.vault.scan import leaks
from nanolocal.vault.vault import Vault, VaultState
from tests.fakes.homes import CHEAP, MIGRATIONS, PASSPHRASE, Home, home
from tests.faults.machinery import FIRST, damage_noticed, small_backup, texts, writer
from tests.faults.scenario import back_up, bring_back
from tests.unit.vault.test_golden import copied, read_alone

PICTURE = Attachment("p.png", "image/png", b"picture" * 9000)


def filled(here: Home, chats: int = 2) -> Home:
    for number in range(chats):
        here.turn(f"prompt {number}", f"answer {number}", picture=PICTURE)
    return here


def everything(here: Home) -> list[object]:
    seen: list[object] = [here.wallet.balance()]
    for chat in here.store.chats(99):
        for stored in here.store.path(chat.id):
            seen.append((chat.title, stored.message.text, [item.data for item in stored.message.attachments]))
    return seen


def unpacked(file: Path, directory: Path) -> Path:
    directory.mkdir()
    subprocess.run(["tar", "-xf", str(file), "-C", str(directory)], check=True)
    return directory


def packed(directory: Path, file: Path) -> Path:
    """A backup put together by hand from parts."""
    blobs = sorted(f"blobs/{path.name}" for path in (directory / "blobs").glob("*"))
    with file.open("wb") as out:
        archive = Writer(out, 1, lambda *_: None)
        for name in ("vault.hdr", "vault.db", *blobs, "backup.mac"):
            data = (directory / name).read_bytes()
            archive.add(name, len(data), [data])
        archive.end()
    return file


@pytest.mark.parametrize("passphrase", [PASSPHRASE, None])
def test_everything_comes_back_in_another_home_and_the_ledger_says_so(tmp_path: Path, passphrase: str | None) -> None:
    with home(tmp_path / "home", passphrase) as here:
        filled(here)
        secret = passphrase or here.vault.make_recovery_code()
        seen, entries = everything(here), here.wallet.verify().entries
        held = back_up(here.vault, tmp_path / "backup")
        assert list((tmp_path / "home").glob("backup-*")) == []
        here.turn("later", "not in it")
    assert stat.S_IMODE((tmp_path / "backup").stat().st_mode) == 0o600
    assert (held.conversations, held.messages, held.files, held.entries) == (2, 4, 2, entries)
    assert bring_back(tmp_path / "there" / "vault", secret, tmp_path / "backup") == held
    state = VaultState.KEYFILE if passphrase is None else VaultState.PASSPHRASE
    assert Vault.state(tmp_path / "there" / "vault") is state
    with home(tmp_path / "there" / "vault", passphrase) as here:
        assert everything(here) == seen
        assert here.vault.verify() == []
        (notice,) = here.vault.notices
        assert f"restored from a backup of {held.when}" in notice
        here.vault.dismiss_notices()
        rows = here.vault.database.execute("SELECT seq, ref, body ->> '$.note' FROM entry WHERE kind = 'restore'")
        newest = here.vault.database.execute("SELECT hash FROM entry WHERE seq = ?", (entries,))[0][0]
        assert rows == [(entries + 2, f"{entries}:{newest}", notice)]  # after the key of the new device
        assert here.wallet.verify((here.vault.anchor.seq, here.vault.anchor.head)).entries == entries + 2
        assert len(here.store.search("prompt")) == 2
        here.turn("life goes on", "there")
        if passphrase is None:
            assert set(here.vault.slots) == {SlotKind.KEYFILE, SlotKind.RECOVERY}
    with home(tmp_path / "there" / "vault", passphrase) as here:
        assert here.vault.notices == []


def test_the_documented_reader_reads_an_unpacked_backup(tmp_path: Path) -> None:
    with home(copied("v2-keyfile", tmp_path / "home"), None) as here:
        code = here.vault.make_recovery_code()
        back_up(here.vault, tmp_path / "backup")
    (tmp_path / "files").mkdir()
    read = read_alone(unpacked(tmp_path / "backup", tmp_path / "alone"), code, tmp_path / "files")
    assert read == read_alone(tmp_path / "home", None)
    assert len(list((tmp_path / "files").iterdir())) == 2


def test_a_backup_of_a_backup_of_a_rekeyed_vault_opens_with_today_s_passphrase_alone(tmp_path: Path) -> None:
    with home(tmp_path / "home") as here:
        filled(here)
        back_up(here.vault, tmp_path / "old")
        here.vault.rekey(PASSPHRASE, CHEAP)
        here.vault.change_passphrase("new", CHEAP)
        back_up(here.vault, tmp_path / "backup")
    with pytest.raises(VaultLocked):
        bring_back(tmp_path / "one", PASSPHRASE, tmp_path / "backup")
    bring_back(tmp_path / "one", "new", tmp_path / "backup")
    with home(tmp_path / "one", "new") as here:
        back_up(here.vault, tmp_path / "again")
        seen = everything(here)
    bring_back(tmp_path / "two", "new", tmp_path / "again")
    with home(tmp_path / "two", "new") as here:
        assert everything(here) == seen
        assert here.vault.database.execute("SELECT count(*) FROM entry WHERE kind = 'restore'") == [(2,)]


def test_a_wrong_secret_changes_nothing(tmp_path: Path) -> None:
    with home(tmp_path / "home") as here:
        code = here.vault.make_recovery_code()
        back_up(here.vault, tmp_path / "backup")
    for wrong in (None, "", "wrong", code[:-1], "0" * 56):
        with pytest.raises(VaultLocked):
            bring_back(tmp_path / "there", wrong, tmp_path / "backup")
    assert not (tmp_path / "there").exists()
    bring_back(tmp_path / "there", code.lower().replace("-", " "), tmp_path / "backup")


def test_where_a_vault_is_nothing_is_restored(tmp_path: Path) -> None:
    with home(tmp_path / "home") as here:
        back_up(here.vault, tmp_path / "backup")
    before = {path: path.read_bytes() for path in (tmp_path / "home").rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="already a vault"):
        bring_back(tmp_path / "home", PASSPHRASE, tmp_path / "backup")
    assert {path: path.read_bytes() for path in (tmp_path / "home").rglob("*") if path.is_file()} == before
    Vault.erase(tmp_path / "home")
    bring_back(tmp_path / "home", PASSPHRASE, tmp_path / "backup")


def test_what_cannot_be_a_backup_s_place_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "there").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "home")
    with home(tmp_path / "home") as here:
        for name in ("home/b", "link/b", "home/blobs/b", "none/b", "fifo", ".", "there"):
            with pytest.raises(UsageError):
                back_up(here.vault, tmp_path / name)
        make(here.vault, tmp_path / "there", MIGRATIONS, LedgerLosses(), lambda *_: None, overwrite=True)
        assert {path.name for path in tmp_path.iterdir()} == {"fifo", "there", "link", "home"}
    with home(tmp_path / "keyfile", None) as here, pytest.raises(UsageError) as refused:
        back_up(here.vault, tmp_path / "b")
    assert "nanolocal vault recovery" in refused.value.hint
    assert not (tmp_path / "b").exists()


def test_an_interrupted_backup_leaves_nothing_and_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "backup").write_text("an older one")
    with home(tmp_path / "home") as here:
        filled(here)
        for phase in ("writing", "reading back"):

            def interrupt(what: str, done: int, total: int, phase: str = phase) -> None:
                if what == phase and done > total // 2:
                    signal.raise_signal(signal.SIGINT)

            with pytest.raises(KeyboardInterrupt):
                make(here.vault, tmp_path / "out" / "backup", MIGRATIONS, LedgerLosses(), interrupt, overwrite=True)
            assert [path.read_text() for path in (tmp_path / "out").iterdir()] == ["an older one"]
            assert list((tmp_path / "home").glob("backup-*")) == []


def test_a_conversation_deleted_while_its_picture_is_copied_is_not_in_the_backup(tmp_path: Path) -> None:
    with home(tmp_path / "home") as here, home(tmp_path / "home") as other:
        filled(here, 3)
        gone = [here.store.chats(9)[0].id]

        def delete(what: str, _done: int, _total: int) -> None:
            if what == "writing" and gone:
                other.store.delete_chat(gone.pop())

        held = make(here.vault, tmp_path / "backup", MIGRATIONS, LedgerLosses(), delete)
        assert (held.conversations, held.files) == (2, 2)
        seen = everything(here)
    bring_back(tmp_path / "there", PASSPHRASE, tmp_path / "backup")
    with home(tmp_path / "there") as here:
        assert everything(here) == seen


def test_endless_deleting_ends_with_a_refusal(tmp_path: Path) -> None:
    with home(tmp_path / "home") as here, home(tmp_path / "home") as other:
        filled(here, 9)
        last = [1 << 40]

        def delete(_what: str, done: int, _total: int) -> None:
            if done < last[0]:
                other.store.delete_chat(other.store.chats(9)[0].id)
            last[0] = done

        with pytest.raises(UsageError, match="faster"):
            make(here.vault, tmp_path / "backup", MIGRATIONS, LedgerLosses(), delete)
        assert not list(tmp_path.glob("backup*"))


def test_backups_made_while_another_process_writes_are_whole(tmp_path: Path) -> None:
    with home(tmp_path / "home") as here:
        filled(here)
        child = writer(tmp_path / "home", "w")
        stored = []
        for number in range(4):
            stored += [next(child.lines) for _ in range(3)]
            before = len(stored)
            held = back_up(here.vault, tmp_path / f"b{number}")
            assert held.conversations >= before + 2
            bring_back(tmp_path / f"there{number}", PASSPHRASE, tmp_path / f"b{number}")
            with home(tmp_path / f"there{number}") as there:
                assert there.vault.verify() == []
                there.wallet.verify((there.vault.anchor.seq, there.vault.anchor.head))
        child.kill()


def test_a_damaged_or_missing_picture_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    with home(tmp_path / "home") as here:
        filled(here)
        blob = next((tmp_path / "home" / "blobs").iterdir())
        whole = blob.read_bytes()
        for change in (lambda: blob.write_bytes(whole[:-1]), blob.unlink):
            change()
            with pytest.raises(Damaged, match=r"p\.png"):
                back_up(here.vault, tmp_path / "backup")
            assert not list(tmp_path.glob("backup*"))


def test_a_file_whose_name_leads_elsewhere_is_refused_though_everything_fits(tmp_path: Path) -> None:
    with home(tmp_path / "home") as here:
        filled(here, 1)
        with here.vault.database.transaction() as tx:
            ((row_key,),) = tx.execute("SELECT key FROM attachment")
            contents.removed(tx, "attachment", "1", ())
            tx.execute("UPDATE attachment SET blob_id = '../stray'")
            contents.added(tx, "attachment", "1", ())
        (tmp_path / "home" / "stray").write_bytes(seal_blob(here.vault.keys.blob + row_key, "../stray", PICTURE.data))
        assert here.vault.verify() == []
        with pytest.raises(Damaged, match="name that no vault gives"):
            back_up(here.vault, tmp_path / "backup")


def test_a_copy_that_a_kill_left_in_the_vault_is_cleared_by_the_next_unlock(tmp_path: Path) -> None:
    with home(tmp_path / "home") as here:
        filled(here)
        left = tmp_path / "home" / "backup-left"
        left.mkdir(0o700)
        here.vault.database.copy_to(left / "vault.db")
        with home(tmp_path / "home"):
            assert left.exists(), "another process may be using it"
    with home(tmp_path / "home"):
        assert not left.exists()


def test_parts_of_two_backups_do_not_fit_together(tmp_path: Path) -> None:
    with home(tmp_path / "home") as here:
        filled(here)
        back_up(here.vault, tmp_path / "a")
        back_up(here.vault, tmp_path / "same day")
        here.turn("later", "in b", picture=PICTURE)
        back_up(here.vault, tmp_path / "b")
    parts = {name: unpacked(tmp_path / name, tmp_path / f"{name} parts") for name in ("a", "same day", "b")}
    assert packed(parts["a"], tmp_path / "again").read_bytes() == (tmp_path / "a").read_bytes()
    for first, second in (("a", "b"), ("b", "a"), ("a", "same day"), ("same day", "a")):
        for number, name in enumerate(("vault.hdr", "vault.db", "backup.mac")):
            if (parts[first] / name).read_bytes() == (parts[second] / name).read_bytes():
                assert (name, "same day" in (first, second)) == ("vault.hdr", True)
                continue
            mixed = tmp_path / f"{first} {second} {number}"
            shutil.copytree(parts[first], mixed)
            shutil.copy(parts[second] / name, mixed / name)
            with pytest.raises(Damaged):
                bring_back(tmp_path / "there", PASSPHRASE, packed(mixed, tmp_path / "mixed"))
    one, two = sorted((parts["a"] / "blobs").iterdir())
    data = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(data)
    with pytest.raises(Damaged):
        bring_back(tmp_path / "there", PASSPHRASE, packed(parts["a"], tmp_path / "mixed"))
    assert Vault.state(tmp_path / "there") is VaultState.ABSENT


def test_pages_of_an_older_backup_are_noticed_in_a_newer_one(tmp_path: Path) -> None:
    with home(tmp_path / "home") as here:
        for number in range(20):
            here.turn(f"{number} " * 900, "1")
        back_up(here.vault, tmp_path / "a")
        here.store.delete_chat(here.store.chats(9)[3].id)
        here.turn("another " * 900, "2")
        back_up(here.vault, tmp_path / "b")
    old, new = (unpacked(tmp_path / name, tmp_path / f"{name} parts") for name in ("a", "b"))
    before, after = ((parts / "vault.db").read_bytes() for parts in (old, new))
    for at in range(0, min(len(before), len(after)), 3 * 4096):
        (new / "vault.db").write_bytes(after[:at] + before[at : at + 4096] + after[at + 4096 :])
        with pytest.raises(Damaged):
            bring_back(tmp_path / "there", PASSPHRASE, packed(new, tmp_path / "mixed"))
    (new / "vault.db").write_bytes(after)
    bring_back(tmp_path / "there", PASSPHRASE, packed(new, tmp_path / "mixed"))


def test_damage_anywhere_is_noticed_and_nothing_is_left(tmp_path: Path) -> None:
    """A sample; ``scripts/stress_vault.py backups`` goes through every byte."""
    file, code = small_backup(tmp_path / "small")
    size = file.stat().st_size
    positions = {*range(0, 4096, 61), *range(4096, size, 7919), size - 1}
    assert all(damage_noticed(file, code, at, tmp_path, random.Random(at)) for at in positions)
    assert all(damage_noticed(file, code, end, tmp_path, None) for end in range(0, size, 512 * 37))
    left = {path.relative_to(tmp_path / "there") for path in (tmp_path / "there").rglob("*")}
    assert {path.name for path in left} == {"vault.lock"}
    bring_back(tmp_path / "there", code, file)
    with home(tmp_path / "there", None) as here:
        assert texts(here) == FIRST


def test_no_word_is_in_clear_in_a_backup_or_in_what_is_written_on_the_way(tmp_path: Path) -> None:
    words = [f"canary{number:02d}zephyrquartz" for number in range(6)]
    with home(tmp_path / "home") as here:
        file = Attachment(f"{words[0]}.txt", "text/plain", words[1].encode() * 9000)
        here.turn(words[2], words[3], None, (file,), title=words[4], system=words[5])
        looks: dict[str, int] = {}

        def look(what: str, done: int, total: int) -> None:
            if looks.get(what, 0) < 1 + 4 * done // total:
                looks[what] = looks.get(what, 0) + 1
                assert leaks(tmp_path, [*words, PASSPHRASE, "CREATE TABLE"]) == []

        make(here.vault, tmp_path / "backup", MIGRATIONS, LedgerLosses(), look)
        assert looks["writing"] >= 3
        assert looks["reading back"] >= 3
    bring_back(tmp_path / "there", PASSPHRASE, tmp_path / "backup")
    assert leaks(tmp_path, [*words, PASSPHRASE, "CREATE TABLE"]) == []


def test_nobody_learns_from_a_backup_when_or_by_whom_it_was_made(tmp_path: Path) -> None:
    lists: list[bytes] = []
    with home(tmp_path / "home") as here:
        filled(here)
        for name in ("a", "b"):
            back_up(here.vault, tmp_path / name)
            done = subprocess.run(["tar", "-tvf", str(tmp_path / name)], capture_output=True, check=True)
            lists.append(done.stdout)
    assert lists[0] == lists[1]
    assert lists[0].count(b"0/0") == lists[0].count(b"1970-01-01") == len(lists[0].splitlines()) == 5
