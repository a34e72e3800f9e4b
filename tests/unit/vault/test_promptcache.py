"""Snapshots of what engines have read: found again, never in the way, and gone with their conversation."""

import contextlib
import io
import os
import resource
import runpy
import secrets
import signal
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from nanolocal.chat.ports import PromptCache, PromptSnapshot
from nanolocal.chat.routes import Speed
from nanolocal.checks import State
from nanolocal.ledger.losses import LedgerLosses
from nanolocal.vault import backup, exposure, repair
from nanolocal.vault.database import Database
from nanolocal.vault.experience import Experience
from nanolocal.vault.promptcache import PromptCacheStore, size_of
from nanolocal.vault.vault import Vault
from tests.fakes.homes import MIGRATIONS, PASSPHRASE, Home, fork, home, open_vault, rooms
from tests.unit.vault.test_golden import READER

SHA, OTHER = "a" * 64, "b" * 64
STATE = b"what an engine has read " * 100
KB, MB, GB = 2**10, 2**20, 2**30
DAY = 86_400.0


class Clock:
    now = 1e9

    def __call__(self) -> float:
        return self.now


def cache_of(
    here: Home, most_mb: int | None = 100, clock: Clock | None = None, free: int = 100 * GB
) -> PromptCacheStore:
    return PromptCacheStore(here.vault.database, most_mb, clock or Clock(), lambda: free)


def written(snapshot: PromptSnapshot | None, tokens: int = 100, size: int | None = None) -> PromptSnapshot:
    """As an engine writes it; ``size`` is told instead of the true one."""
    assert snapshot is not None
    nonce = secrets.token_bytes(12)
    snapshot.path.write_bytes(nonce + AESGCM(snapshot.key).encrypt(nonce, STATE, None))
    return replace(snapshot, tokens=tokens, size=size or snapshot.path.stat().st_size)


def opened(snapshot: PromptSnapshot | None) -> bytes:
    """As an engine reads it."""
    assert snapshot is not None
    sealed = snapshot.path.read_bytes()
    return AESGCM(snapshot.key).decrypt(sealed[:12], sealed[12:], None)


def kept(
    cache: PromptCache, chat_id: str, sha256: str = SHA, tokens: int = 100, size: int | None = None
) -> PromptSnapshot:
    snapshot = written(cache.reserve(size or 4 * KB), tokens, size)
    cache.keep(snapshot, sha256, chat_id)
    return snapshot


def chat(here: Home) -> str:
    return here.turn("prompt", "answer")[0]


def rows(here: Home) -> list[tuple[str, str | None]]:
    """File and conversation of each row."""
    return rows_of(here.vault.database)


def rows_of(database: Database) -> list[tuple[str, str | None]]:
    return [(row[0], row[1]) for row in database.execute("SELECT file, chat_id FROM prompt_cache")]


def files(directory: Path) -> set[str]:
    return {path.name for path in (directory / "prompts").glob("*")}


def pages(directory: Path, monkeypatch: pytest.MonkeyPatch, secret: str = "") -> bytes:
    """Every page of the database in clear, those that are not in use too, as the reader without nanolocal sees them."""
    monkeypatch.setattr(sys, "argv", ["decrypt_vault.py", str(directory)])
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{secret}\n"))
    with contextlib.redirect_stdout(io.StringIO()):
        image = runpy.run_path(str(READER))["tables"].serialize()
    assert isinstance(image, bytes)
    return image


def test_what_was_kept_is_found_after_a_restart(tmp_path: Path) -> None:
    with home(tmp_path / "v", None) as here:
        cache = cache_of(here)
        first, second = chat(here), chat(here)
        snapshot = kept(cache, first, tokens=321)
        assert len(snapshot.key) == 32
        assert snapshot.key.hex() not in repr(snapshot)
        assert kept(cache, first, OTHER).key != snapshot.key
        assert cache.find(SHA, second) is None
    with home(tmp_path / "v", None) as here:
        assert cache_of(here).find(SHA, first) == snapshot
        assert opened(cache_of(here).find(SHA, first)) == STATE


def test_files_and_folder_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with home(tmp_path / "v", None) as here:
            path = kept(cache_of(here), chat(here)).path
    finally:
        os.umask(before)
    assert [stat.S_IMODE(place.stat().st_mode) for place in (path, path.parent)] == [0o600, 0o700]


