"""Who else could read a vault, asked of real vaults with real modes, strangers and weak doors."""

from pathlib import Path

import pytest

from nanolocal.chat.messages import Attachment
from nanolocal.checks import Check, State
from nanolocal.vault import exposure
from tests.fakes.homes import PASSPHRASE, home

STRONG = "seven green horses on a roof"


def vault(tmp_path: Path, passphrase: str | None = STRONG) -> Path:
    with home(tmp_path / "vault", passphrase) as here:
        here.turn("a prompt", "an answer", attachments=(Attachment("notes.txt", "text/plain", b"x" * 90_000),))
    return tmp_path / "vault"


def found(directory: Path, secret: str | None = STRONG) -> dict[str, Check]:
    return {check.id: check for check in exposure.checks(directory, secret)}


def test_a_closed_vault_with_a_strong_passphrase_and_a_recovery_code_is_fine(tmp_path: Path) -> None:
    directory = vault(tmp_path)
    with home(directory, STRONG) as here:
        here.vault.make_recovery_code()
    assert {check.state for check in found(directory).values()} == {State.OK}


@pytest.mark.parametrize(("name", "state"), [("blobs/*", State.WARNING), (".", State.WRONG)])
def test_what_others_may_read_is_named(tmp_path: Path, name: str, state: State) -> None:
    directory = vault(tmp_path)
    path = next(directory.glob(name)) if "*" in name else directory
    path.chmod(path.stat().st_mode | 0o044)
    check = found(directory)["permissions"]
    assert check.state is state
    assert check.hint.endswith(f"chmod -R go-rwx {directory}")
    assert state is State.WRONG or path.name in check.says


@pytest.mark.parametrize(
    ("name", "data", "state"),
    [
        ("notes.txt", b"a note", State.WARNING),
        ("vault.db.damaged-1", b"SQLite format 3\0" + bytes(4000), State.WRONG),
        ("snapshots/20260101T000000Z-1.db", b"SQLite format 3\0" + bytes(4000), State.WRONG),
        (f"blobs/{'a' * 32}", b"a picture in clear " * 9000, State.WRONG),
    ],
)
def test_a_file_in_clear_is_found_among_the_encrypted_ones(
    tmp_path: Path, name: str, data: bytes, state: State
) -> None:
    directory = vault(tmp_path)
    assert found(directory)["ciphertext"].state is State.OK
    (directory / name).write_bytes(data)
    check = found(directory)["ciphertext"]
    assert check.state is state
    assert name in check.says


def test_what_lies_in_clear_in_the_middle_of_a_large_file_is_found(tmp_path: Path) -> None:
    directory = vault(tmp_path)
    blob = next((directory / "blobs").iterdir())
    data = blob.read_bytes() * 8
    blob.write_bytes(data + b"a letter " * 30_000 + data)
    assert found(directory)["ciphertext"].state is State.WRONG


@pytest.mark.parametrize(
    ("passphrase", "state"),
    [(STRONG, State.OK), (PASSPHRASE, State.OK), ("horse", State.WARNING), ("aaaaaaaaaaaaaaaa", State.WARNING)],
)
def test_a_passphrase_that_is_easily_guessed_is_noted(tmp_path: Path, passphrase: str, state: State) -> None:
    check = found(vault(tmp_path, passphrase), passphrase)["door"]
    assert check.state is state
    assert passphrase not in check.says + check.hint


def test_a_key_file_and_a_missing_recovery_code_are_noted(tmp_path: Path) -> None:
    checks = found(vault(tmp_path, None), None)
    assert checks["door"].state is checks["recovery"].state is State.WARNING
    assert "key file" in checks["door"].says


def test_a_header_that_cannot_be_read_does_not_end_the_other_checks(tmp_path: Path) -> None:
    directory = vault(tmp_path)
    (directory / "vault.hdr").write_bytes(b"{}")
    assert found(directory)["door"].state is State.SKIPPED
    assert found(directory)["place"].state is State.OK
