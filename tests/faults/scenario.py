"""One piece of work on a vault, as a process of its own that can be killed: python -m tests.faults.scenario WHAT HOME.

``write`` is the work that never ends: one turn after the other. A line on stdout says what is stored for good by then.
Exit 0: done; 3: refused with an error of ours or the system's.
"""

import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from nanolocal.chat.messages import Attachment, Role
from nanolocal.errors import NanolocalError
from nanolocal.ledger.losses import LedgerLosses
from nanolocal.vault import repair
from nanolocal.vault.backup import make, restore
from nanolocal.vault.imported import ImportedChat, ImportedMessage
from nanolocal.vault.promptcache import PromptCacheStore
from nanolocal.vault.unpacking import Inventory
from nanolocal.vault.vault import Vault
from tests.fakes.homes import BUILD, CHEAP, MIGRATIONS, PASSPHRASE, Home, home, open_vault, rooms

PICTURE = Attachment("p.png", "image/png", b"y" * 999)
IMPORTED = ImportedChat(
    "elsewhere:1",
    "imported",
    1.0,
    2.0,
    None,
    (
        ImportedMessage("1", None, Role.USER, "imported prompt", 1.0, None, (PICTURE,)),
        ImportedMessage("2", "1", Role.ASSISTANT, "imported answer", 2.0),
    ),
)
SHARED = ("turn", "delete", "import", "passphrase", "recovery", "snapshot", "read")
"""What may be done while another process has the vault open."""
SCENARIOS = (
    "create", "turn", "delete", "import", "passphrase", "recovery", "snapshot", "rotate", "rekey", "restore", "erase",
    "backup", "restore_backup", "read",
)  # fmt: skip


def work(what: str, directory: Path) -> None:
    """Do it; what it prints is acknowledged."""
    if what == "erase":
        Vault.erase(directory)
        return
    if what == "restore":
        repair.restore(directory, None, MIGRATIONS, LedgerLosses()).close()
        return
    if what == "write":
        write_until_killed(directory, "beside", acknowledge, None)
    if what == "restore_backup":
        bring_back(directory, (directory.parent / "code").read_text())
        acknowledge("restored")
        return
    with home(directory, None) as here:
        work_inside(what, here)


def work_inside(what: str, here: Home) -> None:
    """What is done in an open vault."""
    match what:
        case "turn":
            here.turn("kept prompt", "kept answer", picture=PICTURE)
            acknowledge("kept prompt")
        case "delete":
            here.store.delete_chat(here.store.search('"second prompt"', 1)[0].chat_id)
            acknowledge("deleted")
        case "import":
            here.store.import_chat(IMPORTED)
            acknowledge("imported")
        case "passphrase":
            here.vault.change_passphrase("new", CHEAP)
        case "recovery":
            acknowledge(here.vault.make_recovery_code())
        case "rotate":
            here.vault.rotate()
        case "rekey":
            here.vault.rekey(None)
        case "read":
            keep_what_was_read(here)
        case "backup":
            acknowledge(here.vault.make_recovery_code())
            back_up(here.vault, here.vault.directory.with_name("backup"))
            acknowledge("backed up")


def keep_what_was_read(here: Home) -> None:
    """Keep what an engine has read, and once more, as the program does; tells the file that can be found then."""
    cache, chat_id = PromptCacheStore(here.vault.database), here.store.chats(1)[0].id
    for _ in range(2):
        if (snapshot := cache.reserve(999)) is None:
            continue
        try:
            snapshot.path.write_bytes(secrets.token_bytes(999))
        except OSError:
            cache.drop(snapshot)
        else:
            cache.keep(snapshot, BUILD.sha256, chat_id)
    if (kept := cache.find(BUILD.sha256, chat_id)) is not None:
        acknowledge(kept.path.name)


def back_up(vault: Vault, file: Path) -> Inventory:
    """A backup as the command makes it."""
    return make(vault, file, MIGRATIONS, LedgerLosses(), lambda *_: None)


def bring_back(directory: Path, secret: str | None, file: Path | None = None) -> Inventory:
    """A vault in ``directory`` from ``file``, or from ``backup`` beside it."""
    file = file or directory.with_name("backup")
    return restore(file, directory, lambda: secret, MIGRATIONS, LedgerLosses(), lambda *_: None)


def write_until_killed(
    directory: Path, name: str, report: Callable[[str], None], passphrase: str | None = PASSPHRASE
) -> NoReturn:
    """One turn after the other, each reported once it is stored."""
    here = rooms(open_vault(directory, passphrase))
    number = 0
    while True:
        number += 1
        picture = Attachment("p.png", "image/png", f"{name} {number}".encode() * 50) if number % 3 == 0 else None
        ids = here.turn(f"prompt {name} {number}", f"answer {name} {number}", picture=picture)
        report(" ".join((*ids, name, str(number))))


def acknowledge(line: str) -> None:
    """Tell the outside."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        work(sys.argv[1], Path(sys.argv[2]))
    except (NanolocalError, OSError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.exit(3)
