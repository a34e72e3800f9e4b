"""Every flipped byte is reported or repaired, or provably did not matter."""

import random
from pathlib import Path

from tests.faults.machinery import Flip, Flipper, every_flip, small_vault, vault_with_log

PRIME = 7919


def chosen(directory: Path) -> list[Flip]:
    """Some bytes of databases and snapshots, the start of a log, and every seventh of the small files."""
    return [
        flip
        for flip in every_flip(directory, 1, random.Random(20))
        if flip.position % (PRIME if ".db" in flip.file else 7) == 0
        or (flip.file == "vault.db-wal" and flip.position < 56)
    ]


def test_no_flipped_byte_goes_unnoticed_in_a_vault_with_a_log(tmp_path: Path) -> None:
    flipper = Flipper(vault_with_log(tmp_path / "home"))
    seen = {(flip.file, flipper.outcome(flip)) for flip in chosen(tmp_path / "home")}
    assert {outcome for _, outcome in seen} <= {"reported", "superseded", "renewed", "same"}
    assert {outcome for file, outcome in seen if file == "vault.db-wal"} == {"reported"}


def test_no_flipped_byte_goes_unnoticed_in_a_vault_with_snapshots(tmp_path: Path) -> None:
    flipper = Flipper(small_vault(tmp_path / "home"))
    seen = {(flip.file, flipper.outcome(flip)) for flip in chosen(tmp_path / "home")}
    assert {outcome for _, outcome in seen} <= {"reported", "repaired", "renewed", "same"}
    assert {outcome for file, outcome in seen if file == "vault.db"} <= {"reported", "repaired"}


def test_the_flipper_sees_what_nobody_reports(tmp_path: Path) -> None:
    directory = small_vault(tmp_path / "home")
    flipper = Flipper(directory)
    (directory / "vault.suspect").touch(0o600)
    blob = next((directory / "blobs").iterdir())
    assert flipper.outcome(Flip(f"blobs/{blob.name}", 60, 1)) == "reported"
