"""Many processes on one wallet, killed at random; afterwards every acknowledged operation is there, and nothing else.

Each process says what it will do before it does it, and what came of it before it goes on, so that whoever reads its
pipe knows all but the outcome of the one operation in which it was killed.
"""

import os
import random
import selectors
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from nanolocal.chat.messages import Message, Role, Usage
from nanolocal.errors import Damaged, OutOfCredit
from nanolocal.ledger.budgets import Scope
from tests.fakes.homes import BUILD, Home, an_answer, home
from tests.unit.ledger.folding import Fold

Report = Callable[[str], None]

KEYS = ("anna", "ben", None)
LIMITED = ("day", "key:anna/day", "key:ben/month", f"model:{BUILD.id}/day", "chat")
KINDS = ("turn", "turn", "turn", "turn", "draft", "bare", "void", "large", "top-up", "top-up")
BUDGET_EVERY = 60


# what one process does


def work(directory: Path, name: str, first: int, operations: int, attempt: int, report: Report) -> None:
    """Operations number ``first`` to ``operations``, each announced and acknowledged."""
    with home(directory, None) as here:
        one = _Worker(here, name, report)
        for number in range(first, operations):
            one.operate(number, attempt)


class _Worker:
    def __init__(self, here: Home, name: str, report: Report) -> None:
        self._here = here
        self._name = name
        self._report = report
        self._place: tuple[str, str | None] | None = None

    def operate(self, number: int, attempt: int) -> None:
        """The same operation whenever it is tried; a hold is another one at each attempt, a top-up is not."""
        chance = random.Random(f"{self._name} {number}")
        kind = "budget" if number % BUDGET_EVERY == 7 else chance.choice(KINDS)
        again = "" if kind == "top-up" else f".{attempt}"
        idem = f"{kind}:{self._name}.{number}{again}"
        self._report(f"will {number} {idem}")
        try:
            outcome = self._do(kind, idem, chance)
        except OutOfCredit:
            outcome = "refused"
        self._report(f"done {number} {idem} {outcome}")

    def _do(self, kind: str, idem: str, chance: random.Random) -> str:
        wallet = self._here.wallet
        if kind == "top-up":
            amount = chance.randrange(1, 9000)
            wallet.top_up(amount, idem)
            return f"granted {amount}"
        if kind == "budget":
            scope = Scope.parse(chance.choice(LIMITED))
            spent = next((spent for budget, spent in wallet.budgets() if budget.scope == scope), 0) or 0
            wallet.set_budget(scope, spent + chance.randrange(1000, 300_000))
            return "set"
        return self._answer(kind, idem, chance)

    def _answer(self, kind: str, idem: str, chance: random.Random) -> str:
        here, usage = self._here, Usage(chance.randrange(900), 0, chance.randrange(20_000))
        amount = here.wallet.balance() + 1 - chance.randrange(9000) if kind == "large" else chance.randrange(4000)
        key, is_new = chance.choice(KEYS), self._place is None or not chance.randrange(30)
        chat_id = tip = prompt_id = None
        with here.store.transaction() as tx:
            if kind in ("turn", "draft"):
                chat_id, tip = self._place or (None, None)
                if is_new or chat_id is None:
                    chat_id, tip = here.store.start_chat(tx, self._name, None), None
            hold = here.wallet.hold(tx, BUILD, max(0, amount), chat_id=chat_id, key=key, idem=idem)
            if chat_id is not None:
                prompt_id = here.store.add_prompt(tx, chat_id, tip, Message(Role.USER, idem))
        if kind == "void":
            here.wallet.void(hold)
            return "voided"
        answer = replace(an_answer(f"answer of {idem}"), usage=usage)
        if kind == "draft" and prompt_id is not None:
            here.store.keep_draft(prompt_id, answer, hold)
        with here.store.transaction() as tx:
            cost = here.wallet.settle(tx, hold, BUILD, usage, chat_id)
            if chat_id is not None and prompt_id is not None:
                tip = here.store.add_answer(tx, chat_id, prompt_id, replace(answer, cost_micro=cost), hold)
        if chat_id is not None:
            self._place = chat_id, tip
        return f"settled {cost}"


def observe(directory: Path, report: Report) -> None:
    """Look at the wallet again and again while others write; says how often, and what was wrong."""
    with home(directory, None) as here:
        samples = 0
        while True:
            rows = here.vault.database.execute(
                "SELECT debits_posted, debits_pending, credits_posted FROM account WHERE id = 'wallet'"
            )
            (posted, pending, credits), samples = rows[0], samples + 1
            if min(posted, pending) < 0 or posted + pending > credits:
                report(f"overdrawn {posted} {pending} {credits}")
            if samples % 20 == 0:
                report(f"samples {samples}")
            time.sleep(0.01)


# those who let them work, and kill them


@dataclass
class Heard:
    """What all processes said: outcomes by idem, and what was announced."""

    outcomes: dict[str, str] = field(default_factory=dict)
    announced: set[str] = field(default_factory=set)
    kills: int = 0
    samples: int = 0
    wrong: list[str] = field(default_factory=list)

    def tally(self) -> Counter[str]:
        return Counter(outcome.partition(" ")[0] for outcome in self.outcomes.values())


@dataclass
class _Process:
    name: str
    pid: int
    pipe: int
    next: int = 0
    attempt: int = 0
    rest: bytes = b""


