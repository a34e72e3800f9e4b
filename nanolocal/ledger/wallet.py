"""The wallet: implements ``chat.ports.Ledger``. Reserve the most an answer can cost, then charge what it did cost.

Every public method leaves the entries, the sums and the chain in step, or changes nothing. A repeated request (same
idempotency key) changes nothing. An answer is never lost for its price: a settle charges at most its hold, and a hold
that was released in the meantime charges nothing. A ledger that was changed from outside can be read, and spends
nothing until its owner accepts it.
"""

import contextlib
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from nanolocal.chat.amounts import format_credits
from nanolocal.chat.messages import Usage
from nanolocal.chat.ports import Hold, Transaction
from nanolocal.chat.routes import Build
from nanolocal.errors import Damaged, NanolocalError, OutOfCredit, UsageError
from nanolocal.ledger import acceptance, audit, book, budgets
from nanolocal.ledger.audit import Checked
from nanolocal.ledger.book import PriceChange
from nanolocal.ledger.budgets import Budget, Scope
from nanolocal.ledger.chain import ADJUST, WALLET, Entry, EntryKind, Term
from nanolocal.ledger.money import whole
from nanolocal.ledger.owner import Owner
from nanolocal.ledger.prices import Electricity, PriceCard, check_usage, electricity_card, is_outdated
from nanolocal.ledger.signing import DeviceKey
from nanolocal.ledger.sql import Source, SqlDatabase, SqlTransaction, writable

ALLOWANCE_MICRO = 100_000
_ALLOWANCE_KEY = "grant:first"
_GRANT = "grant:self"
_LONGEST_NOTE = 500
_NAME = re.compile(r"[\w.@+-]{1,100}")
_EARLIEST_MS = 1_735_689_600_000  # 2025: whatever is before it is a clock that was never set
_LATEST_MS = 253_402_300_800_000  # the year 10000


@dataclass(frozen=True, slots=True)
class EntryRow:
    """One movement in a history. ``amount_micro`` is what it did to the wallet: negative when spent.

    ``ts`` in seconds since 1970. A hold or void moves nothing for good, so its amount is 0.
    """

    seq: int
    ts: float
    kind: str
    amount_micro: int
    build_id: str | None
    chat_id: str | None
    usage: Usage | None
    note: str | None


class Drafts(Protocol):
    """What dead processes left of their answers."""

    def delivered(self, tx: Transaction, hold_id: str) -> tuple[str, Usage] | None:
        """The conversation and usage of the answer that was reserved under ``hold_id``; ``None`` if nothing is left."""
        ...

    def finish_draft(self, tx: Transaction, hold_id: str, cost_micro: int) -> None:
        """Make it a stored answer that cost so much."""
        ...


