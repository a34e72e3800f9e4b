"""A real vault with its rooms in a test's directory, opened as bootstrap does but with a cheap passphrase."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nanolocal.chat.messages import Answer, Attachment, Message, Role, Stopped, Timing, Usage
from nanolocal.chat.ports import Hold
from nanolocal.chat.routes import Build, Kind, Rejected, Route, RunnerUp
from nanolocal.ledger.losses import LedgerLosses
from nanolocal.ledger.schema import MIGRATIONS as LEDGER
from nanolocal.ledger.signing import DeviceKey
from nanolocal.ledger.wallet import Wallet
from nanolocal.vault import repair
from nanolocal.vault.conversations import Conversations
from nanolocal.vault.database import Database
from nanolocal.vault.keys import Stretching
from nanolocal.vault.schema import MIGRATIONS as VAULT
from nanolocal.vault.vault import Vault

MIGRATIONS = (*VAULT, *LEDGER)
CHEAP = Stretching(memory_kib=19 * 1024, iterations=1, lanes=1)
PASSPHRASE = "correct horse"
BUILD = Build("tiny:Q8_0", "Tiny", Kind.TEXT, Path("tiny.gguf"), "Q8_0", 800_000_000, "ab" * 32)
ROUTE = Route(
    "chat", BUILD, 2048, 0.9, 0.8, ("only one",), (RunnerUp("b:Q4", 0.5, "slower"),), (Rejected("c:Q4", "memory", "x"),)
)


@dataclass
class Home:
    vault: Vault
    store: Conversations
    wallet: Wallet

    def turn(
        self,
        prompt: str,
        answer: str,
        chat_id: str | None = None,
        attachments: tuple[Attachment, ...] = (),
        picture: Attachment | None = None,
        parent_id: str | None = None,
        title: str = "a title",
        system: str | None = None,
    ) -> tuple[str, str, str]:
        """Prompt and answer as the turn stores them; returns the ids of chat, prompt and answer."""
        with self.store.transaction() as tx:
            chat_id = chat_id or self.store.start_chat(tx, title, system)
            prompt_id = self.store.add_prompt(tx, chat_id, parent_id, Message(Role.USER, prompt, attachments))
        return chat_id, prompt_id, self.answer(chat_id, prompt_id, answer, picture)

    def hold(self, amount: int, chat_id: str | None = None) -> Hold:
        return reserve(self.vault.database, self.wallet, amount, chat_id=chat_id)

    def answer(self, chat_id: str, prompt_id: str, text: str, picture: Attachment | None = None) -> str:
        hold = self.hold(50, chat_id)
        with self.store.transaction() as tx:
            cost = self.wallet.settle(tx, hold, BUILD, USAGE, chat_id)
            return self.store.add_answer(tx, chat_id, prompt_id, an_answer(text, cost, picture), hold)


USAGE = Usage(100, 20, 30, 0)
DEVICE = DeviceKey(bytes(range(1, 33)))


def reserve(
    database: Database,
    wallet: Wallet,
    amount: int,
    idem: str | None = None,
    chat_id: str | None = None,
    build: Build = BUILD,
    key: str | None = None,
) -> Hold:
    """A hold in a transaction of its own."""
    with database.transaction() as tx:
        return wallet.hold(tx, build, amount, chat_id=chat_id, key=key, idem=idem)


def an_answer(text: str, cost: int = 0, picture: Attachment | None = None, problem: str | None = None) -> Answer:
    timing = Timing(0.1, 0.2, 300.0, 25.5, 1.0)
    return Answer(
        text, (picture,) if picture else (), ROUTE, USAGE, timing, Stopped.END, cost, 0, 1.5, None, None, 0, problem
    )


def a_hold(number: int) -> Hold:
    return Hold(f"hold-{number}", 0)


def open_vault(directory: Path, passphrase: str | None = PASSPHRASE) -> Vault:
    if (directory / "vault.hdr").exists():
        return repair.open_vault(directory, passphrase, MIGRATIONS, LedgerLosses())
    return Vault.create(directory, passphrase, MIGRATIONS, CHEAP)


def rooms(vault: Vault) -> Home:
    store, anchor = Conversations(vault.database, vault.blobs), vault.anchor  # read once: others may move it
    device = DeviceKey(vault.keys.device)
    wallet = Wallet.open(vault.database, device, (anchor.seq, anchor.head), vault.keep_anchor, drafts=store)
    return Home(vault, store, wallet)


@contextmanager
def home(directory: Path, passphrase: str | None = PASSPHRASE) -> Iterator[Home]:
    vault = open_vault(directory, passphrase)
    try:
        yield rooms(vault)
    finally:
        vault.close()


@dataclass
class Child:
    """A forked process that runs real code on a real vault and reports lines through a pipe."""

    pid: int
    lines: Iterator[str]

    def kill(self) -> list[str]:
        """kill -9; returns the lines it had still reported. A child that failed by itself fails the test."""
        os.kill(self.pid, signal.SIGKILL)
        return self.finish(-signal.SIGKILL)

    def finish(self, expected: int = 0) -> list[str]:
        rest = list(self.lines)
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        assert code in (expected, 0), f"the child ended with {code}: {rest}"
        return rest


def fork(work: Callable[[Callable[[str], None]], None]) -> Child:
    """Run ``work(report)`` in a child process."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(60)  # a child never outlives its test for long
        code = 1
        try:
            work(lambda line: _write(writing, line))
            code = 0
        except BaseException as error:
            _write(writing, f"{type(error).__name__}: {error}")
        finally:
            os._exit(code)
    os.close(writing)
    return Child(pid, _lines(reading))


def _write(descriptor: int, line: str) -> None:
    os.write(descriptor, line.encode() + b"\n")


def _lines(descriptor: int) -> Iterator[str]:
    """Whole lines; one that a kill cut short was not acknowledged."""
    with os.fdopen(descriptor, "rb") as pipe:
        for line in pipe:
            if line.endswith(b"\n"):
                yield line.decode().rstrip("\n")
