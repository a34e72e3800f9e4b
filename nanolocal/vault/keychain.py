"""The operating system's keyring as the place of a vault's key, through the optional package ``keyring``.

Only backends that keep entries encrypted under the user's login are taken, and never another in place of the one that
was chosen: a key that moves silently into a plain file protects nothing (Electron's ``basic_text`` does that).
Every program of the same user can read such an entry; a passphrase is stronger.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nanolocal.errors import UsageError, VaultLocked
from nanolocal.vault.keys import KEY_BYTES

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

ALLOWED = frozenset({
    "keyring.backends.SecretService.Keyring",
    "keyring.backends.Windows.WinVaultKeyring",
    "keyring.backends.kwallet.DBusKeyring",
    "keyring.backends.kwallet.DBusKeyringKWallet4",
    "keyring.backends.libsecret.Keyring",
    "keyring.backends.macOS.Keyring",
})  # fmt: skip
_SERVICE = "nanolocal"


def backend_name() -> str | None:
    """The allowed backend that works best here, or ``None``."""
    backends = [(backend.priority, name) for name, backend in _usable().items()]
    return max(backends)[1] if backends else None


def kept_secret(vault_id: str, name: str) -> bytes:
    """The vault's 32 bytes in backend ``name``; made where there are none. Raises ``UsageError``."""
    backend = _usable()[name]
    with _refusals(name):
        kept = backend.get_password(_SERVICE, vault_id)
        if kept is None:
            kept = secrets.token_hex(KEY_BYTES)
            backend.set_password(_SERVICE, vault_id, kept)
            if backend.get_password(_SERVICE, vault_id) != kept:
                raise UsageError(f"the keyring {name} did not keep the vault's key", "use a passphrase")
    return bytes.fromhex(kept)


def read_secret(vault_id: str, name: str) -> bytes:
    """The vault's 32 bytes in backend ``name``. Raises ``VaultLocked`` with what to do instead."""
    backend = _usable().get(name)
    if backend is None:
        now = backend_name() or "none"
        raise VaultLocked(f"the vault's key is in the keyring {name}, and the keyring here is {now}", _HINT)
    try:
        with _refusals(name):
            kept = backend.get_password(_SERVICE, vault_id)
        return bytes.fromhex(kept or "")
    except (UsageError, ValueError) as error:
        raise VaultLocked(f"the keyring {name} does not give the vault's key", _HINT) from error


def forget(vault_id: str, name: str) -> None:
    """Remove the vault's entry; one that is not there is no error. Raises ``UsageError``."""
    backend = _usable().get(name)
    if backend is not None:
        with _refusals(name):
            if backend.get_password(_SERVICE, vault_id) is not None:
                backend.delete_password(_SERVICE, vault_id)


_HINT = "unlock that keyring, or give the recovery code in NANOLOCAL_PASSPHRASE"


def _usable() -> "dict[str, KeyringBackend]":
    try:
        from keyring.backend import get_all_keyring
    except ImportError:
        return {}
    named = {f"{type(found).__module__}.{type(found).__qualname__}": found for found in get_all_keyring()}
    return {name: backend for name, backend in named.items() if name in ALLOWED}


@contextmanager
def _refusals(name: str) -> Iterator[None]:
    """Backends raise what they like when the user says no or a service is gone."""
    from keyring.errors import KeyringError

    try:
        yield
    except (KeyringError, OSError, RuntimeError) as error:
        raise UsageError(f"the keyring {name} refused", "unlock it, or use a passphrase") from error
