"""Two processes with one wallet, in any order of whatever can happen to it; after each step all invariants hold."""

import shutil
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlcipher3 import dbapi2

from nanolocal.chat.messages import Message, Role, Usage
from nanolocal.chat.ports import Hold, Transaction
from nanolocal.errors import NanolocalError, OutOfCredit, UsageError
from nanolocal.ledger.budgets import Scope
from nanolocal.ledger.owner import Owner
from nanolocal.ledger.prices import Electricity, electricity_card
from nanolocal.vault.vault import Vault
from tests.fakes.homes import BUILD, MIGRATIONS, Home, an_answer
from tests.faults.scenario import back_up, bring_back
from tests.unit.ledger.crasher import DEATHS, Crasher, Death, opened, with_rooms
from tests.unit.ledger.folding import Fold
from tests.unit.ledger.invariants import CHECKS, Row, Seen, entry_rows
from tests.unit.ledger.model import EARLIEST_S, LARGEST, Model, Rates, Reserved, local_day

BUILDS = (BUILD, replace(BUILD, id="large:Q4", sha256="cd" * 32, size_bytes=4_000_000_000))
SCOPES = ("day", "month", "chat", "chat/day", "model", f"model:{BUILD.id}/month", "key", "key:anna", "key:anna/day",
          "key/month")  # fmt: skip
MEMORY = Path("/dev/shm")
NOW = 1_795_000_000.0
YEARS_10 = 10 * 365.25 * 86400
JUMPS = (0.0, 0.0, 0.0, 1.0, 3600.0, 86400.0, -86400.0, 40 * 86400.0, YEARS_10, -YEARS_10, EARLIEST_S - NOW, EARLIEST_S - NOW - 1, -NOW)

WHICH = st.integers(0, 1)
AMOUNTS = st.one_of(st.integers(0, 60_000), st.integers(0, 300))
PICK = st.integers(0, 10**6)
KEYS = st.sampled_from([None, "anna", "ben"])
USAGES = st.tuples(
    st.integers(0, 5000), st.integers(0, 6000), st.integers(0, 400_000), st.sampled_from([0, 0, 10**6]),
    st.integers(0, 1)
)  # fmt: skip
PRICES = st.tuples(*[st.sampled_from([0, 1, 25_000, 100_000, 10**12])] * 4, st.integers(0, 3), st.integers(0, 2))
WRONG = st.sampled_from([True, 1.0, float("nan"), -1, 2**63, "5", None])


class Template:
    """A vault to begin with: made once, then copied."""

    def __init__(self, room: Path) -> None:
        self.directory = room / "template"
        with suppress(FileNotFoundError):
            shutil.rmtree(self.directory)
        vault = Vault.create(self.directory, None, MIGRATIONS)
        self.code = vault.make_recovery_code()
        here = with_rooms(vault, lambda: NOW)
        with here.store.transaction() as tx:
            here.store.start_chat(tx, "the first", None)
        vault.close()