def test_the_next_one_replaces_it(tmp_path: Path) -> None:
    with home(tmp_path / "v", None) as here:
        cache, chat_id = cache_of(here), chat(here)
        before = kept(cache, chat_id)
        now = written(cache.reserve(4 * KB), tokens=200)
        assert cache.find(SHA, chat_id) == before
        cache.keep(now, SHA, chat_id)
        assert cache.find(SHA, chat_id) == now
        cache.keep(now, SHA, chat_id)
        assert (files(tmp_path / "v"), rows(here)) == ({now.path.name}, [(now.path.name, chat_id)])


def test_what_could_not_be_written_or_read_is_forgotten(tmp_path: Path) -> None:
    with home(tmp_path / "v", None) as here:
        cache, chat_id = cache_of(here), chat(here)
        snapshot = kept(cache, chat_id)
        half = cache.reserve(4 * KB)
        assert half is not None
        for each in (half, snapshot, snapshot):
            cache.drop(each)
        cache.keep(half, SHA, chat_id)
        assert cache.find(SHA, chat_id) is None
        assert (files(tmp_path / "v"), rows(here)) == (set(), [])


def test_the_least_valuable_leave_first(tmp_path: Path) -> None:
    """What reading again would cost, by how likely the conversation goes on, a byte."""
    with home(tmp_path / "v", None) as here:
        clock = Clock()
        cache, names = cache_of(here, 100, clock), {}
        seen = Experience(here.vault.database)
        seen.keep_speed(OTHER, Speed(read_tok_s=1000.0))
        seen.keep_speed(SHA, Speed(load_s=1.0))
        for name, sha256, tokens, size in (
            ("plain", SHA, 1000, 20 * MB),
            ("read faster", OTHER, 1000, 20 * MB),
            ("shorter", SHA, 800, 20 * MB),
            ("larger", SHA, 1000, 24 * MB),
        ):
            names[kept(cache, chat(here), sha256, tokens, size).path.name] = name
        clock.now += 9 * DAY
        names[kept(cache, chat(here), SHA, 200, 15 * MB).path.name] = "short, but new"
        names[kept(cache, chat(here), SHA, 1000).path.name] = "tiny"
        left: list[str] = []
        for _ in names:
            taken = here.vault.database.execute("SELECT sum(size) FROM prompt_cache")[0][0]
            writing = cache.reserve(100 * MB - taken + 1)
            assert writing is not None
            cache.drop(writing)
            left += [names[file] for file in names.keys() - files(tmp_path / "v") if names[file] not in left]
        assert left == ["read faster", "shorter", "larger", "plain", "short, but new", "tiny"]


def test_one_that_was_found_again_stays(tmp_path: Path) -> None:
    with home(tmp_path / "v", None) as here:
        clock = Clock()
        cache = cache_of(here, 1, clock)
        first, second = chat(here), chat(here)
        used, unused = kept(cache, first, size=400 * KB), kept(cache, second, size=400 * KB)
        clock.now += DAY
        assert cache.find(SHA, first) == used
        assert cache.reserve(400 * KB) is not None
        assert (cache.find(SHA, first), cache.find(SHA, second)) == (used, None)
        assert not unused.path.exists()


def test_none_leaves_for_what_finds_no_room_anyway(tmp_path: Path) -> None:
    with home(tmp_path / "v", None) as here:
        cache, chat_id = cache_of(here, 1), chat(here)
        snapshot = kept(cache, chat_id, size=600 * KB)
        assert cache.reserve(MB + 1) is None
        writing = cache.reserve(300 * KB)
        assert writing is not None
        assert cache.reserve(800 * KB) is None
        assert cache.find(SHA, chat_id) == snapshot
        cache.drop(writing)
        assert cache.reserve(MB) is not None
        assert cache.find(SHA, chat_id) is None


def test_one_that_came_out_larger_is_kept_within_the_budget(tmp_path: Path) -> None:
    with home(tmp_path / "v", None) as here:
        cache, chat_id = cache_of(here, 1), chat(here)
        old = kept(cache, chat_id, OTHER, tokens=1, size=600 * KB)
        new = written(cache.reserve(100 * KB), size=500 * KB)
        cache.keep(new, SHA, chat_id)
        assert files(tmp_path / "v") == {new.path.name} != {old.path.name}


