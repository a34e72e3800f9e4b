"""The wallet: implements ``chat.ports.Ledger``. Reserve the most an answer can cost, then charge what it did cost.

Every public method leaves the entries, the sums and the chain in step, or changes nothing. A repeated request (same
idempotency key) changes nothing. An answer is never lost for its price: a settle charges at most its hold, and a hold
that was released in the meantime charges nothing. A ledger that was changed from outside can be read, and spends
nothing until its owner accepts it.
"""

import re
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from nanolocal.chat.amounts import format_credits
from nanolocal.chat.messages import Usage
from nanolocal.chat.ports import Hold, Transaction
from nanolocal.chat.routes import Build
from nanolocal.errors import Damaged, OutOfCredit, UsageError
from nanolocal.ledger import acceptance, audit, book, budgets
from nanolocal.ledger.budgets import Budget, Scope
from nanolocal.ledger.chain import ADJUST, WALLET, Entry, EntryKind, Term
from nanolocal.ledger.money import whole
from nanolocal.ledger.owner import Owner
from nanolocal.ledger.prices import Electricity, check_usage
from nanolocal.ledger.pricing import Pricing
from nanolocal.ledger.signing import DeviceKey
from nanolocal.ledger.sql import SqlDatabase, SqlTransaction, writable

ALLOWANCE_MICRO = 100_000
_ALLOWANCE_KEY = "grant:first"
_GRANT = "grant:self"
_LONGEST_NOTE = 500
_NAME = re.compile(r"[\w.@+-]{1,100}")


class Drafts(Protocol):
    """What dead processes left of their answers."""

    def delivered(self, tx: Transaction, hold_id: str) -> tuple[str, Usage] | None:
        """The conversation and usage of the answer that was reserved under ``hold_id``; ``None`` if nothing is left."""
        ...

    def finish_draft(self, tx: Transaction, hold_id: str, cost_micro: int) -> None:
        """Make it a stored answer that cost so much."""
        ...


