"""What these tests and ``scripts/stress_vault.py`` share: writers to kill, faults to inject, bytes to flip.

Each check returns what is wrong in words, nothing where all is well, so that a sweep can go on and count.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from nanolocal.chat.messages import Attachment
from nanolocal.errors import Damaged, NanolocalError, UsageError, VaultLocked
from nanolocal.vault import snapshots
from nanolocal.vault.database import Database
from nanolocal.vault.header import decode
from nanolocal.vault.layout import read_header
from nanolocal.vault.scan import leaks
from nanolocal.vault.unlock import unlock, unsealed_keys
from nanolocal.vault.vault import Vault, VaultState
from tests.fakes.homes import Child, Home, fork, home, open_vault, rooms
from tests.faults.scenario import back_up, bring_back, write_until_killed

ROOT = Path(__file__).parents[2]
CALLS = ("pwrite64", "write", "fsync", "rename", "ftruncate", "unlink", "rmdir")
POINTS = {
    "signal=SIGKILL": CALLS,
    "error=ENOSPC": ("pwrite64", "write"),
    "error=EIO": ("pwrite64", "write", "fsync"),
}
"""What happens, in strace's words, and at which calls."""
PRIVATE = ["first prompt", "kept prompt", "imported prompt"]
PAGE = 4096
FIRST = {"first prompt", "first answer", "second prompt", "second answer"}


# writers


def writer(directory: Path, name: str) -> Child:
    """A process that writes until it is killed."""
    return fork(lambda report: write_until_killed(directory, name, report))


def check_turns(here: Home, acknowledged: list[str]) -> None:
    """Every acknowledged turn is there, with its picture."""
    for line in acknowledged:
        chat_id, prompt_id, answer_id, name, number = line.split()
        prompt, answer = here.store.path(chat_id)
        assert (prompt.id, prompt.message.text) == (prompt_id, f"prompt {name} {number}")
        assert (answer.id, answer.message.text) == (answer_id, f"answer {name} {number}")
        assert [item.data for item in answer.message.attachments] == (
            [f"{name} {number}".encode() * 50] if int(number) % 3 == 0 else []
        )


def check(here: Home, acknowledged: list[str]) -> None:
    """Every acknowledged turn is there, with its picture, and was paid for; no hold is left."""
    check_turns(here, acknowledged)
    checked = here.wallet.verify((here.vault.anchor.seq, here.vault.anchor.head))
    assert checked.open_holds == 0
    read = here.vault.database.execute
    spent = read("SELECT count(*), coalesce(sum(cost_micro), 0) FROM message WHERE role = 'assistant'")
    settled = read("SELECT count(*), coalesce(sum(amount), 0) FROM entry WHERE kind = 'settle'")
    assert spent == settled
    assert here.wallet.balance() == 100_000 - settled[0][1]


