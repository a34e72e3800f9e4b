"""``nanolocal vault``: the encrypted store itself."""

import argparse
from pathlib import Path

from nanolocal.cli import backup, output, verify
from nanolocal.cli.common import (
    Subparsers,
    agreed,
    ask_passphrase,
    given_secret,
    open_vault,
    paths_of,
    tell_notices,
    wants_json,
)
from nanolocal.errors import UsageError
from nanolocal.settings import load as load_settings

_OPENED_BY = {
    "absent": "nothing yet",
    "passphrase": "a passphrase",
    "keyfile": "a key file beside it",
    "keyring": "this system's keyring",
}


def add(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the command and its parts."""
    parser = commands.add_parser("vault", parents=[common], help="the encrypted store")
    parser.set_defaults(run=run_status)
    parts = parser.add_subparsers(metavar="PART")
    parts.add_parser("status", parents=[common], help="where it is and what opens it").set_defaults(run=run_status)
    parts.add_parser("lock", parents=[common], help="lock every running nanolocal").set_defaults(run=run_lock)
    change = parts.add_parser("passphrase", parents=[common], help="set, change or remove the passphrase")
    ways = change.add_mutually_exclusive_group()
    ways.add_argument("--remove", action="store_true", help="go back to a key file")
    ways.add_argument("--keyring", action="store_true", help="keep the key in this system's keyring instead")
    change.set_defaults(run=run_passphrase)
    recovery = parts.add_parser("recovery", parents=[common], help="a new recovery code, shown once")
    recovery.set_defaults(run=run_recovery)
    rekey = parts.add_parser("rekey", parents=[common], help="new keys for everything; old headers open nothing")
    rekey.set_defaults(run=run_rekey)
    verify.add(parts, common)
    cache = parts.add_parser("cache", parents=[common], help="what models have read, kept to save time; or clear it")
    cache.add_argument("--clear", action="store_true", help="remove all of it; conversations stay")
    cache.set_defaults(run=run_cache)
    save = parts.add_parser("backup", parents=[common], help="everything in one encrypted file, for another machine")
    save.add_argument("file", type=Path, metavar="FILE")
    save.add_argument("--force", action="store_true", help="replace FILE")
    save.set_defaults(run=backup.run_backup)
    restore = parts.add_parser("restore", parents=[common], help="repair from a snapshot, or bring a backup back")
    source = restore.add_mutually_exclusive_group()
    source.add_argument("--snapshot", metavar="NAME", help="go back to this one; `vault status` lists them")
    source.add_argument("--from", type=Path, metavar="FILE", dest="backup", help="make the vault from a backup")
    restore.add_argument("--yes", action="store_true", help="do not ask before going back to a named snapshot")
    restore.set_defaults(run=run_restore)
    erase = parts.add_parser("erase", parents=[common], help="destroy the vault and its keys for good")
    erase.add_argument("--yes", action="store_true", help="do not ask")
    erase.set_defaults(run=run_erase)


def run_status(args: argparse.Namespace) -> int:
    """Say where the vault is and what opens it; needs no passphrase."""
    from nanolocal import bootstrap
    from nanolocal.vault import promptcache

    paths = paths_of(args)
    state = bootstrap.vault_state(paths)
    size = sum(file.stat().st_size for file in paths.vault.rglob("*") if file.is_file())
    recovery = bootstrap.has_recovery_code(paths)
    copies = bootstrap.snapshots(paths)
    cache = promptcache.size_of(paths.vault)
    if wants_json(args):
        names = [copy.path.name for copy in copies]
        found = {"path": str(paths.vault), "state": state, "bytes": size, "recovery_code": recovery}
        output.as_json({**found, "cache_bytes": cache, "snapshots": names})
        return 0
    output.line(f"vault      {paths.vault}")
    output.line(f"opened by  {_OPENED_BY[state]}")
    output.line(f"recovery   {'a code on paper' if recovery else 'none: nanolocal vault recovery makes a code'}")
    output.line(f"size       {size:,} bytes")
    output.line(f"cache      {cache:,} bytes of these hold what models have read: nanolocal vault cache")
    for copy in copies:
        output.line(f"snapshot   {copy.when}  {copy.path.name}")
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
        if args.keyring:
            opener = vault.use_keyring()
        else:
            opener = "a key file" if args.remove else "the new passphrase"
            vault.change_passphrase(None if args.remove else _new_passphrase())
    output.line(f"the vault is now opened by {opener}")
    return 0


def run_recovery(args: argparse.Namespace) -> int:
    """Make a recovery code and show it, this once."""
    with open_vault(args) as vault:
        code = vault.make_recovery_code()
    _show_code(args, code)
    return 0


def run_rekey(args: argparse.Namespace) -> int:
    """Change every key; the passphrase stays, a recovery code is replaced."""
    with open_vault(args) as vault:
        code = vault.rekey(given_secret(args))
    if code is not None:
        _show_code(args, code)
    elif wants_json(args):
        output.as_json({"rekeyed": True, "recovery_code": None})
    else:
        output.line("every key was changed")
    return 0


def run_cache(args: argparse.Namespace) -> int:
    """Say how much disk the prompt cache takes and may take, or clear it."""
    from nanolocal.vault.promptcache import PromptCacheStore, size_of

    with open_vault(args) as vault:
        cache = PromptCacheStore(vault.database, load_settings(paths_of(args).settings).cache_mb)
        cleared = cache.clear() if args.clear else None
        size, most = size_of(vault.directory), cache.budget()
    if wants_json(args):
        output.as_json({"bytes": size, "budget_bytes": most, "cleared_bytes": cleared})
    elif cleared is not None:
        output.line(f"cleared {cleared:,} bytes; every conversation is read again when it goes on")
    else:
        output.line(f"{size:,} bytes hold what models have read of conversations; at most {most:,}")
    return 0


def run_restore(args: argparse.Namespace) -> int:
    """Go back to a snapshot, or go on without what is missing, and say what was lost."""
    from nanolocal import bootstrap

    if args.backup is not None:
        return backup.run_restore(args)
    paths = paths_of(args)
    snapshot = None
    if args.snapshot is not None:
        snapshot = next((copy.path for copy in bootstrap.snapshots(paths) if copy.path.name == args.snapshot), None)
        if snapshot is None:
            raise UsageError(f"there is no snapshot {args.snapshot}", "nanolocal vault status")
        if not agreed(args, "Go back to that snapshot? What came later is set aside."):
            return 0
    vault = bootstrap.restore_vault(paths, given_secret(args), snapshot)
    try:
        notices = vault.notices
        if wants_json(args):
            output.as_json({"restored": True, "notices": notices})
        tell_notices(vault)
    finally:
        vault.close()
    return 0


def run_erase(args: argparse.Namespace) -> int:
    """Destroy the vault; models and settings stay."""
    from nanolocal import bootstrap

    paths = paths_of(args)
    if bootstrap.vault_state(paths) is bootstrap.VaultState.ABSENT:
        raise UsageError(f"there is no vault in {paths.vault}", "nanolocal vault status")
    if not agreed(args, "Erase every conversation, picture and credit for good?"):
        return 0
    bootstrap.erase_vault(paths)
    if wants_json(args):
        output.as_json({"erased": str(paths.vault)})
    else:
        output.line("erased")
    return 0


def _show_code(args: argparse.Namespace, code: str) -> None:
    if wants_json(args):
        output.as_json({"recovery_code": code})
        return
    output.line(code[: len(code) // 2])
    output.line(code[len(code) // 2 + 1 :])
    output.note("write it down: it opens this vault when the passphrase or key file is lost, and is not shown again")


def _new_passphrase() -> str:
    new = ask_passphrase("New passphrase: ")
    if not new:
        raise UsageError("the passphrase is empty", "nanolocal vault passphrase --remove goes back to a key file")
    if ask_passphrase("Once more: ") != new:
        raise UsageError("the two are not the same; nothing was changed", "nanolocal vault passphrase")
    return new