class Crowd:
    """So many processes with so many operations each; ``is_due`` says, told how many are done, when one is killed."""

    def __init__(self, directory: Path, processes: int, operations: int, chance: random.Random) -> None:
        self._directory = directory
        self._operations = operations
        self._chance = chance
        self._heard = Heard()
        self._selector = selectors.DefaultSelector()
        self._working: list[_Process] = []
        self._observer = self._fork("observer", lambda report: observe(directory, report))
        for number in range(processes):
            self._start(f"p{number}", 0, 0)

    def run(self, is_due: Callable[[int], bool]) -> Heard:
        """Until all operations are done."""
        while self._working:
            for key, _ in self._selector.select(timeout=0.05):
                self._read(key.data)
            if self._working and is_due(len(self._heard.outcomes)):
                self._kill(self._chance.choice(self._working))
        self._end(self._observer)
        self._selector.close()
        return self._heard

    def _start(self, name: str, first: int, attempt: int) -> None:
        process = self._fork(name, lambda report: work(self._directory, name, first, self._operations, attempt, report))
        process.next, process.attempt = first, attempt
        self._working.append(process)

    def _fork(self, name: str, job: Callable[[Report], None]) -> _Process:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            code = 1
            try:
                job(lambda line: _say(writing, line))
                code = 0
            except BaseException as error:
                _say(writing, f"failed {type(error).__name__}: {error}")
            finally:
                os._exit(code)
        os.close(writing)
        process = _Process(name, pid, reading)
        self._selector.register(reading, selectors.EVENT_READ, process)
        return process

    def _kill(self, process: _Process) -> None:
        """kill -9, listen to its last words, and let it go on where it was last heard of."""
        self._end(process)
        self._heard.kills += 1
        self._start(process.name, process.next, process.attempt + 1)

    def _end(self, process: _Process) -> None:
        os.kill(process.pid, signal.SIGKILL)
        while self._read(process):
            pass

    def _read(self, process: _Process) -> bool:
        """Take what a process said; false at its end."""
        data = os.read(process.pipe, 65536)
        *lines, process.rest = (process.rest + data).split(b"\n")
        for line in lines:
            self._take(process, line.decode())
        if not data:
            self._selector.unregister(process.pipe)
            os.close(process.pipe)
            os.waitpid(process.pid, 0)
            if process in self._working:
                self._working.remove(process)
        return bool(data)

    def _take(self, process: _Process, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "will":
            self._heard.announced.add(rest.split(" ")[1])
        elif word == "done":
            number, idem, outcome = rest.split(" ", 2)
            process.next = int(number) + 1
            if idem in self._heard.outcomes:
                self._heard.wrong.append(f"{idem} was acknowledged twice")
            self._heard.outcomes[idem] = outcome
        elif word == "samples":
            self._heard.samples = int(rest)
        else:
            self._heard.wrong.append(f"{process.name}: {line}")


def _say(descriptor: int, line: str) -> None:
    os.write(descriptor, line.replace("\n", " ").encode() + b"\n")


# what is there afterwards


def faults(directory: Path, heard: Heard) -> list[str]:
    """What is wrong with the ledger and the answers after all that."""
    found = list(heard.wrong)
    with home(directory, None) as here:
        read = here.vault.database.execute
        fold = Fold()
        try:
            for row in read("SELECT seq, body, prev, hash, sig FROM entry ORDER BY seq"):
                fold.add((row[0], row[1], row[2], row[3], row[4]))
            here.wallet.verify((here.vault.anchor.seq, here.vault.anchor.head))
        except (AssertionError, Damaged) as error:
            return [*found, str(error)]
        sums = {row[0]: list(row[1:5]) for row in read("SELECT * FROM account")}
        found += [] if sums == fold.accounts else ["the accounts are not the sums of the entries"]
        found += [f"{idem} is still held" for idem in fold.holds]
        found += _unequal(sums)
        found += _wrong_outcomes(heard, fold)
        rows = read("SELECT hold_id, count(*), sum(cost_micro) FROM message WHERE role = 'assistant' GROUP BY hold_id")
        found += _wrong_answers({row[0]: (row[1], row[2]) for row in rows}, fold)
    return found


def _unequal(sums: dict[str, list[int]]) -> list[str]:
    debits, credits, held_debits, held_credits = (sum(column) for column in zip(*sums.values(), strict=True))
    return [] if (debits, held_debits) == (credits, held_credits) else ["debits are not credits"]


def _wrong_outcomes(heard: Heard, fold: Fold) -> Iterator[str]:
    """Acknowledged, and not there once; there, and neither acknowledged nor the last word of a killed process."""
    there: dict[str, str] = {idem: f"settled {entry['amount']}" for idem, entry in fold.resolved.items()}
    there |= {idem: "voided" for idem, entry in fold.resolved.items() if entry["kind"] == "void"}
    there |= {idem: f"granted {amount}" for idem, amount in fold.grants.items() if idem != "grant:first"}
    for idem, outcome in heard.outcomes.items():
        if outcome not in ("refused", "set") and there.get(idem) != outcome:
            yield f"{idem}: acknowledged as {outcome}, there is {there.get(idem)}"
        if outcome == "refused" and idem in there:
            yield f"{idem}: refused, and there is {there[idem]}"
    for idem in there.keys() - heard.outcomes.keys():
        if idem not in heard.announced:
            yield f"{idem}: {there[idem]}, which nobody announced"
    if len(there.keys() - heard.outcomes.keys()) > heard.kills:
        yield "more operations without an acknowledgement than kills"


def _wrong_answers(answers: dict[str, tuple[int, int]], fold: Fold) -> Iterator[str]:
    """A settle of a stored turn has one message that cost as much, and the other way round."""
    for entry in fold.settles:
        expected = (1, entry["amount"]) if entry["chat_id"] is not None else None
        if answers.pop(entry["ref"], None) != expected:
            yield f"{entry['ref']}: the settle does not fit its answer"
    yield from (f"{idem}: an answer that was not paid" for idem in answers)
