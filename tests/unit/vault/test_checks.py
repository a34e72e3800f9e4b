"""Each thing in a vault that is not whole is found by its own check, which says it in plain words."""

from dataclasses import replace
from pathlib import Path

import pytest

from nanolocal.chat.messages import Attachment
from nanolocal.checks import Check, State
from nanolocal.vault import checks, database
from nanolocal.vault.database import Database
from nanolocal.vault.header import decode, encode
from tests.fakes.homes import MIGRATIONS, Home, home


def wrong(here: Home) -> dict[str, Check]:
    return {check.id: check for check in here.vault.checks() if check.state is State.WRONG}


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def test_a_whole_vault_passes_every_check_and_tells_how_far_it_is(tmp_path: Path) -> None:
    told: list[str] = []
    with home(tmp_path / "vault") as here:
        here.turn("a prompt", "an answer", attachments=(Attachment("notes.txt", "text/plain", b"x"),))
        found = list(here.vault.checks(told.append))
    ids = ["header", "database", "conversations", "files", "search", "anchor", "snapshots"]
    assert [check.id for check in found] == ids
    assert {check.state for check in found} == {State.OK}
    assert "reading file 1 of 1" in told


def test_damaged_files_are_named(tmp_path: Path) -> None:
    with home(tmp_path / "vault") as here:
        for number in range(5):
            here.turn("a prompt", "an answer", attachments=(Attachment(f"n{number}.txt", "text/plain", b"x"),))
        for blob in (tmp_path / "vault" / "blobs").iterdir():
            flip(blob, 60)
        assert wrong(here)["files"].says == "5 attached files are damaged or missing: n0.txt, n1.txt, n2.txt and 2 more"


def test_a_page_that_cannot_be_read_is_counted_and_ends_what_needs_it(tmp_path: Path) -> None:
    path = tmp_path / "vault" / "vault.db"
    with home(tmp_path / "vault") as here:
        here.turn("a prompt " * 50_000, "an answer")
        here.vault.database.checkpoint()
        flip(path, path.stat().st_size // 2)
        found = wrong(here)
    assert set(found) == {"database"}
    assert found["database"].says == "the database is damaged in 1 place"
    assert found["database"].hint.endswith("nanolocal vault restore")


def test_a_spare_header_that_something_else_wrote_is_not_trusted(tmp_path: Path) -> None:
    spare = tmp_path / "vault" / "vault.hdr.bak"
    with home(tmp_path / "vault") as here:
        header = decode(spare.read_bytes())
        spare.write_bytes(encode(replace(header, slots=header.slots[:1]), bytes(32)))
        assert set(wrong(here)) == {"header"}


def test_a_damaged_snapshot_is_named_by_its_day(tmp_path: Path) -> None:
    with home(tmp_path / "vault") as here:
        here.turn("a prompt", "an answer")
    (copy,) = (tmp_path / "vault" / "snapshots").glob("*.db")
    flip(copy, copy.stat().st_size // 2)
    with home(tmp_path / "vault") as here:
        assert here.vault.snapshots()[0].when in wrong(here)["snapshots"].says


def test_a_copy_that_a_newer_one_replaces_meanwhile_is_not_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with home(tmp_path / "vault") as here:
        here.turn("a prompt", "an answer")
    with home(tmp_path / "vault") as here:
        (copy,) = here.vault.snapshots()
        monkeypatch.setattr(database, "_check_file", lambda path, key: path.unlink())
        assert not Database.is_whole(copy.path, here.vault.keys.database)
        assert not copy.path.exists()
        monkeypatch.undo()
        assert checks.copies([copy], here.vault.keys.database).state is State.OK


def test_a_log_that_somebody_still_reads_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_BUSY_MS", 50)
    with home(tmp_path / "vault") as here:
        for number in range(20):
            here.turn(f"prompt {number} " * 3000, "an answer")
            reader = Database.open(tmp_path / "vault" / "vault.db", here.vault.keys.database, MIGRATIONS)
            with reader.snapshot() as source:
                source.execute("SELECT count(*) FROM message")
                here.turn(f"later {number} " * 300, "an answer")
                assert here.vault.database.problems() == ()
                assert not here.vault.database.checkpoint()
            reader.close()
        assert here.vault.database.checkpoint(waits=True)
