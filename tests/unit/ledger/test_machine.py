"""The wallet against a plain model: any order of top-ups, holds, settles, voids, crashes and recoveries."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nanolocal.chat.messages import Usage
from nanolocal.chat.ports import Hold
from nanolocal.errors import OutOfCredit, UsageError
from nanolocal.ledger.wallet import Wallet
from nanolocal.vault.database import Database
from nanolocal.vault.keys import DatabaseKey
from tests.fakes.homes import BUILD, DEVICE, MIGRATIONS, fork, reserve

KEY = DatabaseKey(bytes(range(32)), bytes(range(16)))
AMOUNTS = st.integers(0, 60_000)
TOKENS = st.integers(0, 700_000)
WHICH = st.integers(0, 1)
PICK = st.integers(0, 10**6)


class Opened:
    """One connection with its wallet, as one process has them."""

    def __init__(self, path: Path, machine: "WalletMachine") -> None:
        self.database = Database.open(path, KEY, MIGRATIONS)
        self.wallet = Wallet.open(self.database, DEVICE, machine.anchor, machine.keep)


class WalletMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.path = self.directory / "x.db"
        self.anchor = (0, "0" * 64)
        Database.create(self.path, KEY, MIGRATIONS).close()
        self.opened = [Opened(self.path, self), Opened(self.path, self)]
        self.posted, self.made = 100_000, 0
        self.holds: dict[str, int] = {}
        self.done: dict[str, int] = {}
        self.hashes: list[str] = []

    def keep(self, seq: int, head: str) -> None:
        if seq > self.anchor[0]:
            self.anchor = (seq, head)

    def teardown(self) -> None:
        for each in self.opened:
            each.database.close()
        shutil.rmtree(self.directory)

    def name(self) -> str:
        self.made += 1
        return f"request {self.made}"

    @property
    def free(self) -> int:
        return self.posted - sum(self.holds.values())

    def reserve(self, which: int, amount: int, key: str | None) -> Hold:
        return reserve(self.opened[which].database, self.opened[which].wallet, amount, key)

    @rule(which=WHICH, amount=AMOUNTS)
    def top_up(self, which: int, amount: int) -> None:
        key = self.name()
        self.posted += amount
        assert self.opened[which].wallet.top_up(amount, key) == self.free
        assert self.opened[1 - which].wallet.top_up(amount, key) == self.free

    @rule(which=WHICH, amount=AMOUNTS)
    def hold(self, which: int, amount: int) -> None:
        key = self.name()
        try:
            held = self.reserve(which, amount, key)
        except OutOfCredit:
            assert amount > self.free
            return
        assert amount <= self.free
        assert self.reserve(1 - which, amount, key) == held
        self.holds[key] = amount

    @precondition(lambda self: self.holds)
    @rule(which=WHICH, pick=PICK, tokens=TOKENS)
    def settle(self, which: int, pick: int, tokens: int) -> None:
        key = sorted(self.holds)[pick % len(self.holds)]
        held = Hold(key, self.holds.pop(key))
        charged = -(-tokens * 100_000 // 10**6)
        for each in (self.opened[which], self.opened[1 - which]):
            with each.database.transaction() as tx:
                paid = each.wallet.settle(tx, held, BUILD, Usage(completion_tokens=tokens), None)
            assert paid == min(charged, held.amount_micro)
        self.posted -= paid
        self.done[key] = paid

    @precondition(lambda self: self.holds)
    @rule(which=WHICH, pick=PICK)
    def void(self, which: int, pick: int) -> None:
        key = sorted(self.holds)[pick % len(self.holds)]
        self.opened[which].wallet.void(Hold(key, self.holds.pop(key)))
        self.done[key] = 0

    @precondition(lambda self: self.done)
    @rule(which=WHICH, pick=PICK)
    def resolve_again(self, which: int, pick: int) -> None:
        key = sorted(self.done)[pick % len(self.done)]
        each = self.opened[which]
        each.wallet.void(Hold(key, 1))
        with each.database.transaction() as tx:
            assert each.wallet.settle(tx, Hold(key, 1), BUILD, Usage(1, 0, 1), None) == self.done[key]

    @precondition(lambda self: self.holds)
    @rule(which=WHICH, pick=PICK)
    def roll_back(self, which: int, pick: int) -> None:
        key = sorted(self.holds)[pick % len(self.holds)]
        each = self.opened[which]
        try:
            with each.database.transaction() as tx:
                each.wallet.settle(tx, Hold(key, self.holds[key]), BUILD, Usage(1, 0, 1), None)
                raise ZeroDivisionError
        except ZeroDivisionError:
            return

    @rule(amount=AMOUNTS, inside=st.booleans())
    def crash(self, amount: int, inside: bool) -> None:
        """Another process holds credit and dies, perhaps in the middle of settling it; its hold is void afterwards."""

        def die(report: Callable[[str], None]) -> None:
            each = Opened(self.path, self)
            held = reserve(each.database, each.wallet, min(amount, each.wallet.balance()))
            if inside:
                with each.database.transaction() as tx:
                    each.wallet.settle(tx, held, BUILD, Usage(5, 0, 5), None)
                    report("settling")
                    while True:
                        pass

        child = fork(die)
        if inside:
            assert next(child.lines) == "settling"
            child.kill()
        else:
            child.finish()
        assert self.opened[0].wallet.recover() == 1

    @rule(which=WHICH)
    def reopen(self, which: int) -> None:
        self.opened[which].database.close()
        self.opened[which] = Opened(self.path, self)

    @rule(which=WHICH, wrong=st.sampled_from([True, 1.0, float("nan"), -1, 2**63]))
    def refuse(self, which: int, wrong: object) -> None:
        for attempt in (self.opened[which].wallet.top_up, lambda amount: self.reserve(which, amount, None)):
            try:
                attempt(wrong)  # type: ignore[arg-type]
            except UsageError:
                continue
            raise AssertionError(f"{wrong!r} was taken")

    @invariant()
    def the_ledger_agrees_with_the_model(self) -> None:
        for each in self.opened:
            assert each.wallet.balance() == self.free
        checked = self.opened[0].wallet.verify(self.anchor)  # I3 to I6, I11: chain, holds, sums, prices
        assert checked.open_holds == len(self.holds)

    @invariant()
    def debits_equal_credits_and_nothing_is_overdrawn(self) -> None:
        rows = self.opened[0].database.execute(
            "SELECT id, debits_posted, credits_posted, debits_pending, credits_pending FROM account"
        )
        assert sum(row[1] for row in rows) == sum(row[2] for row in rows)
        assert sum(row[3] for row in rows) == sum(row[4] for row in rows) == sum(self.holds.values())
        assert min(number for row in rows for number in row[1:]) >= 0
        (wallet,) = (row for row in rows if row[0] == "wallet")
        assert wallet[1] + wallet[3] <= wallet[2]

    @invariant()
    def written_entries_never_change(self) -> None:
        hashes = [row[0] for row in self.opened[0].database.execute("SELECT hash FROM entry ORDER BY seq")]
        assert hashes[: len(self.hashes)] == self.hashes
        self.hashes = hashes


TestWallet = WalletMachine.TestCase
TestWallet.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