def kill_at_random(directory: Path, name: str, chance: random.Random, processes: int = 1) -> int:
    """Let writers start, kill -9 each at a random moment, check; returns how many turns were acknowledged."""
    children = [writer(directory, f"{name}{number}") for number in range(processes)]
    acknowledged = [next(child.lines) for _ in range(chance.randrange(4 // processes)) for child in children]
    for _ in range(chance.randrange(200_000)):  # a moment within the next turn, whatever the machine's speed
        pass
    for child in children:
        acknowledged += child.kill()
    with home(directory) as here:
        check(here, acknowledged)
        assert here.vault.notices == []
    return len(acknowledged)


def small_vault(directory: Path) -> Path:
    """A vault with a key file, two conversations and a picture."""
    with home(directory, None) as here:
        here.turn("first prompt", "first answer", picture=Attachment("p.png", "image/png", b"x" * 300))
        here.turn("second prompt", "second answer")
    return directory


def texts(here: Home) -> set[str]:
    """Every message's text."""
    return {stored.message.text for chat in here.store.chats(10**6) for stored in here.store.path(chat.id)}


# faults at system calls


def can_trace() -> bool:
    """Whether strace is here and may trace."""
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-o", "/dev/null", "true"], check=False, capture_output=True).returncode == 0


@dataclass(frozen=True, slots=True)
class Fault:
    """``how`` (strace's words: signal=SIGKILL, error=ENOSPC) at the ``step``-th ``call`` of scenario ``what``."""

    what: str
    call: str
    step: int
    how: str


def prepared(what: str, whole: Path, directory: Path) -> None:
    """The vault that scenario ``what`` starts from."""
    if what == "create":
        return
    shutil.copytree(whole, directory)
    if what == "restore_backup":
        with home(directory, None) as here:
            directory.with_name("code").write_text(here.vault.make_recovery_code())
            back_up(here.vault, directory.with_name("backup"))
        shutil.rmtree(directory)
    if what == "restore":
        flip(directory / "vault.db", 300, 1)
    if what == "snapshot":
        for snapshot in snapshots.listed(directory / "snapshots"):
            snapshot.path.unlink()


def count_calls(what: str, whole: Path, room: Path) -> dict[str, int]:
    """How often the scenario makes each call of ``CALLS``, in its busiest thread."""
    directory = room / "counted" / "home"
    prepared(what, whole, directory)
    _run(["strace", "-f", "-qq", "-o", str(room / "count"), "-e", f"trace={','.join(CALLS)}"], what, directory)
    seen: dict[tuple[str, str], int] = {}
    for line in (room / "count").read_text().splitlines():
        thread, _, rest = line.partition(" ")
        call = rest.strip().partition("(")[0]
        seen[call, thread] = seen.get((call, thread), 0) + 1
    shutil.rmtree(directory.parent)
    return {call: max((n for (name, _), n in seen.items() if name == call), default=0) for call in CALLS}


def injected(fault: Fault, whole: Path, room: Path, *, beside: bool = False) -> tuple[bool, list[str]]:
    """Run a scenario with a fault in it: whether it struck, and what is wrong with the vault afterwards.

    ``beside`` lets another process, which nothing disturbs, write all the while.
    """
    directory, log = room / "place" / "home", room / "log"
    prepared(fault.what, whole, directory)
    inject = f"inject={fault.call}:{fault.how}:when={fault.step}"
    strace = ["strace", "-f", "-qq", "-o", str(log), "-e", f"trace={fault.call}", "-e", inject]
    with _writing(directory) if beside else nullcontext(list[str]()) as written:
        done = _run(strace, fault.what, directory)
    struck = "INJECTED" in log.read_text() or "killed by SIGKILL" in log.read_text()
    wrong = [] if done.returncode in (0, 3, -9, 137) else [f"ended with {done.returncode}: {done.stderr[-300:]}"]
    wrong += _aftermath(fault.what, directory, done.stdout, written, done.returncode == 0)
    wrong += [f"in clear: {leak}" for leak in leaks(directory.parent, PRIVATE)]
    shutil.rmtree(directory.parent)
    return struck, wrong


def _program(what: str, directory: Path) -> list[str]:
    return [sys.executable, "-m", "tests.faults.scenario", what, str(directory)]


def _run(prefix: list[str], what: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*prefix, *_program(what, directory)], cwd=ROOT, capture_output=True, text=True, check=False)


@contextmanager
def _writing(directory: Path) -> Iterator[list[str]]:
    """A block during which another process writes; afterwards the list holds the turns that it acknowledged."""
    written: list[str] = []
    with subprocess.Popen(_program("write", directory), cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        written.append(process.stdout.readline())
        try:
            yield written
        finally:
            process.kill()
            written += [line for line in process.stdout if line.endswith("\n")]


def _aftermath(what: str, directory: Path, acknowledged: str, written: list[str], ended_well: bool) -> list[str]:
    """What is wrong with a vault after a scenario was disturbed; it is opened twice."""
    if what == "erase" and (ended_well or _is_gone(directory)):
        return [] if _is_gone(directory) else ["erased, and still there"]
    if what == "create" and not (directory / "vault.hdr").exists() and ended_well:
        return ["made, and not there"]
    if what == "restore_backup" and not (directory / "vault.hdr").exists():
        if acknowledged:
            return ["restored, and not there"]
        bring_back(directory, directory.with_name("code").read_text())
    secret = "new" if what == "passphrase" and Vault.state(directory) is VaultState.PASSPHRASE else None
    wrong = []
    for _ in range(2):
        try:
            with home(directory, secret) as here:
                wrong += _missing(what, here, acknowledged) + _strays(here)
                check_turns(here, written)
                wrong += here.vault.verify()
                here.wallet.verify((here.vault.anchor.seq, here.vault.anchor.head))
                if what in ("restore", "restore_backup"):
                    here.vault.dismiss_notices()
                wrong += [f"a notice: {notice}" for notice in here.vault.notices]
        except (NanolocalError, OSError) as error:
            wrong.append(f"does not open: {error}")
        except (AssertionError, ValueError) as error:
            wrong.append(f"lost beside: {error}")
    if what == "recovery" and acknowledged:
        open_vault(directory, acknowledged.strip()).close()
    return wrong + (_wrong_backup(directory, acknowledged.split(), ended_well) if what == "backup" else [])


def _wrong_backup(directory: Path, acknowledged: list[str], ended_well: bool) -> list[str]:
    """A backup is there whole or not at all; only a kill leaves a part of one, and the vault clears its own."""
    file, wrong = directory.with_name("backup"), [str(path) for path in directory.glob("backup-*")]
    if not file.exists():
        return wrong + (["backed up, and not there"] if "backed" in acknowledged or ended_well else [])
    bring_back(directory.with_name("restored"), acknowledged[0], file)
    with home(directory.with_name("restored"), None) as here:
        return wrong + _missing("backup", here, "") + here.vault.verify()


def _is_gone(directory: Path) -> bool:
    """Whether nothing can open what is left."""
    try:
        open_vault(directory, None).close() if (directory / "vault.hdr").exists() else None
    except NanolocalError:
        return True
    return not (directory / "vault.hdr").exists()


def _strays(here: Home) -> list[str]:
    """What engines have read has a file for each row, and a row for each file."""
    rows = {row[0] for row in here.vault.database.execute("SELECT file FROM prompt_cache")}
    files = {path.name for path in (here.vault.directory / "prompts").glob("*")}
    return [f"alone: {name}" for name in rows ^ files]


def _missing(what: str, here: Home, acknowledged: str) -> list[str]:
    present = texts(here)
    pairs = [{"first prompt", "first answer"}, {"second prompt", "second answer"}]
    expected = set() if what == "create" else FIRST
    if what == "delete":
        expected = pairs[0]
        if acknowledged and present & pairs[1]:
            return ["deleted, and still there"]
    if what == "turn" and acknowledged:
        expected = expected | {"kept prompt", "kept answer"}
    if what == "import" and (acknowledged or "imported prompt" in present):
        expected = expected | {"imported prompt", "imported answer"}
    if what == "read" and acknowledged:
        expected = expected | {acknowledged.strip()}
        present |= {row[0] for row in here.vault.database.execute("SELECT file FROM prompt_cache")}
    return [f"lost: {text}" for text in sorted(expected - present)]


# flipped bytes


def flip(path: Path, position: int, pattern: int) -> None:
    """Change one byte in place."""
    with path.open("r+b") as file:
        file.seek(position)
        old = file.read(1)[0]
        file.seek(position)
        file.write(bytes([old ^ pattern]))


def vault_with_log(directory: Path) -> Path:
    """A small vault whose newest commits lie in the write-ahead log alone; without snapshots, which would repair it."""
    small_vault(directory)

    def store(report: Callable[[str], None]) -> None:
        here = rooms(open_vault(directory, None))
        here.turn("in the log", "too")
        report("stored")
        signal.pause()

    child = fork(store)
    assert next(child.lines) == "stored"
    child.kill()
    (directory / "vault.db-shm").unlink()
    snapshots.remove_all(directory / "snapshots")
    return directory


@dataclass(frozen=True, slots=True)
class Flip:
    """One byte of one file, and what it is changed by."""

    file: str
    position: int
    pattern: int


def every_flip(directory: Path, step: int, chance: random.Random) -> Iterator[Flip]:
    """Every ``step``-th byte of every file that holds anything."""
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        for position in range(0, path.stat().st_size, step):
            yield Flip(str(path.relative_to(directory)), position, chance.randrange(1, 256))


class Flipper:
    """Flips bytes of a vault one at a time and says what happened; the vault is whole again after each."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files = _contents(directory)
        self._logged = _pages_in(self._files.get("vault.db-wal", b""))
        header = read_header(directory)
        self._key = unsealed_keys(header, unlock(directory, header, None)).database
        with home(directory, None) as here:
            self._expected = _everything(here)
        self._reset()

    def outcome(self, change: Flip) -> str:
        """``reported``; ``repaired`` (a notice says so); ``renewed`` (the spare header, written anew at each opening);

        ``superseded`` (a page of which the log holds a newer one); ``same`` (a hexadecimal digit in the other case);
        ``SILENT`` where nobody said anything and none of these is proved.
        """
        flip(self._directory / change.file, change.position, change.pattern)
        try:
            return self._look(change)
        finally:
            self._reset()

    def is_seen_by_page_check(self, change: Flip) -> bool:
        """Whether the check of every page, which is a part of verifying, sees a flip in a database or snapshot."""
        path = self._directory / change.file
        flip(path, change.position, change.pattern)
        try:
            return not Database.is_whole(path, self._key)
        finally:
            flip(path, change.position, change.pattern)

    def _look(self, change: Flip) -> str:
        path = self._directory / change.file
        try:
            with home(self._directory, None) as here:
                if here.vault.notices:
                    return "repaired"
                if here.vault.verify():
                    return "reported"
                if _everything(here) == self._expected:
                    return self._proof(change, path)
                return "SILENT"
        except (Damaged, VaultLocked, UsageError):
            return "reported"

    def _proof(self, change: Flip, path: Path) -> str:
        """Why a byte that nobody missed did not matter."""
        if change.file == "vault.hdr.bak":
            decode(path.read_bytes())
            return "renewed"
        if change.file == "vault.db" and change.position // PAGE + 1 in self._logged:
            return "superseded"
        if change.file == "vault.key" and path.read_bytes().lower() == self._files[change.file].lower():
            return "same"
        return "SILENT"

    def _reset(self) -> None:
        now = _contents(self._directory)
        for name in now.keys() - self._files.keys():
            (self._directory / name).unlink()
        for name, data in self._files.items():
            if now.get(name) != data:
                path = self._directory / name
                path.unlink(missing_ok=True)
                path.parent.mkdir(mode=0o700, exist_ok=True)
                descriptor = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
                with os.fdopen(descriptor, "wb") as out:
                    out.write(data)


def small_backup(room: Path) -> tuple[Path, str]:
    """A backup of a small vault in ``room``, and the recovery code that opens it."""
    with home(small_vault(room / "home"), None) as here:
        code = here.vault.make_recovery_code()
        back_up(here.vault, room / "backup")
    return room / "backup", code


def damage_noticed(file: Path, code: str, position: int, room: Path, chance: random.Random | None) -> bool:
    """Flip a byte there, or cut the file off there without ``chance``: whether a restore reports it and leaves nothing.

    ``file`` is whole again afterwards.
    """
    data = file.read_bytes()
    try:
        if chance is None:
            os.truncate(file, position)
        else:
            flip(file, position, chance.randrange(1, 256))
        bring_back(room / "there", code, file)
    except Damaged:
        return Vault.state(room / "there") is VaultState.ABSENT
    finally:
        file.write_bytes(data)
    return False


def _pages_in(log: bytes) -> set[int]:
    """The pages of which a write-ahead log holds newer ones (https://www.sqlite.org/fileformat2.html#walformat)."""
    frames = range(32, len(log) - PAGE, 24 + PAGE)
    return {int.from_bytes(log[start : start + 4], "big") for start in frames}


def _contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def _everything(here: Home) -> list[object]:
    """Every text, file and price, as a user would meet them."""
    seen: list[object] = [here.wallet.balance(), here.wallet.history(99)]
    for chat in here.store.chats(99):
        for stored in here.store.path(chat.id):
            files = [item.data for item in stored.message.attachments]
            seen.append((chat.title, stored.message.text, stored.cost_micro, files, stored.damaged))
    return seen
