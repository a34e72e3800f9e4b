"""A process that never opens a database: its forks open the vault, work on the wallet, and are killed in the middle.

SQLite must not be used across a fork, so whoever has a vault open cannot fork the one who is to die.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO, NoReturn

from nanolocal.chat.messages import Message, Role, Usage
from nanolocal.errors import NanolocalError
from nanolocal.ledger.signing import DeviceKey
from nanolocal.ledger.wallet import Wallet
from nanolocal.vault.conversations import Conversations
from nanolocal.vault.vault import Vault
from tests.fakes.homes import BUILD, MIGRATIONS, Home, an_answer, fork

DEATHS = ("in the hold", "after the hold", "in the settle", "before the anchor", "after the answer", "with a draft")
"""Where a process is killed."""


@dataclass(frozen=True, slots=True)
class Death:
    """What a process does on the vault in ``directory`` before it is killed; ``now`` in seconds since 1970."""

    directory: str
    where: str
    idem: str
    amount: int
    key: str | None
    usage: tuple[int, ...]
    now: float


class Crasher:
    """Lets processes die."""

    def __init__(self, orders: BinaryIO, results: BinaryIO) -> None:
        self._orders = orders
        self._results = results

    def die(self, death: Death) -> list[str]:
        """What the process had done before it was killed: "refused", or "held", or "held" and "settled"."""
        self._orders.write(json.dumps(asdict(death)).encode() + b"\n")
        self._orders.flush()
        done: list[str] = json.loads(self._results.readline())
        return done


@contextmanager
def crasher() -> Iterator[Crasher]:
    """To be entered before this process opens a database."""
    orders, results = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(orders[1])
        os.close(results[0])
        _serve(os.fdopen(orders[0], "rb"), os.fdopen(results[1], "wb"))
    os.close(orders[0])
    os.close(results[1])
    with os.fdopen(orders[1], "wb") as writing, os.fdopen(results[0], "rb") as reading:
        yield Crasher(writing, reading)
    os.waitpid(pid, 0)


def _serve(orders: BinaryIO, results: BinaryIO) -> NoReturn:
    try:
        for line in orders:
            death = Death(**json.loads(line))
            child = fork(lambda report, death=death: _live(death, report))  # type: ignore[misc]
            done = []
            for word in child.lines:
                if word == "now":
                    break
                done.append(word)
            child.kill()
            results.write(json.dumps(done).encode() + b"\n")
            results.flush()
    finally:
        os._exit(0)


def opened(directory: Path, now: Callable[[], float]) -> Home:
    """The vault as a process opens it, with a clock of our own."""
    return with_rooms(Vault.open(directory, None, MIGRATIONS), now)


def with_rooms(vault: Vault, now: Callable[[], float]) -> Home:
    """The rooms of an open vault."""
    store, anchor = Conversations(vault.database, vault.blobs), vault.anchor
    device = DeviceKey(vault.keys.device)
    known = (anchor.seq, anchor.head)
    wallet = Wallet.open(vault.database, device, known, vault.keep_anchor, clock=now, drafts=store)
    assert wallet.problem is None
    return Home(vault, store, wallet)


def _live(death: Death, report: Callable[[str], None]) -> None:
    def stop(word: str = "") -> None:
        if word:
            report(word)
        report("now")
        while True:
            pass

    here = opened(Path(death.directory), lambda: death.now)
    usage = Usage(*death.usage)
    try:
        with here.store.transaction() as tx:
            chat_id = here.store.start_chat(tx, "of a dead process", None)
            prompt_id = here.store.add_prompt(tx, chat_id, None, Message(Role.USER, "asked"))
            hold = here.wallet.hold(tx, BUILD, death.amount, key=death.key, idem=death.idem, chat_id=chat_id)
            if death.where == "in the hold":
                stop()
    except NanolocalError as refusal:
        report(f"refused {type(refusal).__name__}")
        stop()
    report(f"held {chat_id}")
    answer = replace(an_answer("cut off"), usage=usage)
    if death.where == "with a draft":
        here.store.keep_draft(prompt_id, answer, hold)
    if death.where in ("after the hold", "with a draft"):
        stop()
    if death.where == "before the anchor":
        here.wallet._keep_anchor = lambda seq, head: stop("settled")
    with here.store.transaction() as tx:
        cost = here.wallet.settle(tx, hold, BUILD, usage, chat_id)
        here.store.add_answer(tx, chat_id, prompt_id, replace(answer, cost_micro=cost), hold)
        if death.where == "in the settle":
            stop()
    report("settled")
    stop()
