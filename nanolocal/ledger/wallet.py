"""The wallet: implements ``chat.ports.Ledger``. Reserve the most an answer can cost, then charge what it did cost.

Every public method leaves the entries, the accounts and the chain in step, or changes nothing. A repeated request
(same idempotency key) changes nothing. An answer is never lost for its price: a settle charges at most its hold, and a
hold that was released in the meantime charges nothing.
"""

import contextlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from nanolocal.chat.amounts import MICRO, format_credits
from nanolocal.chat.messages import Usage
from nanolocal.chat.ports import Hold, Transaction
from nanolocal.chat.routes import Build
from nanolocal.errors import Damaged, NanolocalError, OutOfCredit, UsageError
from nanolocal.ledger import book
from nanolocal.ledger.book import Checked
from nanolocal.ledger.chain import WALLET, Entry, EntryKind
from nanolocal.ledger.money import whole
from nanolocal.ledger.owner import Owner
from nanolocal.ledger.prices import Electricity, PriceCard, check_usage, electricity_card
from nanolocal.ledger.sql import Source, SqlDatabase, SqlTransaction, writable

ALLOWANCE_MICRO = 100_000
_ALLOWANCE_KEY = "grant:first"
_GRANT = "grant:self"
_LONGEST_NOTE = 500


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
        keep_anchor: Callable[[int, str], None],
        power: Electricity | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._keep_anchor = keep_anchor
        self._power = power or Electricity()
        self._clock = clock
        self._owner = Owner.current()

    @classmethod
    def open(
        cls,
        database: SqlDatabase,
        anchor: tuple[int, str],
        keep_anchor: Callable[[int, str], None],
        power: Electricity | None = None,
        clock: Callable[[], float] = time.time,
        drafts: Drafts | None = None,
    ) -> "Wallet":
        """Check the ledger against its ``anchor``, resolve dead processes' holds, grant a new wallet its allowance.

        Raises ``Damaged`` when the ledger is behind the anchor or does not contain it.
        """
        wallet = cls(database, keep_anchor, power, clock)
        with database.snapshot() as source:
            book.check_anchor(source, *anchor)
            is_new = book.head(source)[0] == 0
        if is_new:
            wallet.top_up(ALLOWANCE_MICRO, _ALLOWANCE_KEY)
        wallet.recover(drafts)
        return wallet

    def balance(self) -> int:
        """Micro-credits that can be spent now: posted minus everything held."""
        return book.available(self._database)

    def price(self, build: Build) -> PriceCard:
        """The card in force for a build; the default one is made and recorded on first use."""
        card = _card_in_force(self._database, build)
        if card is not None:
            return card
        with self._database.transaction() as tx:
            return self._price(tx, build)

    def top_up(self, amount_micro: int, idem: str | None = None, note: str | None = None) -> int:
        """Grant the wallet an amount (one's own allowance, no money moves); returns the new balance.

        ``note`` is kept with the entry: up to 500 characters.
        """
        whole(amount_micro, "the amount")
        if note is not None and len(note) > _LONGEST_NOTE:
            raise UsageError(f"the note has {len(note)} characters", f"{_LONGEST_NOTE} are kept")
        key = idem or f"grant:{secrets.token_hex(16)}"
        with self._database.transaction() as tx:
            earlier = book.find(tx, key)
            if earlier is None:
                granted = Entry(key, EntryKind.TRANSFER, _GRANT, WALLET, amount_micro, self._now(), note=note)
                self._post_final(tx, granted)
            elif (earlier.kind, earlier.amount) != (EntryKind.TRANSFER, amount_micro):
                raise _key_reused(key)
            return book.available(tx)

    def hold(self, build: Build, amount_micro: int, idem: str | None = None) -> Hold:
        """Reserve an amount in a transaction of its own; raises ``OutOfCredit``. A repeated ``idem`` holds once."""
        whole(amount_micro, "the amount to hold")
        key = idem or secrets.token_hex(16)
        with self._database.transaction() as tx:
            earlier = book.find(tx, key)
            if earlier is not None:
                if (earlier.kind, earlier.amount, earlier.build_id) != (EntryKind.HOLD, amount_micro, build.id):
                    raise _key_reused(key)
                return Hold(key, amount_micro)
            card = self._price(tx, build)
            balance = book.available(tx)
            if amount_micro > balance:
                raise _out_of_credit(build, card, balance, amount_micro)
            reserved = Entry(
                key,
                EntryKind.HOLD,
                debit=WALLET,
                credit=f"usage:{build.sha256 or build.id}",
                amount=amount_micro,
                ts=self._now(),
                build_id=build.id,
                price_id=card.id,
                owner=self._owner,
            )
            book.post(tx, reserved)
        return Hold(key, amount_micro)

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
        earlier = book.resolution(own, hold.id)
        if earlier is not None:
            return earlier.amount
        return self._charge(own, reserved, usage, chat_id)

    def void(self, hold: Hold) -> None:
        """Release a hold in a transaction of its own; nothing is charged. A resolved hold stays as it is."""
        with self._database.transaction() as tx:
            reserved = book.find(tx, hold.id)
            if reserved is not None and reserved.kind is EntryKind.HOLD and book.resolution(tx, hold.id) is None:
                self._release(tx, reserved)

    def recover(self, drafts: Drafts | None = None) -> int:
        """Resolve the holds of processes that no longer run; returns how many. Done at each ``open``.

        What such a process delivered is charged and kept, if there is a draft of it; else the hold is voided.
        """
        if not book.open_holds(self._database):
            return 0
        with self._database.transaction() as tx:
            dead = [held for held in book.open_holds(tx) if held.owner is None or not held.owner.is_alive()]
            for held in dead:
                left = drafts.delivered(tx, held.idem) if drafts is not None else None
                if drafts is None or left is None:
                    self._release(tx, held)
                else:
                    chat_id, usage = left
                    drafts.finish_draft(tx, held.idem, self._charge(tx, held, usage, chat_id))
        return len(dead)

    def history(self, limit: int, *, with_holds: bool = False) -> list[EntryRow]:
        """The newest movements first; ``with_holds`` adds holds and voids, which move nothing for good."""
        kinds = "kind IN ('transfer', 'settle')" if not with_holds else "1"
        rows = self._database.execute(
            f"SELECT body FROM entry WHERE {kinds} ORDER BY seq DESC LIMIT ?",  # noqa: S608 - kinds is ours
            (max(0, limit),),
        )
        return [_row(Entry.from_body(row[0])) for row in rows]

    def verify(self, anchor: tuple[int, str] | None = None) -> Checked:
        """Walk the whole chain, recompute every account and charge, check the ``anchor``; raises ``Damaged``."""
        with self._database.snapshot() as source:
            if anchor is not None:
                book.check_anchor(source, *anchor)
            return book.check_all(source)

    def _price(self, tx: SqlTransaction, build: Build) -> PriceCard:
        card = _card_in_force(tx, build)
        if card is None:
            card = electricity_card(build, self._power)
            values = (card.id, card.body(), self._now())
            tx.execute("INSERT INTO price (id, body, recorded_at) VALUES (?, ?, ?)", values)
        return card

    def _charge(self, tx: SqlTransaction, reserved: Entry, usage: Usage, chat_id: str | None) -> int:
        """Settle an open hold at the price that it was made for."""
        card = book.price_card(tx, reserved.price_id or "")
        if card is None:
            raise Damaged(f"the price of the hold {reserved.idem} is missing", "nanolocal vault restore")
        charged = min(card.cost(usage), reserved.amount)
        settled = replace(
            reserved,
            idem=f"settle:{reserved.idem}",
            kind=EntryKind.SETTLE,
            amount=charged,
            ts=self._now(),
            ref=reserved.idem,
            held=reserved.amount,
            usage=usage,
            chat_id=chat_id,
            owner=None,
        )
        self._post_final(tx, settled)
        return charged

    def _release(self, tx: SqlTransaction, reserved: Entry) -> None:
        void = replace(
            reserved,
            idem=f"void:{reserved.idem}",
            kind=EntryKind.VOID,
            amount=0,
            ts=self._now(),
            ref=reserved.idem,
            held=reserved.amount,
            owner=None,
        )
        book.post(tx, void)

    def _post_final(self, tx: SqlTransaction, entry: Entry) -> None:
        """Post what must not be taken back: once it is on disk, the anchor outside the database follows."""
        seq, head = book.post(tx, entry)
        tx.on_commit(lambda: self._anchor(seq, head))

    def _anchor(self, seq: int, head: str) -> None:
        """An anchor that cannot be written stays behind, which is allowed; the payment itself is safe."""
        with contextlib.suppress(OSError, NanolocalError):
            self._keep_anchor(seq, head)

    def _now(self) -> int:
        return max(0, int(self._clock() * 1000))


def _card_in_force(source: Source, build: Build) -> PriceCard | None:
    rows = source.execute(
        "SELECT id FROM price WHERE build_id = ? AND build_sha256 = ? ORDER BY seq DESC LIMIT 1",
        (build.id, build.sha256),
    )
    return book.price_card(source, rows[0][0]) if rows else None


def _row(entry: Entry) -> EntryRow:
    sign = {EntryKind.TRANSFER: 1, EntryKind.SETTLE: -1}.get(entry.kind, 0)
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


def _out_of_credit(build: Build, card: PriceCard, balance: int, need: int) -> OutOfCredit:
    message = f"this answer can cost up to {format_credits(need)} credits; the balance is {format_credits(balance)}"
    hint = "top up: nanolocal credits topup"
    if card.completion:
        hint += f"; or ask for less: the balance buys {balance * MICRO // card.completion} answer tokens of {build.id}"
    return OutOfCredit(message, hint)