def test_a_gigabyte_of_the_disk_stays_free(tmp_path: Path) -> None:
    with home(tmp_path / "v", None) as here:
        first, second = chat(here), chat(here)
        roomy = cache_of(here)
        old, new = kept(roomy, first, tokens=1, size=50 * MB), kept(roomy, second, size=20 * MB)
        tight = cache_of(here, free=GB + 10 * MB)
        assert tight.reserve(81 * MB) is None
        assert old.path.exists()
        writing = tight.reserve(30 * MB)
        assert writing is not None
        assert files(tmp_path / "v") == {new.path.name, writing.path.name}
        assert tight.reserve(10 * MB) is None
        cache_of(here, free=GB - 1).trim()
        assert files(tmp_path / "v") == {writing.path.name}


def test_the_usual_budget_is_a_part_of_what_is_free_without_the_cache(tmp_path: Path) -> None:
    with home(tmp_path / "v", None) as here:
        assert cache_of(here, None, free=20 * GB).budget() == GB
        assert cache_of(here, None, free=1000 * GB).budget() == 4 * GB
        path = kept(cache_of(here), chat(here)).path
        assert cache_of(here, None, free=20 * GB - path.stat().st_size).budget() == GB
        assert 0 < PromptCacheStore(here.vault.database).budget() <= 4 * GB


def test_a_budget_of_nothing_keeps_nothing(tmp_path: Path) -> None:
    with home(tmp_path / "v", None) as here:
        kept(cache_of(here), chat(here))
        off = cache_of(here, 0)
        off.trim()
        assert off.reserve(1) is None
        assert (files(tmp_path / "v"), rows(here)) == (set(), [])


def test_with_a_conversation_its_key_and_file_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "v"
    with home(directory, None) as here:
        cache = cache_of(here)
        doomed, other = chat(here), chat(here)
        gone, stays = kept(cache, doomed), kept(cache, other)
        assert gone.key in pages(directory, monkeypatch)
        here.store.delete_chat(doomed)
        assert (files(directory), rows(here)) == ({stays.path.name}, [(stays.path.name, other)])
        assert (directory / "vault.db-wal").stat().st_size == 0
        image = pages(directory, monkeypatch)
        assert gone.key not in image
        assert stays.key in image


def test_the_daily_copies_forget_it_with_the_conversation(tmp_path: Path) -> None:
    directory = tmp_path / "v"
    with home(directory, None) as here:
        doomed, other = chat(here), chat(here)
        kept(cache_of(here), doomed)
        stays = kept(cache_of(here), other)
    with home(directory, None) as here:
        assert {chat_id for _, chat_id in copied_rows(here)} == {doomed, other}
        here.store.delete_chat(doomed)
    with home(directory, None) as here:
        assert copied_rows(here) == [(stays.path.name, other)]
        here.vault.rotate()
        assert opened(cache_of(here).find(SHA, other)) == STATE


def copied_rows(here: Home) -> list[tuple[str, str | None]]:
    """The rows in the only daily copy of the database."""
    (copy,) = here.vault.snapshots()
    with contextlib.closing(Database(copy.path, here.vault.keys.database)) as database:
        return rows_of(database)


def test_a_conversation_deleted_while_it_is_written_leaves_nothing(tmp_path: Path) -> None:
    with home(tmp_path / "v", None) as here:
        cache, chat_id = cache_of(here), chat(here)
        snapshot = written(cache.reserve(4 * KB))
        here.store.delete_chat(chat_id)
        cache.keep(snapshot, SHA, chat_id)
        assert (files(tmp_path / "v"), rows(here)) == (set(), [])


def test_clearing_takes_what_is_being_written_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with home(tmp_path / "v", None) as here:
        cache, chat_id = cache_of(here), chat(here)
        before, writing = kept(cache, chat_id), written(cache.reserve(4 * KB))
        assert cache.clear() == before.size + writing.size
        cache.keep(writing, SHA, chat_id)
        assert (files(tmp_path / "v"), rows(here)) == (set(), [])
        assert (tmp_path / "v" / "vault.db-wal").stat().st_size == 0
        image = pages(tmp_path / "v", monkeypatch)
        assert before.key not in image
        assert writing.key not in image


