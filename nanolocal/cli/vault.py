"""``nanolocal vault``: the encrypted store itself."""

import argparse

from nanolocal.cli import output
from nanolocal.cli.common import Subparsers, ask_passphrase, open_vault, paths_of, wants_json
from nanolocal.errors import UsageError

_OPENED_BY = {"absent": "nothing yet", "passphrase": "a passphrase", "keyfile": "a key file beside it"}


def add(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the command and its parts."""
    parser = commands.add_parser("vault", parents=[common], help="the encrypted store")
    parser.set_defaults(run=run_status)
    parts = parser.add_subparsers(metavar="PART")
    parts.add_parser("status", parents=[common], help="where it is and what opens it").set_defaults(run=run_status)
    parts.add_parser("lock", parents=[common], help="lock every running nanolocal").set_defaults(run=run_lock)
    change = parts.add_parser("passphrase", parents=[common], help="set, change or remove the passphrase")
    change.add_argument("--remove", action="store_true", help="go back to a key file")
    change.set_defaults(run=run_passphrase)


def run_status(args: argparse.Namespace) -> int:
    """Say where the vault is and what opens it; needs no passphrase."""
    from nanolocal import bootstrap

    paths = paths_of(args)
    state = bootstrap.vault_state(paths)
    size = sum(file.stat().st_size for file in paths.vault.rglob("*") if file.is_file())
    if wants_json(args):
        output.as_json({"path": str(paths.vault), "state": state, "bytes": size})
        return 0
    output.line(f"vault      {paths.vault}")
    output.line(f"opened by  {_OPENED_BY[state]}")
    output.line(f"size       {size:,} bytes")
    return 0


def run_lock(args: argparse.Namespace) -> int:
    """Ask every running nanolocal to lock."""
    from nanolocal.running import lock_all

    asked = lock_all(paths_of(args))
    if wants_json(args):
        output.as_json({"locked": asked})
    else:
        output.line(f"locked {asked} running program{'' if asked == 1 else 's'}")
    return 0


def run_passphrase(args: argparse.Namespace) -> int:
    """Change what opens the vault; the data itself is not touched."""
    with open_vault(args) as vault:
        new = None if args.remove else _new_passphrase()
        vault.change_passphrase(new)
    output.line("the vault is now opened by " + ("a key file" if new is None else "the new passphrase"))
    return 0


def _new_passphrase() -> str:
    new = ask_passphrase("New passphrase: ")
    if not new:
        raise UsageError("the passphrase is empty", "nanolocal vault passphrase --remove goes back to a key file")
    if ask_passphrase("Once more: ") != new:
        raise UsageError("the two are not the same; nothing was changed", "nanolocal vault passphrase")
    return new