class Wallet:
    """The one wallet of a vault. ``keep_anchor(seq, hash)`` is called after each settle or top-up is on disk."""

    def __init__(
        self,
        database: SqlDatabase,
        device: DeviceKey,
        keep_anchor: Callable[[int, str], None],
        power: Electricity | None = None,
        clock: Callable[[], float] = time.time,
        drafts: Drafts | None = None,
    ) -> None:
        self.device = device
        self._database = database
        self._keep_anchor = keep_anchor
        self.power = power or Electricity()
        self._clock = clock
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
        if not acceptance.is_accepted(database):
            try:
                with database.snapshot() as source:
                    audit.check_anchor(source, *anchor)
            except Damaged as error:
                wallet._note(error, anchor)
        if wallet.problem is None:
            wallet._begin()
        return wallet

    @property
    def problem(self) -> Damaged | None:
        """Why nothing can be spent: what a check found, until the owner accepts it."""
        return acceptance.problem(self._database)

    def balance(self) -> int:
        """Micro-credits that can be spent now: posted minus everything held."""
        return book.available(self._database)

    def price(self, build: Build) -> PriceCard:
        """The card in force for a build; the estimate is made and recorded on first use, and when it has changed."""
        card = self._in_force(self._database, build)
        if card is not None:
            return card
        with self.writing() as tx:
            return self._price(tx, build)

    def shown_price(self, build: Build) -> PriceCard:
        """The card that the next hold would be made for, without recording it."""
        return self._in_force(self._database, build) or self.estimate(build)

    def estimate(self, build: Build) -> PriceCard:
        """What the build costs by the estimate of its electricity, whatever is in force."""
        return electricity_card(build, self.power)

    def price_changes(self, build: Build) -> list[PriceChange]:
        """Every card that was put in force for a build, the newest first."""
        return book.price_changes(self._database, build.id)

    def set_price(self, card: PriceCard) -> None:
        """Put a card in force for its build from now on; holds that are open keep theirs."""
        with self.writing() as tx:
            self._put_in_force(tx, card)

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

    def set_budget(self, scope: Scope, limit_micro: int | None) -> None:
        """Limit what may be spent in ``scope`` from now on; ``None`` lifts the limit."""
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
        book.post(own, reserved, self.device)
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

    def history(self, limit: int, *, with_holds: bool = False) -> list[EntryRow]:
        """The newest movements first; ``with_holds`` adds what moves nothing for good."""
        rows = self._database.execute(
            """SELECT body FROM entry WHERE ? OR (? IN (debit, credit) AND
               (kind IN ('transfer', 'settle') OR (kind = 'restore' AND amount > 0))) ORDER BY seq DESC LIMIT ?""",
            (int(with_holds), WALLET, max(0, limit)),
        )
        return [_row(Entry.from_body(row[0])) for row in rows]

    def verify(
        self,
        anchor: tuple[int, str] | None = None,
        tell: Callable[[int, int], None] = lambda done, total: None,
    ) -> Checked:
        """Walk the whole chain, check every signature, recompute every sum and charge, check the ``anchor``.

        Raises ``Damaged``; from then on the wallet is read-only.
        """
        if self.problem is not None:
            raise self.problem
        try:
            with self._database.snapshot() as source:
                if anchor is not None:
                    audit.check_anchor(source, *anchor)
                return audit.check_all(source, self.device.public, tell)
        except Damaged as error:
            self._note(error, anchor or book.head(self._database))
            raise

    @contextmanager
    def writing(self) -> Iterator[SqlTransaction]:
        """A write transaction; raises ``Damaged`` while the wallet is read-only."""
        with self._database.transaction() as tx:
            acceptance.require_whole(tx)
            yield tx

    def declare(self, tx: SqlTransaction, kind: EntryKind, ref: str, terms: dict[str, Term]) -> None:
        """Put on the record what holds from here on; saying the same again changes nothing."""
        earlier = book.newest(tx, kind, ref)
        if earlier is None or earlier.terms != terms:
            idem = f"{kind}:{secrets.token_hex(16)}"
            self.post_final(tx, Entry(idem, kind, ADJUST, ADJUST, 0, self.now(), ref=ref, terms=terms))

    def post_final(self, tx: SqlTransaction, entry: Entry) -> None:
        """Post what must not be taken back: once it is on disk, the anchor outside the database follows."""
        seq, head = book.post(tx, entry, self.device)
        tx.on_commit(lambda: self._anchor(seq, head))

    def now(self) -> int:
        """Milliseconds since 1970; raises ``UsageError`` where the machine's clock was never set."""
        now = self._read_clock()
        if not _EARLIEST_MS <= now < _LATEST_MS:
            shown = datetime.fromtimestamp(now / 1000, UTC).date() if 0 <= now < _LATEST_MS else f"{now // 1000} s"
            raise UsageError(f"this machine's clock says {shown}, so nothing can be put on the record", "set the clock")
        return now

    def _begin(self) -> None:
        if acceptance.is_accepted(self._database):
            with self._database.transaction() as tx:
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

    def _price(self, tx: SqlTransaction, build: Build) -> PriceCard:
        return self._in_force(tx, build) or self._put_in_force(tx, self.estimate(build))

    def _in_force(self, source: Source, build: Build) -> PriceCard | None:
        """The card in force; ``None`` too where that is an estimate from other watts or another tariff."""
        card = book.price_in_force(source, build.id, build.sha256)
        return None if card is None or is_outdated(card, self.estimate(build)) else card

    def _put_in_force(self, tx: SqlTransaction, card: PriceCard) -> PriceCard:
        """Record a card and the word that it is in force; one whose record was changed is recorded anew."""
        tx.execute(
            "INSERT OR IGNORE INTO price (id, body, recorded_at) VALUES (?, ?, ?)", (card.id, card.body(), self.now())
        )
        if tx.execute("SELECT body FROM price WHERE id = ?", (card.id,)) != [(card.body(),)]:
            return self._put_in_force(tx, replace(card, evidence=f"{card.evidence} (recorded anew)"))
        idem = f"price:{secrets.token_hex(16)}"
        entry = Entry(idem, EntryKind.PRICE, ADJUST, ADJUST, 0, self.now(), build_id=card.build_id, price_id=card.id)
        self.post_final(tx, entry)
        return card

    def _charge(self, tx: SqlTransaction, reserved: Entry, usage: Usage) -> int:
        """Settle an open hold at the price that it was made for."""
        card = book.price_card(tx, reserved.price_id or "")
        if card is None:
            raise Damaged(f"the price of the hold {reserved.idem} is missing", book.HINT)
        charged = min(card.cost(usage), reserved.amount)
        self.post_final(tx, replace(self._resolved(reserved, EntryKind.SETTLE), amount=charged, usage=usage))
        return charged

    def _release(self, tx: SqlTransaction, reserved: Entry) -> None:
        book.post(tx, self._resolved(reserved, EntryKind.VOID), self.device)

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

    def _note(self, found: Damaged, known: tuple[int, str]) -> None:
        """Make the wallet read-only; a page that cannot be read is raised: that is for the vault to repair."""
        if type(found) is not Damaged:
            raise found
        with self._database.transaction() as tx:
            acceptance.note(tx, found.message, *known)

    def _anchor(self, seq: int, head: str) -> None:
        """An anchor that cannot be written stays behind, which is allowed; the payment itself is safe."""
        with contextlib.suppress(OSError, NanolocalError):
            self._keep_anchor(seq, head)

    def _read_clock(self) -> int:
        return int(self._clock() * 1000)


_SAME_REQUEST = ("kind", "amount", "build_id", "chat_id", "key")


def _day(ts: int) -> str:
    """The calendar day, where the user is."""
    return datetime.fromtimestamp(ts / 1000).strftime("%Y-%m-%d")


def _row(entry: Entry) -> EntryRow:
    sign = {EntryKind.TRANSFER: 1, EntryKind.RESTORE: 1, EntryKind.SETTLE: -1}.get(entry.kind, 0)
    if WALLET not in (entry.debit, entry.credit):
        sign = 0
    return EntryRow(
        seq=entry.seq,
        ts=entry.ts / 1000,
        kind=entry.kind.value,
        amount_micro=sign * entry.amount,
        build_id=entry.build_id,
        chat_id=entry.chat_id,
        usage=entry.usage,
        note=entry.note,
    )


def _key_reused(key: str) -> UsageError:
    return UsageError(f"the key {key} was already used for another request", "use a new one")
