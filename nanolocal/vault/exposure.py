"""Who else could read a vault: where its files lie, who may open them, what they look like, and what opens them."""

import os
import re
import shlex
import stat
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from nanolocal.checks import Check, State
from nanolocal.errors import NanolocalError
from nanolocal.vault.files import check_local
from nanolocal.vault.header import Header, SlotKind
from nanolocal.vault.keys import parse_recovery_code
from nanolocal.vault.layout import BACKUP, DATABASE, HEADER, KEYFILE, PROMPTS, read_header

_CLEAR_BY_DESIGN = {HEADER, BACKUP, KEYFILE, f"{DATABASE}-shm"}
_OURS = re.compile(rf"{re.escape(DATABASE)}.*|(blobs|{PROMPTS})/[0-9a-f]{{32}}|snapshots/.*\.db")
_SAMPLE = 64 * 1024
_RANDOM_RATIO = 0.99
_SHORT, _FEW_LETTERS = 12, 6


def checks(directory: Path, secret: str | None) -> Iterator[Check]:
    """All of them, without opening the vault; ``secret`` is what the user opens it with."""
    yield place(directory)
    yield permissions(directory)
    yield ciphertext(directory)
    try:
        header = read_header(directory)
    except NanolocalError as error:
        yield Check("door", State.SKIPPED, f"what opens the vault is not known: {error.message}")
        return
    yield door(header, secret)
    yield recovery(header)


def place(directory: Path) -> Check:
    """Whether the vault lies on a disk of this machine."""
    try:
        check_local(directory)
    except NanolocalError as error:
        return Check("place", State.WRONG, error.message, "move it to a disk of this machine: --home DIR")
    return Check("place", State.OK, "the vault lies on this machine, not on a network drive")


def permissions(directory: Path) -> Check:
    """Whether the owner alone may use the vault's directories and files."""
    if os.name != "posix":
        return Check("permissions", State.SKIPPED, "who may open the vault's files is not looked at on this system")
    found = _below(directory)
    top = directory.stat()
    others = [path for path, facts in found.items() if stat.S_IMODE(facts.st_mode) & 0o077]
    foreign = [path for path, facts in found.items() if facts.st_uid != os.getuid()]
    close = f"close the vault's folder to others: chmod -R go-rwx {shlex.quote(str(directory))}"
    if stat.S_IMODE(top.st_mode) & 0o077:
        return Check("permissions", State.WRONG, "other users of this machine can look into the vault's folder", close)
    if others:
        says = f"others could read {_named(others, directory)} if the vault's folder were open"
        return Check("permissions", State.WARNING, says, close)
    if foreign or top.st_uid != os.getuid():
        says = f"another user of this machine owns {_named(foreign or [directory], directory)}"
        own = f"make the vault's files yours: sudo chown -R $USER {shlex.quote(str(directory))}"
        return Check("permissions", State.WARNING, says, own)
    return Check("permissions", State.OK, f"no other user may open the vault's folder or anything in it ({len(found)})")


def ciphertext(directory: Path) -> Check:
    """Whether what is in the files looks like random bytes: text, pictures and databases in clear do not."""
    files = [path for path, facts in _below(directory).items() if stat.S_ISREG(facts.st_mode)]
    clear = [path for path in files if not _looks_random(path, directory)]
    ours = [path for path in clear if _OURS.fullmatch(path.relative_to(directory).as_posix())]
    if ours:
        says = f"not encrypted, or not all of it: {_named(ours, directory)}"
        return Check("ciphertext", State.WRONG, says, "repair what can be repaired: nanolocal vault restore")
    if clear:
        says = f"in the vault's folder lies something in clear: {_named(clear, directory)}"
        return Check("ciphertext", State.WARNING, says, f"nanolocal did not write it; move it out of {directory}")
    return Check("ciphertext", State.OK, "every file looks like random noise: no text, no picture, no title")


def door(header: Header, secret: str | None) -> Check:
    """What opens the vault day by day, and what that is worth."""
    slot = header.slot(SlotKind.PASSPHRASE)
    if slot is not None:
        if secret is not None and parse_recovery_code(secret) is None and _is_easy(secret):
            says = "the passphrase is short or simple: a fast computer may guess it"
            return Check("door", State.WARNING, says, "choose a longer passphrase: nanolocal vault passphrase")
        cost = slot.stretching.memory_kib // 1024 if slot.stretching else 0
        return Check("door", State.OK, f"a passphrase opens it; every guess at it takes {cost} MB of memory")
    if header.slot(SlotKind.KEYRING):
        return Check("door", State.OK, "your system's keyring opens it: as safe as your login to this machine")
    if header.slot(SlotKind.KEYFILE):
        says = "a key file beside it opens it: whoever copies the folder can read all"
        return Check("door", State.WARNING, says, "set a passphrase: nanolocal vault passphrase")
    return Check("door", State.OK, "only the recovery code opens it")


def recovery(header: Header) -> Check:
    """Whether there is a way in when passphrase, keyring or key file are lost."""
    if header.slot(SlotKind.RECOVERY):
        return Check("recovery", State.OK, "a recovery code on paper opens it too: keep it where nobody looks")
    says = "there is no recovery code: without passphrase or key file all is lost"
    return Check("recovery", State.WARNING, says, "make a recovery code: nanolocal vault recovery")


def _is_easy(passphrase: str) -> bool:
    return len(passphrase) < _SHORT or len(set(passphrase)) < _FEW_LETTERS


def _below(directory: Path) -> dict[Path, os.stat_result]:
    """Everything in ``directory``; what another process removes meanwhile is left out."""
    found = {}
    for path in sorted(directory.rglob("*")):
        with suppress(FileNotFoundError):
            found[path] = path.lstat()
    return found


def _looks_random(path: Path, directory: Path) -> bool:
    """Random bytes do not get smaller. The whole is checked by its seals; here a look at both ends and the middle."""
    if path.relative_to(directory).as_posix() in _CLEAR_BY_DESIGN:
        return True
    with suppress(FileNotFoundError), path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        for start in sorted({0, max(0, size // 2 - _SAMPLE // 2), max(0, size - _SAMPLE)}):
            file.seek(start)
            if _is_in_clear(file.read(_SAMPLE)):
                return False
    return True


def _is_in_clear(data: bytes) -> bool:
    starts_clear = data.startswith(b"SQLite format 3")
    return bool(data) and (starts_clear or data.isascii() or len(zlib.compress(data, 1)) < _RANDOM_RATIO * len(data))


def _named(paths: list[Path], directory: Path) -> str:
    first = paths[0].relative_to(directory).as_posix()
    return f"{first} and {len(paths) - 1} more" if len(paths) > 1 else first
