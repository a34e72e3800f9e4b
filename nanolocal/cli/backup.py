"""``nanolocal vault backup`` and ``vault restore --from``: the whole vault in one encrypted file, and back."""

import argparse
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from nanolocal.cli import output
from nanolocal.cli.common import ask_passphrase, given_passphrase, is_quiet, open_vault, paths_of, wants_json
from nanolocal.errors import UsageError

if TYPE_CHECKING:
    from nanolocal.vault.unpacking import Inventory


def run_backup(args: argparse.Namespace) -> int:
    """Write everything into FILE, read it back, and say what it holds."""
    from nanolocal import bootstrap

    if bootstrap.vault_state(paths_of(args)) is bootstrap.VaultState.ABSENT:
        raise UsageError(f"there is no vault in {paths_of(args).vault}", "nanolocal vault status")
    progress = output.Progress(is_quiet(args))
    with open_vault(args) as vault:
        try:
            held = bootstrap.back_up_vault(vault, args.file, partial(_show, progress), overwrite=args.force)
        finally:
            progress.clear()
    size = args.file.stat().st_size
    if wants_json(args):
        output.as_json({"file": str(args.file), "bytes": size, **asdict(held)})
        return 0
    output.line(f"backed up {_in_words(held)}")
    output.line(f"{args.file}: {size:,} bytes, read back whole; this vault's passphrase or recovery code opens it")
    return 0


def run_restore(args: argparse.Namespace) -> int:
    """Make the vault of this home from a backup, and say what came back."""
    from nanolocal import bootstrap

    paths, progress = paths_of(args), output.Progress(is_quiet(args))

    def secret() -> str:
        progress.clear()
        return given_passphrase(args) or ask_passphrase("Passphrase or recovery code: ")

    try:
        held = bootstrap.restore_backup(paths, args.backup, secret, partial(_show, progress))
    finally:
        progress.clear()
    state = bootstrap.vault_state(paths)
    if wants_json(args):
        output.as_json({"restored": True, "file": str(args.backup), "opened_by": state, **asdict(held)})
    else:
        output.line(f"restored {_in_words(held)}, from a backup of {held.when}")
    if state is bootstrap.VaultState.KEYFILE:
        output.note("a new key file opens this vault now; set a passphrase: nanolocal vault passphrase")
    return 0


def _show(progress: output.Progress, what: str, done: int, total: int) -> None:
    progress.show(f"{what}: {done:,} of {total:,} bytes")


def _in_words(held: "Inventory") -> str:
    counts = {"conversation": held.conversations, "message": held.messages, "file": held.files}
    words = [f"{count:,} {name}{'' if count == 1 else 's'}" for name, count in counts.items()]
    return f"{', '.join(words)} and {held.entries:,} ledger {'entry' if held.entries == 1 else 'entries'}"
