"""``nanolocal models token``: the hub's token for gated and private models, kept in the vault."""

import argparse
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from nanolocal.cli import output
from nanolocal.cli.common import Subparsers, given_passphrase, is_quiet, open_vault, paths_of, wants_json
from nanolocal.errors import AccessRefused, UsageError
from nanolocal.settings import load as load_settings

if TYPE_CHECKING:
    from nanolocal.vault.conversations import Conversations
    from nanolocal.vault.vault import Vault

T = TypeVar("T")
_LONGEST = 500


def add(parts: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    parser = parts.add_parser("token", parents=[common], help="keep the hub's token for gated models in the vault")
    parser.add_argument("--remove", action="store_true", help="forget it")
    parser.add_argument("--show", action="store_true", help="only say whether one is kept")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Take a token from the terminal, unseen, or from standard input; it goes to the hub in use and nowhere else."""
    from nanolocal.library.pull.hub import endpoint_of, token_setting

    if args.remove and args.show:
        raise UsageError("--remove and --show do not go together", "nanolocal models token --help")
    endpoint = endpoint_of(load_settings(paths_of(args).settings).hub)
    new = None if args.remove or args.show else _typed(endpoint)
    with open_vault(args) as vault:
        settings = _settings(vault)
        if not args.show:
            settings.keep_setting(token_setting(endpoint), new)
        is_kept = settings.setting(token_setting(endpoint)) is not None
    if wants_json(args):
        output.as_json({"hub": endpoint, "token": is_kept})
    elif not is_quiet(args):
        output.line(f"a token for {endpoint} is kept in the vault" if is_kept else f"no token for {endpoint} is kept")
    return 0


def find(args: argparse.Namespace, endpoint: str) -> str:
    """The token for ``endpoint``: from ``HF_TOKEN``, or from a vault that opens without asking; else empty."""
    from nanolocal import bootstrap

    given = os.environ.get("HF_TOKEN", "").strip()
    if given:
        return _checked(given)
    vault = bootstrap.peek(paths_of(args), given_passphrase(args))
    return "" if vault is None else _read(vault, endpoint)


def ask_for_vault(args: argparse.Namespace, endpoint: str) -> str:
    """The token in a vault whose passphrase has to be asked for; empty where nobody can be asked or none is kept."""
    from nanolocal import bootstrap

    is_locked = bootstrap.vault_state(paths_of(args)) is bootstrap.VaultState.PASSPHRASE
    if not is_locked or given_passphrase(args) is not None or not sys.stdin.isatty():
        return ""
    output.note("the hub wants a token: open the vault, where it is kept")
    with open_vault(args) as vault:
        return _kept(vault, endpoint)


def with_token(args: argparse.Namespace, endpoint: str, attempt: Callable[[str], T]) -> T:
    """``attempt`` with the token at hand; where the hub refuses, once more with one that has to be asked for."""
    token = find(args, endpoint)
    try:
        return attempt(token)
    except AccessRefused:
        other = "" if token else ask_for_vault(args, endpoint)
        if not other:
            raise
        return attempt(other)


def _read(vault: "Vault", endpoint: str) -> str:
    try:
        return _kept(vault, endpoint)
    finally:
        vault.close()


def _kept(vault: "Vault", endpoint: str) -> str:
    from nanolocal.library.pull.hub import token_setting

    return _settings(vault).setting(token_setting(endpoint)) or ""


def _settings(vault: "Vault") -> "Conversations":
    from nanolocal.vault.conversations import Conversations

    return Conversations(vault.database, vault.blobs)


def _typed(endpoint: str) -> str:
    import getpass

    if sys.stdin.isatty():
        output.note(f"the token of your account on {endpoint}, for reading only; it is kept encrypted")
        return _checked(getpass.getpass("Token: ", stream=sys.stderr))
    return _checked(sys.stdin.readline())


def _checked(text: str) -> str:
    token = text.strip()
    if not token or len(token) > _LONGEST or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError("this is no token", "copy it from the hub's settings, on one line")
    return token