class LedgerMachine(RuleBasedStateMachine):
    """``template`` and ``crasher`` are set by whoever runs it."""

    template: Template
    crasher: Crasher
    hits: Counter[str] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.room = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.directory = self.room / "home"
        shutil.copytree(self.template.directory, self.directory)
        self.now = NOW
        self.homes = [self._open(), self._open()]
        self.model = Model(kinds=["device", "transfer"])
        self.prompts: dict[str, tuple[str, str]] = {}
        self.tips: dict[str, str] = {}
        self.fold, self.rows = Fold(), list[Row]()
        self.made, self.anchor_lags = 0, False

    def teardown(self) -> None:
        for home in self.homes:
            home.vault.close()
        shutil.rmtree(self.room)

    def _open(self) -> Home:
        return opened(self.directory, lambda: self.now)

    def _hit(self, what: str) -> None:
        self.hits[what] += 1

    def _name(self) -> str:
        self.made += 1
        return f"request {self.made}"

    @property
    def clock_is_set(self) -> bool:
        return self.now >= EARLIEST_S

    def _rates(self, number: int) -> Rates:
        """The rates in force for a build; the default card is recorded when it is first used."""
        build = BUILDS[number]
        if build.id not in self.model.rates:
            card = electricity_card(build, Electricity())
            self.model.rates[build.id] = Rates(
                card.prompt, card.cached, card.completion, card.pixel_steps, card.load, card.minimum
            )
            self.model.kinds.append("price")
        return self.model.rates[build.id]

    @initialize(amounts=st.lists(st.tuples(AMOUNTS, KEYS, st.integers(0, 3)), max_size=3))
    def begin(self, amounts: list[tuple[int, str | None, int]]) -> None:
        for amount, key, chat in amounts:
            self.hold(0, amount, key, 0, chat)

    # money in

    @rule(which=WHICH, amount=AMOUNTS)
    def top_up(self, which: int, amount: int) -> None:
        self._hit("top up")
        idem = self._name()
        try:
            balance = self.homes[which].wallet.top_up(amount, idem)
        except UsageError:
            assert not self.clock_is_set
            return
        assert self.clock_is_set
        self.model.grant(idem, amount)
        assert balance == self.model.free

    # holds

    @rule(which=WHICH, amount=AMOUNTS, key=KEYS, build=st.integers(0, 1), chat=st.integers(0, 3))
    def hold(self, which: int, amount: int, key: str | None, build: int, chat: int) -> None:
        """``chat`` 0: none; 1: a new one with its prompt; more: the prompt continues one that is there."""
        idem, home = self._name(), self.homes[which]
        before, kinds = dict(self.model.rates), list(self.model.kinds)
        chat_id = prompt_id = None
        known = sorted(self.tips)
        try:
            with home.store.transaction() as tx:
                if chat == 1 or (chat and not known):
                    chat_id = home.store.start_chat(tx, idem, None)
                elif chat:
                    chat_id = known[chat % len(known)]
                hold = home.wallet.hold(tx, BUILDS[build], amount, chat_id=chat_id, key=key, idem=idem)
                if chat_id is not None:
                    prompt = Message(Role.USER, f"prompt of {idem}")
                    prompt_id = home.store.add_prompt(tx, chat_id, self.tips.get(chat_id), prompt)
        except UsageError:
            self._hit("hold: clock refused")
            assert not self.clock_is_set
            return
        except OutOfCredit:
            self._hit("hold: out of credit")
            wanted = self._wanted(amount, build, chat_id, key)
            assert not self.model.reserve(idem, wanted)
            self.model.rates, self.model.kinds = before, kinds
            return
        self._hit("hold")
        assert self.clock_is_set
        assert hold == Hold(idem, amount)
        assert self.model.reserve(idem, self._wanted(amount, build, chat_id, key))
        if chat_id is not None and prompt_id is not None:
            self.prompts[idem] = (chat_id, prompt_id)
            self.tips[chat_id] = prompt_id

    @rule(which=WHICH, more=st.integers(-2, 2), key=KEYS, chat=st.integers(0, 3))
    def hold_about_all(self, which: int, more: int, key: str | None, chat: int) -> None:
        """As much as there is, give or take a little."""
        limits = [limit for limit in self.model.budgets.values() if limit is not None]
        self.hold(which, max(0, min([self.model.free, *limits]) + more), key, 0, chat)

    @rule(which=WHICH, amount=AMOUNTS, key=KEYS, build=st.integers(0, 1), usage=USAGES, stores=st.booleans())
    def turn(self, which: int, amount: int, key: str | None, build: int, usage: tuple[int, ...], stores: bool) -> None:
        """Hold and settle, as nearly all turns do."""
        self.hold(which, amount, key, build, 2 if stores else 0)
        if (idem := f"request {self.made}") in self.model.holds:
            self._settle_one(1 - which, idem, usage, stores=stores)

    def _wanted(self, amount: int, build: int, chat_id: str | None, key: str | None) -> Reserved:
        rates = self._rates(build)
        return Reserved(amount, BUILDS[build].id, chat_id, key, local_day(self.now), rates)

    def _picked(self, pick: int) -> tuple[str, Reserved]:
        idem = self.model.open_holds()[pick % len(self.model.open_holds())]
        return idem, self.model.holds[idem]

    def _settle(self, tx: Transaction, home: Home, idem: str, usage: tuple[int, ...], *, stores: bool) -> int:
        hold = self.model.holds[idem]
        own = Hold(idem, hold.amount)
        build = next(build for build in BUILDS if build.id == hold.build)
        cost = home.wallet.settle(tx, own, build, Usage(*usage), hold.chat)
        if stores:
            chat_id, prompt_id = self.prompts[idem]
            answer = replace(an_answer(f"answer of {idem}", cost), usage=Usage(*usage))
            self.tips[chat_id] = home.store.add_answer(tx, chat_id, prompt_id, answer, own)
        return cost

    @precondition(lambda self: self.model.open_holds())
    @rule(which=WHICH, pick=PICK, usage=USAGES, stores=st.booleans())
    def settle(self, which: int, pick: int, usage: tuple[int, ...], stores: bool) -> None:
        idem = self._picked(pick)[0]
        self._settle_one(which, idem, usage, stores=stores and idem in self.prompts)

    def _settle_one(self, which: int, idem: str, usage: tuple[int, ...], *, stores: bool) -> None:
        self._hit("settle with an answer" if stores else "settle")
        home = self.homes[which]
        with home.store.transaction() as tx:
            cost = self._settle(tx, home, idem, usage, stores=stores)
        assert cost == self.model.charge(idem, usage, is_stored=stores)

    @precondition(lambda self: self.model.open_holds())
    @rule(which=WHICH, pick=PICK)
    def void(self, which: int, pick: int) -> None:
        self._hit("void")
        idem, hold = self._picked(pick)
        self.homes[which].wallet.void(Hold(idem, hold.amount))
        self.model.release(idem)

    @rule(which=WHICH, amount=AMOUNTS, key=KEYS)
    def cancel_before_the_first_token(self, which: int, amount: int, key: str | None) -> None:
        self.hold(which, amount, key, 0, 1)
        idem = f"request {self.made}"
        if idem in self.model.holds:
            self._hit("cancel")
            self.homes[which].wallet.void(Hold(idem, amount))
            self.model.release(idem)

    # what is refused or rolled back

    @rule(which=WHICH, amount=AMOUNTS, key=KEYS, pick=PICK, usage=USAGES, drops=st.booleans())
    def lose(self, which: int, amount: int, key: str | None, pick: int, usage: tuple[int, ...], drops: bool) -> None:
        """A transaction is rolled back, or its connection is gone in the middle of it."""
        if self.model.open_holds() and pick % 3:
            self._lose_a_settle(which, pick, usage, drops)
        else:
            self._lose_a_hold(which, amount, key)

    def _lose_a_settle(self, which: int, pick: int, usage: tuple[int, ...], drops: bool) -> None:
        self._hit("settle, then connection dropped" if drops else "settle, then rolled back")
        idem, tips = self._picked(pick)[0], dict(self.tips)
        home = self.homes[which]
        with suppress(ZeroDivisionError, dbapi2.Error), home.store.transaction() as tx:
            self._settle(tx, home, idem, usage, stores=idem in self.prompts)
            if not drops:
                raise ZeroDivisionError
            home.vault.database._drop()
        self.tips = tips
        self._reopen(which, drops=drops)

    def _lose_a_hold(self, which: int, amount: int, key: str | None) -> None:
        self._hit("hold, then connection dropped")
        home, idem = self.homes[which], self._name()
        with suppress(dbapi2.Error, NanolocalError), home.store.transaction() as tx:
            home.wallet.hold(tx, BUILDS[0], amount, key=key, idem=idem)
            home.vault.database._drop()
        self._reopen(which, drops=True)

    def _reopen(self, which: int, *, drops: bool) -> None:
        if drops:
            self.homes[which].vault.close()
            self.homes[which] = self._open()
            self.model.resolve_dead()

    @rule(which=WHICH, pick=PICK, wrong=WRONG)
    def refuse(self, which: int, pick: int, wrong: object) -> None:
        """What is no whole number, or too large for one."""
        if self.model.open_holds() and pick % 2:
            self._refuse_usage(which, pick, wrong)
        else:
            self._refuse_amount(which, wrong)

    def _refuse_amount(self, which: int, wrong: object) -> None:
        self._hit("no amount")
        wallet, store = self.homes[which].wallet, self.homes[which].store

        def hold() -> None:
            with store.transaction() as tx:
                wallet.hold(tx, BUILD, wrong)  # type: ignore[arg-type]

        attempts = [hold, lambda: wallet.top_up(wrong), lambda: wallet.top_up(LARGEST)]  # type: ignore[arg-type,list-item]
        if wrong is not None:
            attempts.append(lambda: wallet.set_budget(Scope.parse("day"), wrong))  # type: ignore[arg-type]
        for attempt in attempts:
            try:
                attempt()
            except UsageError:
                continue
            raise AssertionError(f"{wrong!r} was taken")

    def _refuse_usage(self, which: int, pick: int, wrong: object) -> None:
        self._hit("no usage")
        idem, hold = self._picked(pick)
        home = self.homes[which]
        build = next(build for build in BUILDS if build.id == hold.build)
        try:
            with home.store.transaction() as tx:
                home.wallet.settle(tx, Hold(idem, hold.amount), build, Usage(5, 0, wrong), hold.chat)  # type: ignore[arg-type]
        except UsageError:
            return
        raise AssertionError(f"{wrong!r} was taken")

    # terms

    @rule(which=WHICH, scope=st.sampled_from(SCOPES), limit=st.one_of(st.none(), AMOUNTS))
    def set_budget(self, which: int, scope: str, limit: int | None) -> None:
        self._hit("budget lifted" if limit is None else "budget")
        is_new = scope not in self.model.budgets or self.model.budgets[scope] != limit
        try:
            self.homes[which].wallet.set_budget(Scope.parse(scope), limit)
        except UsageError:
            assert is_new
            assert not self.clock_is_set
            return
        if is_new:
            assert self.clock_is_set
            self.model.budgets[scope] = limit
            self.model.kinds.append("budget")
        in_force = {str(budget.scope): budget.limit_micro for budget, _ in self._budgets(which)}
        assert in_force == {scope: limit for scope, limit in self.model.budgets.items() if limit is not None} or (
            not self.clock_is_set
        )

    def _budgets(self, which: int) -> list[tuple[object, int | None]]:
        return list(self.homes[which].wallet.budgets()) if self.clock_is_set else []

    @rule(which=WHICH, number=st.integers(0, 1), prices=PRICES)
    def set_price(self, which: int, number: int, prices: tuple[int, ...]) -> None:
        self._hit("price")
        rates = Rates(*prices)
        base = electricity_card(BUILDS[number], Electricity())
        card = replace(
            base, prompt=rates.prompt, cached=rates.cached, completion=rates.completion, pixel_steps=rates.pixel_steps,
            load=rates.load, minimum=rates.minimum, source="list",
        )  # fmt: skip
        try:
            self.homes[which].wallet.set_price(card)
        except UsageError:
            assert not self.clock_is_set
            return
        assert self.clock_is_set
        self.model.rates[BUILDS[number].id] = rates
        self.model.kinds.append("price")

    @rule(jump=st.sampled_from(JUMPS))
    def set_the_clock(self, jump: float) -> None:
        self._hit("clock" if NOW + jump >= EARLIEST_S else "clock that was never set")
        self.now = NOW + jump

    # processes

    @rule(which=WHICH, amount=AMOUNTS, key=KEYS, draft=st.one_of(st.none(), USAGES))
    def die_with_a_hold(self, which: int, amount: int, key: str | None, draft: tuple[int, ...] | None) -> None:
        """What is left when another process is gone: a hold whose owner does not live, perhaps a draft."""
        home = self.homes[which]
        alive, home.wallet._owner = home.wallet._owner, Owner("another boot", 1, "1")
        self.hold(which, amount, key, 0, 1)
        home.wallet._owner = alive
        idem = f"request {self.made}"
        if idem not in self.model.holds:
            return
        self._hit("dead owner" if draft is None else "dead owner with a draft")
        hold = self.model.holds[idem]
        hold.is_dead, hold.draft = True, draft
        if draft is not None:
            answer = replace(an_answer("cut off"), usage=Usage(*draft))
            home.store.keep_draft(self.prompts[idem][1], answer, Hold(idem, amount))
        del self.tips[self.prompts.pop(idem)[0]]

    @rule(amount=AMOUNTS, key=KEYS, usage=USAGES, where=st.sampled_from(DEATHS), often=st.integers(0, 3))
    def be_killed(self, amount: int, key: str | None, usage: tuple[int, ...], where: str, often: int) -> None:
        """A process of its own is killed with kill -9; starting one is slow, so one time in four only."""
        if often:
            return
        self._hit(f"killed {where}")
        idem = self._name()
        done = self.crasher.die(Death(str(self.directory), where, idem, amount, key, usage, self.now))
        self.model.resolve_dead()
        if where == "in the hold" and not done:
            return
        word, what = done[0].split()
        if word == "refused":
            assert what == "OutOfCredit" if self.clock_is_set else "UsageError"
            before, kinds = dict(self.model.rates), list(self.model.kinds)
            assert not self.clock_is_set or not self.model.reserve(idem, self._wanted(amount, 0, what, key))
            self.model.rates, self.model.kinds = before, kinds
            return
        wanted = self._wanted(amount, 0, what, key)
        wanted.is_dead, wanted.draft = True, usage if where == "with a draft" else None
        assert self.model.reserve(idem, wanted)
        if where in ("before the anchor", "after the answer"):
            assert done[1:] == ["settled"]
            self.model.charge(idem, usage, is_stored=True)
            self.anchor_lags = where == "before the anchor"

    def _recover(self, which: int) -> None:
        self._hit("recover")
        assert self.homes[which].wallet.recover() == self.model.resolve_dead()

    @rule(which=WHICH, how=st.sampled_from(["recover", "recover", "lock", "lock", "lock", "rekey", "back up"]))
    def keep_house(self, which: int, how: str) -> None:
        """Recover; or close one and open it again, while the other, alone, may change the keys or make a backup."""
        if how == "recover":
            return self._recover(which)
        self._hit(how)
        self.homes[which].vault.close()
        vault = self.homes[1 - which].vault
        if how == "rekey":
            assert vault.rekey(None)
        if how == "back up":
            self._restore_elsewhere(vault)
        self.homes[which] = self._open()
        self.model.resolve_dead()
        return None

    def _restore_elsewhere(self, vault: Vault) -> None:
        """A backup on another device has the same sums, and its own key from there on."""
        code = vault.make_recovery_code()
        back_up(vault, self.room / "backup")
        bring_back(self.room / "elsewhere", code, self.room / "backup")
        now = max(self.now, float(EARLIEST_S))
        home = opened(self.room / "elsewhere", lambda: now)
        try:
            rows = entry_rows(home)
            assert rows[: len(self.rows)] == self.rows
            fold = Fold()
            for row in rows:
                fold.add(row)
            assert fold.kinds[len(self.rows)] == "device"
            home.wallet.verify((home.vault.anchor.seq, home.vault.anchor.head))
            assert fold.accounts["wallet"][:2] >= self.fold.accounts["wallet"][:2]
        finally:
            home.vault.close()
        shutil.rmtree(self.room / "elsewhere")
        (self.room / "backup").unlink()

    # what holds after each step

    @invariant()
    def all_fourteen_hold(self) -> None:
        rows = entry_rows(self.homes[0])
        assert entry_rows(self.homes[1]) == rows
        seen = Seen(self.homes, self.model, rows, self.rows, self.fold)
        for check in CHECKS:
            check(seen)
        self.i7_a_replay_changes_nothing()
        assert entry_rows(self.homes[0]) == rows
        if seen.anchor.seq == seen.fold.anchored:
            self.anchor_lags = False
        assert self.anchor_lags or seen.anchor.seq == seen.fold.anchored
        self.homes[0].wallet.verify((seen.anchor.seq, seen.anchor.head))
        self.rows = rows

    def i7_a_replay_changes_nothing(self) -> None:
        """One of the requests so far once more, from the other process; the rows are compared afterwards."""
        which = self.made % 2
        home = self.homes[which]
        if self.model.grants:
            idem, amount = list(self.model.grants.items())[len(self.rows) % len(self.model.grants)]
            with self._if_clock_is_set():
                assert home.wallet.top_up(amount, idem) == self.model.free
        if not self.model.holds:
            return
        idem, hold = list(self.model.holds.items())[len(self.rows) % len(self.model.holds)]
        build = next(build for build in BUILDS if build.id == hold.build)
        own = Hold(idem, hold.amount)
        with self._if_clock_is_set(), home.store.transaction() as tx:
            assert home.wallet.hold(tx, build, hold.amount, chat_id=hold.chat, key=hold.key, idem=idem) == own
        if not hold.is_open:
            home.wallet.void(own)
            with home.store.transaction() as tx:
                assert home.wallet.settle(tx, own, build, Usage(7, 0, 7), hold.chat) == hold.posted

    def _if_clock_is_set(self) -> suppress:
        return suppress() if self.clock_is_set else suppress(UsageError)