class Wallet(Pricing):
    """The one wallet of a vault. ``keep_anchor(seq, hash)`` is called after each entry is on disk."""

    def __init__(
        self,
        database: SqlDatabase,
        device: DeviceKey,
        keep_anchor: Callable[[int, str], None],
        power: Electricity | None = None,
        clock: Callable[[], float] = time.time,
        drafts: Drafts | None = None,
    ) -> None:
        super().__init__(database, device, keep_anchor, power, clock)
        self._drafts = drafts
        self._owner = Owner.current()

    @classmethod
    def open(
        cls,
        database: SqlDatabase,
        device: DeviceKey,
        anchor: tuple[int, str],
        keep_anchor: Callable[[int, str], None],
        power: Electricity | None = None,
        clock: Callable[[], float] = time.time,
        drafts: Drafts | None = None,
    ) -> "Wallet":
        """Check the ledger against its ``anchor``, resolve dead processes' holds, grant a new wallet its allowance.

        A ledger that is behind the anchor, does not contain it or is not whole opens all the same, with a ``problem``.
        """
        wallet = cls(database, device, keep_anchor, power, clock, drafts)
        try:
            with database.snapshot() as source:
                if acceptance.is_accepted(source):
                    acceptance.check_acceptance(anchor)
                else:
                    audit.check_newest(source, *anchor, device.public)
        except Damaged as error:
            wallet._note(error, anchor)
        if wallet.problem is None:
            wallet._begin()
        return wallet

    def balance(self) -> int:
        """Micro-credits that can be spent now: posted minus everything held."""
        return book.available(self._database)

    def top_up(self, amount_micro: int, idem: str | None = None, note: str | None = None) -> int:
        """Grant the wallet an amount (one's own allowance, no money moves); returns the new balance.

        ``note`` is kept with the entry: up to 500 characters.
        """
        whole(amount_micro, "the amount")
        if note is not None and len(note) > _LONGEST_NOTE:
            raise UsageError(f"the note has {len(note)} characters", f"{_LONGEST_NOTE} are kept")
        key = idem or f"grant:{secrets.token_hex(16)}"
        with self.writing() as tx:
            earlier, now = book.find(tx, key), self.now()
            if earlier is None:
                self.post_final(
                    tx, Entry(key, EntryKind.TRANSFER, _GRANT, WALLET, amount_micro, now, note=note, day=_day(now))
                )
            elif (earlier.kind, earlier.amount) != (EntryKind.TRANSFER, amount_micro):
                raise _key_reused(key)
            return book.available(tx)

    def budgets(self) -> list[tuple[Budget, int | None]]:
        """Every budget in force with what is spent and held under it now; ``None`` where each one has its own sum."""
        today = _day(self.now())
        with self._database.snapshot() as source:
            return [(budget, budgets.spent_now(source, budget.scope, today)) for budget in budgets.in_force(source)]

    def spending(self) -> tuple[int, int]:
        """Micro-credits spent and held today and in this month."""
        today = _day(self.now())
        with self._database.snapshot() as source:
            day, month = (budgets.spent_now(source, Scope("all", None, period), today) for period in ("day", "month"))
        return day or 0, month or 0

    def room(self, build: Build, *, chat_id: str | None = None, key: str | None = None) -> int:
        """Micro-credits that balance and budgets leave for an answer of ``build``."""
        now = self.now()
        asked = Entry(
            "", EntryKind.HOLD, WALLET, ADJUST, 0, now, build_id=build.id, chat_id=chat_id, key=key, day=_day(now)
        )
        with self._database.snapshot() as source:
            return min([book.available(source), *(left for _, left in budgets.rooms(source, asked))])

    def set_budget(self, scope: Scope | str, limit_micro: int | None) -> None:
        """Limit what may be spent in ``scope`` from now on; ``None`` lifts the limit."""
        scope = Scope.parse(scope) if isinstance(scope, str) else scope
        if limit_micro is not None:
            whole(limit_micro, "the budget")
        with self.writing() as tx:
            self.declare(tx, EntryKind.BUDGET, str(scope), {"limit": limit_micro})

    def hold(
        self,
        tx: Transaction,
        build: Build,
        amount_micro: int,
        *,
        chat_id: str | None = None,
        key: str | None = None,
        idem: str | None = None,
    ) -> Hold:
        """Reserve an amount; raises ``OutOfCredit`` where balance or budgets do not allow it.

        ``key`` is the name that it is counted under. A repeated ``idem`` holds once.
        """
        whole(amount_micro, "the amount to hold")
        if key is not None and not _NAME.fullmatch(key):
            raise UsageError(f"{key[:60]!r} is no name to count under", "up to 100 letters, digits and . _ @ + -")
        own = writable(tx)
        acceptance.require_whole(own)
        reserved = Entry(
            idem or secrets.token_hex(16),
            EntryKind.HOLD,
            debit=WALLET,
            credit=f"usage:{build.sha256 or build.id}",
            amount=amount_micro,
            ts=self.now(),
            build_id=build.id,
            chat_id=chat_id,
            owner=self._owner,
            key=key,
        )
        earlier = book.find(own, reserved.idem)
        if earlier is not None:
            if any(getattr(earlier, name) != getattr(reserved, name) for name in _SAME_REQUEST):
                raise _key_reused(reserved.idem)
            return Hold(earlier.idem, earlier.amount)
        reserved = replace(reserved, day=_day(reserved.ts), price_id=self._price(own, build).id)
        try:
            self._check_room(own, reserved)
        except OutOfCredit:
            if not self._resolve_dead(own):
                raise
            self._check_room(own, reserved)
        self.post_final(own, reserved)
        return Hold(reserved.idem, amount_micro)

    def settle(self, tx: Transaction, hold: Hold, build: Build, usage: Usage, chat_id: str | None) -> int:
        """Charge what the usage costs (never more than the hold), release the rest, return the micro-credits charged.

        The price is the one in force when the hold was made. Settling again returns the first charge; a hold that was
        voided meanwhile charges 0.
        """
        check_usage(usage)
        own = writable(tx)
        reserved = book.find(own, hold.id)
        if reserved is None or reserved.kind is not EntryKind.HOLD or reserved.build_id != build.id:
            raise UsageError(f"there is no hold {hold.id} for {build.id}", "send the prompt again")
        if reserved.chat_id != chat_id and reserved.day is not None:
            raise UsageError(f"the hold {hold.id} is for another conversation", "send the prompt again")
        if not book.is_open(own, hold.id):
            earlier = book.resolution(own, hold.id)
            return 0 if earlier is None else earlier.amount
        return self._charge(own, replace(reserved, chat_id=chat_id), usage)

    def void(self, hold: Hold) -> None:
        """Release a hold in a transaction of its own; nothing is charged. A resolved hold stays as it is."""
        with self._database.transaction() as tx:
            reserved = book.find(tx, hold.id)
            if reserved is not None and book.is_open(tx, hold.id):
                self._release(tx, reserved)

    def recover(self) -> int:
        """Resolve the holds of processes that no longer run; returns how many. Done at each ``open``.

        What such a process delivered is charged and kept, if there is a draft of it; else the hold is voided.
        """
        if not book.open_holds(self._database):
            return 0
        with self.writing() as tx:
            return self._resolve_dead(tx)

    def _begin(self) -> None:
        if acceptance.is_accepted(self._database):
            with self._database.transaction() as tx:
                if acceptance.is_accepted(tx):  # no other process was faster
                    self._sign_from_here(tx)
                    seq, head = acceptance.record(tx, self.device, self.now())
                    tx.on_commit(lambda: self._anchor(seq, head))
        if book.signing_key(self._database) != self.device.public:
            with self.writing() as tx:
                self._sign_from_here(tx)
        if not self._database.execute("SELECT 1 FROM entry WHERE kind IN ('transfer', 'restore') LIMIT 1"):
            self.top_up(ALLOWANCE_MICRO, _ALLOWANCE_KEY)
        self.recover()

    def _sign_from_here(self, tx: SqlTransaction) -> None:
        """A vault that was restored elsewhere has a new key: whoever copied the old device cannot sign as the new."""
        if book.signing_key(tx) != self.device.public:
            public = self.device.public.hex()
            idem = f"device:{public}:{secrets.token_hex(4)}"
            terms: dict[str, Term] = {"public_key": public}
            self.post_final(tx, Entry(idem, EntryKind.DEVICE, ADJUST, ADJUST, 0, self.now(), ref=public, terms=terms))

    def _check_room(self, tx: SqlTransaction, reserved: Entry) -> None:
        balance = book.available(tx)
        if reserved.amount > balance:
            need = format_credits(reserved.amount)
            raise OutOfCredit(
                f"this answer can cost up to {need} credits; the balance is {format_credits(balance)}",
                "top up: nanolocal credits topup",
                balance,
            )
        budgets.check(tx, reserved)

    def _resolve_dead(self, tx: SqlTransaction) -> int:
        dead = [held for held in book.open_holds(tx) if held.owner is None or not held.owner.is_alive()]
        for held in dead:
            left = self._drafts.delivered(tx, held.idem) if self._drafts is not None else None
            if self._drafts is None or left is None:
                self._release(tx, held)
            else:
                chat_id, usage = left
                self._drafts.finish_draft(tx, held.idem, self._charge(tx, replace(held, chat_id=chat_id), usage))
        return len(dead)

    def _charge(self, tx: SqlTransaction, reserved: Entry, usage: Usage) -> int:
        """Settle an open hold at the price that it was made for."""
        card = book.price_card(tx, reserved.price_id or "")
        if card is None:
            raise Damaged(f"the price of the hold {reserved.idem} is missing", book.HINT)
        charged = min(card.cost(usage), reserved.amount)
        self.post_final(tx, replace(self._resolved(reserved, EntryKind.SETTLE), amount=charged, usage=usage))
        return charged

    def _release(self, tx: SqlTransaction, reserved: Entry) -> None:
        self.post_final(tx, self._resolved(reserved, EntryKind.VOID))

    def _resolved(self, reserved: Entry, kind: EntryKind) -> Entry:
        return replace(
            reserved,
            idem=f"{kind}:{reserved.idem}",
            kind=kind,
            amount=0,
            ts=max(reserved.ts, self._read_clock()),
            ref=reserved.idem,
            held=reserved.amount,
            owner=None,
        )


_SAME_REQUEST = ("kind", "amount", "build_id", "chat_id", "key")


def _day(ts: int) -> str:
    """The calendar day, where the user is."""
    return datetime.fromtimestamp(ts / 1000).strftime("%Y-%m-%d")


def _key_reused(key: str) -> UsageError:
    return UsageError(f"the key {key} was already used for another request", "use a new one")
