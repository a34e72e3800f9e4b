"""Two processes with one wallet, a model of it, and what must hold after each step."""

import shutil
import tempfile
from collections import Counter
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant

from nanolocal.chat.messages import Usage
from nanolocal.chat.ports import Hold, Transaction
from nanolocal.errors import UsageError
from nanolocal.ledger import issuers, redeeming
from nanolocal.ledger.prices import Electricity, electricity_card
from nanolocal.vault.vault import Vault
from tests.fakes.homes import BUILD, MIGRATIONS, Home, an_answer
from tests.unit.ledger.crasher import Crasher, opened, with_rooms
from tests.unit.ledger.folding import Fold
from tests.unit.ledger.handing import PUBLIC
from tests.unit.ledger.invariants import CHECKS, Row, Seen, entry_rows
from tests.unit.ledger.model import EARLIEST_S, Model, Rates, Reserved, local_day

BUILDS = (BUILD, replace(BUILD, id="large:Q4", sha256="cd" * 32, size_bytes=4_000_000_000))
SCOPES = ("day", "month", "chat", "chat/day", "model", f"model:{BUILD.id}/month", "key", "key:anna", "key:anna/day",
          "key/month")  # fmt: skip
MEMORY = Path("/dev/shm")
NOW = 1_795_000_000.0
YEARS_10 = 10 * 365.25 * 86400
JUMPS = (
    0.0,
    0.0,
    0.0,
    1.0,
    3600.0,
    86400.0,
    -86400.0,
    40 * 86400.0,
    YEARS_10,
    -YEARS_10,
    EARLIEST_S - NOW,
    EARLIEST_S - NOW - 1,
    -NOW,
)

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
        issuers.trust(here.wallet, PUBLIC, "a teacher")
        vault.close()


class Play(RuleBasedStateMachine):
    """``template`` and ``crasher`` are set by whoever runs it."""

    template: Template
    crasher: Crasher
    hits: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.room = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.directory = self.room / "home"
        shutil.copytree(self.template.directory, self.directory)
        self.now = NOW
        self.homes = [self._open(), self._open()]
        self.model = Model(kinds=["device", "transfer", "issuer"])
        self.prompts: dict[str, tuple[str, str]] = {}
        self.tips: dict[str, str] = {}
        self.fold, self.rows = Fold(), list[Row]()
        self.made, self.anchor_lags, self.serials = 0, False, list[int]()

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
        if seen.anchor.seq == seen.fold.count:
            self.anchor_lags = False
        assert self.anchor_lags or seen.anchor.seq == seen.fold.count
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
        if self.model.vouchers:
            with suppress(UsageError):
                redeeming.redeem(home.wallet, self.model.vouchers[len(self.rows) % len(self.model.vouchers)])
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

    def _if_clock_is_set(self) -> AbstractContextManager[None]:
        return nullcontext() if self.clock_is_set else suppress(UsageError)