def interrupted(directory: Path, report: Callable[[str], None]) -> None:
    """A program that is killed while an engine of it writes."""
    with home(directory, None) as here:
        snapshot = written(cache_of(here).reserve(4 * KB))
        snapshot.path.with_name(f"{snapshot.path.name}.part").write_bytes(b"half")
        report(snapshot.path.name)
        signal.pause()


def test_what_a_killed_program_was_writing_goes_at_the_next_unlock(tmp_path: Path) -> None:
    directory = tmp_path / "v"
    with home(directory, None) as here:
        stays = kept(cache_of(here), chat(here))
    child = fork(lambda report: interrupted(directory, report))
    half = next(child.lines)
    child.kill()
    assert files(directory) == {stays.path.name, half, f"{half}.part"}
    with home(directory, None) as here:
        assert files(directory) == {stays.path.name}
        assert [file for file, _ in rows(here)] == [stays.path.name]


def test_what_a_killed_program_was_writing_makes_room_for_another(tmp_path: Path) -> None:
    directory = tmp_path / "v"
    with home(directory, None) as here:
        child = fork(lambda report: interrupted(directory, report))
        half = next(child.lines)
        assert cache_of(here, free=GB + 7 * KB).reserve(4 * KB) is None
        assert half in files(directory)
        child.kill()
        assert cache_of(here, free=GB + 7 * KB).reserve(4 * KB) is not None
        assert half not in files(directory)


def test_two_programs_share_one_cache(tmp_path: Path) -> None:
    directory, (told, tell) = tmp_path / "v", os.pipe()
    with home(directory, None) as here:
        chat_id = chat(here)

    def other(report: Callable[[str], None]) -> None:
        with home(directory, None) as here:
            cache = cache_of(here)
            snapshot = written(cache.reserve(4 * KB))
            report("reserved")
            os.read(told, 1)
            cache.keep(snapshot, SHA, chat_id)
            report("kept")
            os.read(told, 1)
            found = cache.find(SHA, chat_id)
            report("theirs" if found not in (None, snapshot) and opened(found) == STATE else "wrong")

    child = fork(other)
    assert next(child.lines) == "reserved"
    with home(directory, None) as here:  # unlocking sweeps
        cache = cache_of(here)
        assert cache.find(SHA, chat_id) is None
        os.write(tell, b".")
        assert next(child.lines) == "kept"
        theirs = cache.find(SHA, chat_id)
        assert opened(theirs) == STATE
        ours = kept(cache, chat_id)
        assert files(directory) == {ours.path.name}
        os.write(tell, b".")
        assert child.finish() == ["theirs"]
        assert opened(cache.find(SHA, chat_id)) == STATE


def test_strays_go_at_the_next_unlock(tmp_path: Path) -> None:
    directory = tmp_path / "v"
    with home(directory, None) as here:
        cache, chat_id = cache_of(here), chat(here)
        lost, stays = kept(cache, chat(here)), kept(cache, chat_id)
        cache.reserve(4 * KB)
        cache.close()
    lost.path.unlink()
    (directory / "prompts" / secrets.token_hex(16)).write_bytes(b"no row")
    with home(directory, None) as here:
        assert (files(directory), rows(here)) == ({stays.path.name}, [(stays.path.name, chat_id)])


def test_one_whose_file_vanished_is_not_found(tmp_path: Path) -> None:
    with home(tmp_path / "v", None) as here:
        cache, chat_id = cache_of(here), chat(here)
        kept(cache, chat_id).path.unlink()
        assert cache.find(SHA, chat_id) is None
        assert rows(here) == []


def test_backups_have_none_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, books = tmp_path / "backup", LedgerLosses()
    with home(tmp_path / "v") as here:
        chat_id = chat(here)
        snapshot = kept(cache_of(here), chat_id)
        backup.make(here.vault, file, MIGRATIONS, books, lambda *_: None)
        assert cache_of(here).find(SHA, chat_id) == snapshot
    backup.restore(file, tmp_path / "w", lambda: PASSPHRASE, MIGRATIONS, books, lambda *_: None)
    assert snapshot.key not in pages(tmp_path / "w", monkeypatch, PASSPHRASE)
    with home(tmp_path / "w") as here:
        assert here.store.chat_exists(chat_id)
        assert cache_of(here).find(SHA, chat_id) is None
        assert (size_of(tmp_path / "w"), rows(here)) == (0, [])


