"""The system's keyring as the place of the vault's key: which backends are taken, what is left when they are gone."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import keyring.backend
import pytest
from keyring.errors import KeyringLocked

from nanolocal.errors import UsageError, VaultLocked
from nanolocal.vault import keychain
from nanolocal.vault.header import SlotKind
from nanolocal.vault.vault import Vault, VaultState
from tests.fakes.homes import CHEAP, PASSPHRASE, home, open_vault

ROOT = Path(__file__).parents[3]


class Login(keyring.backend.KeyringBackend):
    """A keyring of the user's login, which can be locked."""

    priority = 100
    entries: ClassVar[dict[tuple[str, str], str]] = {}
    is_locked = False

    def get_password(self, service: str, username: str) -> str | None:
        if type(self).is_locked:
            raise KeyringLocked("ask the user")
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.entries[service, username]


NAME = f"{Login.__module__}.{Login.__qualname__}"


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(keychain, "ALLOWED", keychain.ALLOWED | {NAME})
    monkeypatch.setattr(Login, "is_locked", False)
    yield NAME
    Login.entries.clear()


def kept_in_keyring(directory: Path) -> str:
    with home(directory) as here:
        here.turn("one", "1")
        code = here.vault.make_recovery_code()
        assert here.vault.use_keyring() == NAME
    return code


def test_a_keyring_that_is_not_on_the_list_is_never_taken(tmp_path: Path) -> None:
    assert Login in {type(backend) for backend in keyring.backend.get_all_keyring()}
    assert keychain.backend_name() != NAME
    if keychain.backend_name() is None:
        with home(tmp_path / "home") as here:
            here.vault.make_recovery_code()
            with pytest.raises(UsageError, match="no keyring here"):
                here.vault.use_keyring()
            assert SlotKind.PASSPHRASE in here.vault.slots


def test_without_a_recovery_code_the_keyring_is_refused(tmp_path: Path, allowed: str) -> None:
    with home(tmp_path / "home") as here:
        with pytest.raises(UsageError, match="recovery code"):
            here.vault.use_keyring()
        assert Login.entries == {}


def test_the_keyring_opens_the_vault_and_the_passphrase_no_longer_does(tmp_path: Path, allowed: str) -> None:
    directory = tmp_path / "home"
    kept_in_keyring(directory)
    assert Vault.state(directory) is VaultState.KEYRING
    assert not (directory / "vault.key").exists()
    with home(directory, None) as here:
        assert [row.messages for row in here.store.chats(5)] == [2]
        assert PASSPHRASE.encode() not in (directory / "vault.hdr").read_bytes()
        assert SlotKind.PASSPHRASE not in here.vault.slots


def test_without_its_keyring_the_vault_names_it_and_the_recovery_code_opens(
    tmp_path: Path, allowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "home"
    code = kept_in_keyring(directory)
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    monkeypatch.setattr(Login, "is_locked", True)
    with pytest.raises(VaultLocked, match="does not give"):
        open_vault(directory, None)
    monkeypatch.setattr(keychain, "ALLOWED", keychain.ALLOWED - {NAME})
    with pytest.raises(VaultLocked, match=NAME):
        open_vault(directory, None)
    assert before == {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    with home(directory, code) as here:
        here.vault.change_passphrase("another", CHEAP)
    open_vault(directory, "another").close()


def test_a_rekey_keeps_the_keyring_and_leaving_or_erasing_empties_it(tmp_path: Path, allowed: str) -> None:
    directory = tmp_path / "home"
    kept_in_keyring(directory)
    with home(directory, None) as here:
        assert here.vault.rekey(None) is not None
    with home(directory, None) as here:
        assert len(Login.entries) == 1
        here.vault.change_passphrase("another", CHEAP)
        assert Login.entries == {}
        here.vault.use_keyring()
    assert len(Login.entries) == 1
    Vault.erase(directory)
    assert Login.entries == {}
    assert Vault.state(directory) is VaultState.ABSENT


_ON_THE_REAL_ONE = """
import sys
from pathlib import Path
from nanolocal.vault import keychain
from tests.fakes.homes import home
directory = Path(sys.argv[1])
with home(directory) as here:
    here.turn("one", "1")
    here.vault.make_recovery_code()
    print(here.vault.use_keyring())
with home(directory, None) as here:
    print([row.messages for row in here.store.chats(5)])
    vault_id = here.vault._vault_id
here.vault.erase(directory)
print(keychain._usable()[keychain.backend_name()].get_password("nanolocal", vault_id))
"""


def test_the_secret_service_of_a_desktop_keeps_the_key(tmp_path: Path) -> None:
    if not shutil.which("dbus-run-session") or not shutil.which("gnome-keyring-daemon"):
        pytest.skip("needs dbus-run-session and gnome-keyring-daemon")
    for part in (".cache", ".local/share/keyrings", "run"):
        (tmp_path / part).mkdir(mode=0o700, parents=True)
    script = 'printf login | gnome-keyring-daemon --unlock --components=secrets >/dev/null && exec "$@"'
    command = ["dbus-run-session", "--", "sh", "-c", script, "sh", sys.executable, "-c", _ON_THE_REAL_ONE]
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [*command, str(tmp_path / "home")], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.splitlines() == ["keyring.backends.SecretService.Keyring", "[2]", "None"], done.stderr
