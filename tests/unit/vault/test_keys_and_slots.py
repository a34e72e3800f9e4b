"""The recovery code, the change of keys, and what each of them opens."""

import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanolocal.errors import Damaged, UsageError, VaultLocked
from nanolocal.vault.files import check_local
from nanolocal.vault.header import SlotKind
from nanolocal.vault.keys import parse_recovery_code, recovery_code
from nanolocal.vault.vault import Vault, VaultState
from tests.fakes.homes import CHEAP, PASSPHRASE, fork, home, open_vault


@given(st.binary(min_size=32, max_size=32))
def test_a_recovery_code_comes_back_however_it_is_typed(secret: bytes) -> None:
    code = recovery_code(secret)
    assert [len(group) for group in code.split("-")] == [4] * 14
    assert parse_recovery_code(code) == secret
    sloppy = f" {code.lower().replace('-', ' ').replace('0', 'o').replace('1', 'l')}\n"
    assert parse_recovery_code(sloppy) == secret


def test_a_slip_of_the_pen_is_noticed() -> None:
    chance = random.Random(7)
    code = recovery_code(bytes(range(32))).replace("-", "")
    assert parse_recovery_code(code[:-1]) is None
    for position in range(len(code)):
        wrong = chance.choice([symbol for symbol in "0123456789ABCDEFGHJKMNPQRSTVWXYZ" if symbol != code[position]])
        assert parse_recovery_code(code[:position] + wrong + code[position + 1 :]) is None
    for nonsense in ("", "correct horse", "U" * 56, "é" * 56):
        assert parse_recovery_code(nonsense) is None


def test_the_code_is_the_documented_one() -> None:
    code = "000G-40R4-0M30-E209-185G-R38E-1W81-24GK-2GAH-C5RR-34D1-P70X-3RFG-CC6W"
    assert recovery_code(bytes(range(32))) == code


@pytest.mark.parametrize("passphrase", [PASSPHRASE, None])
def test_the_recovery_code_opens_what_passphrase_or_key_file_opened(tmp_path: Path, passphrase: str | None) -> None:
    directory = tmp_path / "home"
    with home(directory, passphrase) as here:
        chat_id, _, _ = here.turn("one", "1")
        code = here.vault.make_recovery_code()
        assert SlotKind.RECOVERY in here.vault.slots
    (directory / "vault.key").unlink(missing_ok=True)
    with home(directory, code.lower()) as here:
        assert here.store.chat_exists(chat_id)
        here.vault.change_passphrase("a new one", CHEAP)
        newer = here.vault.make_recovery_code()
    with pytest.raises(VaultLocked):
        open_vault(directory, code)
    for secret in ("a new one", newer):
        open_vault(directory, secret).close()


def test_a_rotated_database_keeps_everything_and_forgets_its_old_key(tmp_path: Path) -> None:
    directory = tmp_path / "home"
    with home(directory) as here:
        chat_id, _, _ = here.turn("one", "1")
        salt = (directory / "vault.db").read_bytes()[:16]
        here.vault.rotate()
        assert (directory / "vault.db").read_bytes()[:16] != salt
        assert [snapshot.path.read_bytes()[:16] != salt for snapshot in here.vault.snapshots()] == [True]
        here.turn("after", "2", chat_id)
        assert here.vault.verify() == []
    with home(directory) as here:
        assert [stored.message.text for stored in here.store.path(chat_id)] == ["after", "2"]
        assert here.wallet.verify((here.vault.anchor.seq, here.vault.anchor.head)).open_holds == 0


@pytest.mark.parametrize("passphrase", [PASSPHRASE, None])
def test_after_a_rekey_an_old_header_and_an_old_code_open_nothing(tmp_path: Path, passphrase: str | None) -> None:
    directory = tmp_path / "home"
    with home(directory, passphrase) as here:
        chat_id, _, _ = here.turn("one", "1")
        old = here.vault.make_recovery_code()
        header = (directory / "vault.hdr").read_bytes()
        if passphrase:
            with pytest.raises(VaultLocked):
                here.vault.rekey("wrong", CHEAP)
        new = here.vault.rekey(passphrase, CHEAP)
        assert new not in (None, old)
    if passphrase:
        with pytest.raises(VaultLocked):
            open_vault(directory, old)
    for secret in (passphrase, new):
        with home(directory, secret) as here:
            assert here.store.chat_exists(chat_id)
    (directory / "vault.hdr").write_bytes(header)
    with pytest.raises((VaultLocked, Damaged)):
        open_vault(directory, passphrase)


def test_keys_are_not_changed_under_another_process(tmp_path: Path) -> None:
    directory = tmp_path / "home"
    with home(directory) as here:
        here.turn("one", "1")

        def hold(report: Callable[[str], None]) -> None:
            vault = open_vault(directory)
            report("open")
            signal.pause()
            vault.close()

        child = fork(hold)
        assert next(child.lines) == "open"
        with pytest.raises(UsageError, match="another nanolocal"):
            here.vault.rotate()
        with pytest.raises(UsageError, match="another nanolocal"):
            here.vault.rekey(PASSPHRASE, CHEAP)
        with pytest.raises(UsageError, match="another nanolocal"):
            Vault.erase(directory)
        child.kill()
        here.vault.rotate()
        assert here.vault.verify() == []


def test_erasing_leaves_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "home"
    with home(directory, None) as here:
        here.turn("one", "1")
    Vault.erase(directory)
    assert list(directory.iterdir()) == []
    assert Vault.state(directory) is VaultState.ABSENT


def test_a_network_file_system_is_refused(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\nserver:/export {tmp_path}/shared nfs4 rw 0 0\n")
    check_local(tmp_path / "own", mounts)
    with pytest.raises(VaultLocked, match="nfs4"):
        check_local(tmp_path / "shared" / "vault", mounts)
    check_local(tmp_path, tmp_path / "no such table")
