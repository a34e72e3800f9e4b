"""What a user does with a wallet: credit in, holds, settles, budgets, prices; with any clock."""

from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from nanolocal.chat.messages import Message, Role
from nanolocal.chat.ports import Hold
from nanolocal.errors import OutOfCredit, UsageError
from nanolocal.ledger import issuers, issuing, redeeming
from nanolocal.ledger.budgets import Scope
from nanolocal.ledger.prices import Electricity, electricity_card
from nanolocal.ledger.vouchers import VoucherKind, key_id
from tests.unit.ledger.handing import PUBLIC, TRICKS, flipped, voucher
from tests.unit.ledger.model import EARLIEST_S, Rates, Reserved, local_day
from tests.unit.ledger.playing import AMOUNTS, BUILDS, JUMPS, KEYS, NOW, PICK, PRICES, SCOPES, USAGES, WHICH, Play


class Paying(Play):
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

    @rule(which=WHICH, trick=st.sampled_from(TRICKS), amount=st.integers(1, 40_000), pick=PICK)
    def redeem(self, which: int, trick: str, amount: int, pick: int) -> None:
        self._hit(f"voucher: {trick}")
        wallet, used = self.homes[which].wallet, self.model.vouchers
        if trick == "used" and used:
            code = used[pick % len(used)]
        else:
            self.made += 1
            again = trick == "the same serial" and self.serials
            serial = self.serials[pick % len(self.serials)] if again else self.made
            code = voucher(trick, serial, amount, redeeming.own_device(wallet), self.now).code()
        if trick == "a flipped bit":
            code = flipped(code, pick)
        is_good = trick.startswith("good") or (trick == "used" and not used)
        is_good = is_good or (trick == "the same serial" and not self.serials)
        try:
            redeemed = redeeming.redeem(wallet, code)
        except UsageError:
            assert not (is_good and self.clock_is_set and self.model.trusts)
            return
        assert is_good
        assert self.clock_is_set
        assert self.model.trusts
        self.model.vouchers.append(code)
        if redeemed.voucher.kind is VoucherKind.DEVICE:
            self.serials.append(redeemed.voucher.serial)
        self.model.grant(f"voucher:{redeemed.voucher.id.hex()}", amount)
        assert redeemed.balance == self.model.free

    @rule(which=WHICH, issues=st.booleans())
    def deal_with_issuers(self, which: int, issues: bool) -> None:
        """Trust the issuer no longer, or again; or hand out vouchers of one's own."""
        self._hit("issue vouchers" if issues else "issuer no longer trusted" if self.model.trusts else "issuer trusted")
        wallet = self.homes[which].wallet
        try:
            if issues:
                issuing.issue(wallet, "my class", 5_000, 30, [bytes(range(8))], 2)
            elif self.model.trusts:
                issuers.distrust(wallet, key_id(PUBLIC).hex())
            else:
                issuers.trust(wallet, PUBLIC)
        except UsageError:
            assert not self.clock_is_set
            return
        assert self.clock_is_set
        self.model.kinds += ["transfer", "transfer"] if issues else ["issuer"]
        if not issues:
            self.model.trusts = not self.model.trusts

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
        """As much as balance and budgets allow, give or take a little."""
        chat_id = sorted(self.tips)[chat % len(self.tips)] if chat > 1 and self.tips else None
        asked = Reserved(0, BUILDS[0].id, chat_id, key, local_day(self.now), Rates(0, 0, 0, 0, 0, 0))
        self.hold(which, max(0, self.model.room(asked) + more), key, 0, chat)

    @rule(which=WHICH, amount=AMOUNTS, key=KEYS, build=st.integers(0, 1), usage=USAGES, stores=st.booleans())
    def turn(self, which: int, amount: int, key: str | None, build: int, usage: tuple[int, ...], stores: bool) -> None:
        """Hold and settle, as nearly all turns do."""
        self.hold(which, amount, key, build, 2 if stores else 0)
        if (idem := f"request {self.made}") in self.model.holds:
            self._settle_one(1 - which, idem, usage, stores=stores)

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
        if self.clock_is_set:
            in_force = {str(budget.scope): budget.limit_micro for budget, _ in self.homes[which].wallet.budgets()}
            assert in_force == {name: most for name, most in self.model.budgets.items() if most is not None}

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
