"""What commands share: where the home is, how the vault opens, how a turn is rendered as lines."""

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from nanolocal.cli import output
from nanolocal.errors import UsageError, VaultLocked
from nanolocal.paths import Paths

if TYPE_CHECKING:
    from nanolocal.bootstrap import Session
    from nanolocal.ledger.wallet import Wallet
    from nanolocal.vault.vault import Vault

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def paths_of(args: argparse.Namespace) -> Paths:
    """Where this invocation keeps things."""
    return Paths.choose(getattr(args, "home", None))


def wants_json(args: argparse.Namespace) -> bool:
    """Whether ``--json`` was given."""
    return bool(getattr(args, "json", False))


def is_quiet(args: argparse.Namespace) -> bool:
    """Whether ``--quiet`` was given."""
    return bool(getattr(args, "quiet", False))


def given_passphrase(args: argparse.Namespace) -> str | None:
    """The passphrase as typed before, from ``--passphrase-file`` or from the environment."""
    typed: str | None = getattr(args, "passphrase", None)
    if typed is not None:
        return typed
    file = getattr(args, "passphrase_file", None)
    if file is None:
        return os.environ.get("NANOLOCAL_PASSPHRASE") or None
    try:
        first = Path(file).read_text(encoding="utf-8").split("\n", 1)[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the passphrase from {file}: {error}", "give another file") from error
    if not first:
        raise UsageError(f"the first line of {file} is empty", "put the passphrase on it")
    return first


def open_session(args: argparse.Namespace) -> "Session":
    """Open the vault with what was given, or ask on the terminal; a new home gets a vault of its own."""
    from nanolocal import bootstrap

    paths = paths_of(args)
    is_new = bootstrap.vault_state(paths) is bootstrap.VaultState.ABSENT
    passphrase = given_secret(args)
    session = bootstrap.open_session(paths, passphrase, tells_licences=not is_quiet(args))
    tell_notices(session.vault)
    if is_new and not is_quiet(args) and sys.stderr.isatty():
        kept = "your passphrase" if passphrase else "a key file; `nanolocal vault passphrase` sets a passphrase"
        output.note(f"made an encrypted vault in {paths.vault}, opened by {kept}")
    return session


def with_session(command: "Callable[[argparse.Namespace, Session], int]") -> Callable[[argparse.Namespace], int]:
    """``command`` as one that opens the session it works on, and closes it."""

    def run(args: argparse.Namespace) -> int:
        import asyncio

        session = open_session(args)
        try:
            return command(args, session)
        finally:
            asyncio.run(session.close())

    return run


def whole_id(session: "Session", start: str) -> str:
    """The conversation whose id begins with ``start``; raises ``UsageError`` when there is none or more than one."""
    if session.store.chat_exists(start):
        return start
    matches = [row.id for row in session.store.chats(1_000_000) if start and row.id.startswith(start)]
    if len(matches) == 1:
        return matches[0]
    found = "more than one conversation begins" if matches else "no conversation begins"
    raise UsageError(f"{found} with {start!r}", "nanolocal chats list")


@contextmanager
def open_vault(args: argparse.Namespace) -> Iterator["Vault"]:
    """The vault alone, closed at the end of the block."""
    from nanolocal import bootstrap

    vault = bootstrap.open_vault(paths_of(args), given_secret(args))
    try:
        tell_notices(vault)
        yield vault
    finally:
        vault.close()


@contextmanager
def open_wallet(args: argparse.Namespace, *, to_read: bool = False) -> Iterator["Wallet"]:
    """The ledger, closed at the end of the block. ``to_read`` says first where nothing can be spent, and why."""
    from nanolocal import bootstrap

    with open_vault(args) as vault:
        wallet = bootstrap.open_wallet(vault)
        if to_read and (problem := wallet.problem) is not None:
            output.note(f"the ledger is read-only: {problem.message}; {problem.hint} accepts it")
        yield wallet


def given_secret(args: argparse.Namespace) -> str | None:
    """What opens the vault: the passphrase or recovery code given or asked for; ``None`` for a key file."""
    from nanolocal import bootstrap

    given = given_passphrase(args)
    if given is None and bootstrap.vault_state(paths_of(args)) is bootstrap.VaultState.PASSPHRASE:
        given = args.passphrase = ask_passphrase("Passphrase: ")
    return given


def tell_notices(vault: "Vault") -> None:
    """Say once what the vault has to say, such as what a repair could not save."""
    notices = vault.notices
    for notice in notices:
        output.note(notice)
    if notices:
        vault.dismiss_notices()


def agreed(args: argparse.Namespace, question: str) -> bool:
    """Whether the user agrees to what cannot be undone: by ``--yes``, or asked on the terminal."""
    if args.yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError("this cannot be undone", "add --yes to agree")
    output.piece(f"{question} [y/N] ")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def ask_passphrase(prompt: str) -> str:
    """Read a passphrase from the terminal without showing it; raises ``VaultLocked`` when there is none."""
    import getpass

    if not sys.stdin.isatty():
        raise VaultLocked("the vault is locked", "set NANOLOCAL_PASSPHRASE or use --passphrase-file FILE")
    try:
        return getpass.getpass(prompt, stream=sys.stderr)
    except EOFError as error:
        raise VaultLocked("the vault is locked", "type the passphrase") from error