def test_an_earlier_database_knows_only_files_that_are_there(tmp_path: Path) -> None:
    directory = tmp_path / "v"
    with home(directory, None) as here:
        cache = cache_of(here)
        replaced, same = chat(here), chat(here)
        kept(cache, replaced)
        stays = kept(cache, same)
    with home(directory, None) as here:
        kept(cache_of(here), replaced)
        newest = here.vault.snapshots()[0].path
    vault = repair.restore(directory, None, MIGRATIONS, LedgerLosses(), newest)
    with contextlib.closing(vault):
        here = rooms(vault)
        assert (files(directory), rows(here)) == ({stays.path.name}, [(stays.path.name, same)])


def test_a_check_of_the_vault_finds_nothing_wrong_with_it(tmp_path: Path) -> None:
    with home(tmp_path / "v", None) as here:
        cache = cache_of(here)
        kept(cache, chat(here))
        cache.reserve(4 * KB)
        assert here.vault.verify() == []
        assert exposure.ciphertext(tmp_path / "v").state is State.OK
        assert exposure.permissions(tmp_path / "v").state is State.OK


def test_a_snapshot_in_clear_is_noticed(tmp_path: Path) -> None:
    with home(tmp_path / "v", None) as here:
        kept(cache_of(here), chat(here)).path.write_bytes(STATE)
        assert exposure.ciphertext(tmp_path / "v").state is State.WRONG


def test_erasing_the_vault_erases_them(tmp_path: Path) -> None:
    with home(tmp_path / "v", None) as here:
        kept(cache_of(here), chat(here))
    Vault.erase(tmp_path / "v")
    assert list((tmp_path / "v").iterdir()) == []


def test_a_folder_that_cannot_be_used_means_no_snapshot(tmp_path: Path) -> None:
    directory = tmp_path / "v"
    with home(directory, None) as here:
        chat_id = chat(here)
        kept(cache_of(here), chat_id).path.unlink()
    (directory / "prompts").rmdir()
    (directory / "prompts").write_bytes(b"in the way")
    with home(directory, None) as here:
        cache = cache_of(here)
        assert cache.find(SHA, chat_id) is None
        assert cache.reserve(KB) is None
        cache.trim()
        assert (cache.clear(), rows(here)) == (0, [])


def test_a_folder_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    with home(tmp_path / "v", None) as here:
        cache = cache_of(here)
        cache.drop(kept(cache, chat(here)))
        (tmp_path / "v" / "prompts").chmod(0o755)
        assert cache.reserve(KB) is None
        assert rows(here) == []


def test_a_locked_vault_has_none(tmp_path: Path) -> None:
    vault = open_vault(tmp_path / "v", None)
    here = rooms(vault)
    cache, chat_id = cache_of(here), chat(here)
    kept(cache, chat_id)
    writing = written(cache.reserve(KB))
    vault.close()
    cache.keep(writing, SHA, chat_id)
    assert (cache.find(SHA, chat_id), cache.reserve(KB), writing.path.exists()) == (None, None, False)


def test_a_full_disk_means_no_snapshot(tmp_path: Path) -> None:
    """The child may not write one more byte to a file, and every call fails as on a full disk."""
    directory = tmp_path / "v"
    with home(directory, None) as here:
        chat_id = chat(here)
        snapshot = kept(cache_of(here), chat_id)

    def work(report: Callable[[str], None]) -> None:
        here = rooms(open_vault(directory, None))
        cache = cache_of(here)
        writing = written(cache.reserve(4 * KB))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        assert cache.reserve(4 * KB) is None
        assert cache.find(SHA, chat_id) == snapshot
        cache.keep(writing, OTHER, chat_id)
        assert cache.find(OTHER, chat_id) is None
        cache.drop(snapshot)
        cache.trim()
        report("no error")

    assert fork(work).finish() == ["no error"]
    assert files(directory) == set()
    with home(directory, None) as here:
        assert rows(here) == []
