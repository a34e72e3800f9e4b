"""Two processes with one wallet, in any order of whatever can happen to it; after each step all invariants hold."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule
from sqlcipher3 import dbapi2

from nanolocal.chat.messages import Usage
from nanolocal.chat.ports import Hold
from nanolocal.errors import NanolocalError, UsageError
from nanolocal.ledger.budgets import Scope
from nanolocal.ledger.owner import Owner
from nanolocal.vault.vault import Vault
from tests.fakes.homes import BUILD, an_answer
from tests.faults.scenario import back_up, bring_back
from tests.unit.ledger.crasher import DEATHS, Death, opened
from tests.unit.ledger.folding import Fold
from tests.unit.ledger.invariants import entry_rows
from tests.unit.ledger.model import EARLIEST_S, LARGEST
from tests.unit.ledger.paying import Paying
from tests.unit.ledger.playing import AMOUNTS, BUILDS, KEYS, PICK, USAGES, WHICH, WRONG


class LedgerMachine(Paying):
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

        def hold(amount: Any) -> None:
            with store.transaction() as tx:
                wallet.hold(tx, BUILD, amount)

        def set_budget(amount: Any) -> None:
            wallet.set_budget(Scope.parse("day"), amount)

        attempts: list[tuple[Callable[[Any], object], object]] = [(hold, wrong), (wallet.top_up, wrong)]
        attempts += [(wallet.top_up, LARGEST), (set_budget, -1 if wrong is None else wrong)]
        for attempt, amount in attempts:
            try:
                attempt(amount)
            except UsageError:
                continue
            raise AssertionError(f"{amount!r} was taken")

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
