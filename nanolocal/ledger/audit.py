"""Whether a ledger is whole: every hash, signature, sum and charge is worked out anew from the entries."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from nanolocal.errors import Damaged
from nanolocal.ledger import book, budgets
from nanolocal.ledger.book import HINT
from nanolocal.ledger.chain import GENESIS, WALLET, Entry, EntryKind, Link, chain_hash, moves
from nanolocal.ledger.prices import PriceCard
from nanolocal.ledger.schema import GUARDS
from nanolocal.ledger.signing import is_signed
from nanolocal.ledger.sql import Source

K = TypeVar("K", str, tuple[str, str])

SUMS = ("debits_posted", "credits_posted", "debits_pending", "credits_pending")
_LATEST = 500
_TELL_EVERY = 1000


@dataclass(frozen=True, slots=True)
class Checked:
    """A ledger found whole: how many entries, the last one's hash, and the holds still open."""

    entries: int
    head: str
    open_holds: int


def check_anchor(source: Source, seq: int, head_hash: str) -> None:
    """Raise ``Damaged`` unless the ledger still contains the anchored entry and its newest entries are whole."""
    last = book.head(source)[0]
    if last < seq:
        raise Damaged(
            f"the ledger ends at entry {last}, but entry {seq} was already settled: an older copy was put back", HINT
        )
    if seq and source.execute("SELECT hash FROM entry WHERE seq = ?", (seq,)) != [(head_hash,)]:
        raise Damaged(f"ledger entry {seq} is not the one that was settled: the ledger was replaced", HINT)
    if last:
        for link in _chain(source, max(1, book.accepted_at(source), min(seq, last - _LATEST))):
            newest = link
        _check_signature(newest, book.signing_key(source))


def check_all(
    source: Source, device: bytes | None = None, tell: Callable[[int, int], None] = lambda done, total: None
) -> Checked:
    """Walk the whole chain, check each signature and add up every sum anew; raises ``Damaged`` at the first difference.

    ``device`` is the public key that must be the newest one; ``tell`` hears how many entries of how many are read.
    """
    last = book.head(source)[0]
    tally = Tally()
    first, head_hash = 1, GENESIS
    if accepted := book.accepted_at(source):
        _check_accepted(source, accepted)
        tally.take_as_found(source, accepted)
        first = accepted
    key = book.signing_key(source, before=first)
    cards: dict[str, PriceCard] = {}
    for link in _chain(source, first):
        head_hash = link.hash
        if link.entry.kind is EntryKind.DEVICE and link.entry.terms:
            key = bytes.fromhex(str(link.entry.terms["public_key"]))
        _check_signature(link, key)
        tally.take(link.entry)
        _check_charge(source, cards, link.entry)
        if link.entry.seq % _TELL_EVERY == 0:
            tell(link.entry.seq, last)
    if device is not None and last and key != device:
        raise Damaged("the ledger is not signed with this device's key: it was replaced", HINT)
    _check_accounts(source, tally)
    _check_guards(source)
    return Checked(last, head_hash, len(tally.holds))


def digest_before(source: Source, seq: int) -> str:
    """SHA-256 of all rows before number ``seq`` as they are, chained or not."""
    digest = hashlib.sha256(b"nl-ledger-rows-v1\0")
    first = 0
    query = "SELECT seq, body, prev, hash, hex(sig) FROM entry WHERE seq >= ? AND seq < ? ORDER BY seq LIMIT 1000"
    while rows := source.execute(query, (first, seq)):
        for row in rows:
            digest.update(json.dumps(row).encode())
        first = rows[-1][0] + 1
    return digest.hexdigest()


@dataclass
class Tally:
    """The sums of accounts and of ``spent``, and the holds that are open, as entry after entry gives them."""

    accounts: dict[str, list[int]] = field(default_factory=dict)
    spent: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    holds: dict[str, Entry] = field(default_factory=dict)

    def take(self, entry: Entry) -> None:
        """Add an entry; raises ``Damaged`` when it resolves no open hold, or for more than that holds."""
        if entry.kind is EntryKind.HOLD:
            self.holds[entry.idem] = entry
        if entry.kind in (EntryKind.SETTLE, EntryKind.VOID):
            hold = self.holds.pop(entry.ref or "", None)
            if hold is None or entry.held != hold.amount or entry.amount > hold.amount:
                raise Damaged(f"ledger entry {entry.seq} does not fit its hold", HINT)
        self._add(entry)

    def take_as_found(self, source: Source, before: int) -> None:
        """Add what is posted by every entry before number ``before`` that is genuine; nothing stays held."""
        for (account,) in source.execute("SELECT debit FROM entry UNION SELECT credit FROM entry"):
            if isinstance(account, str):
                self.accounts.setdefault(account, [0, 0, 0, 0])
        for entry in _genuine(source, before):
            self._add(entry)
        for sums in self.accounts.values():
            sums[2:] = 0, 0
        for both in self.spent.values():
            both[1] = 0

    def _add(self, entry: Entry) -> None:
        for move in moves(entry):
            side = 0 if move.side == "debits" else 1
            sums = self.accounts.setdefault(move.account, [0, 0, 0, 0])
            sums[side] += move.posted
            sums[2 + side] += move.pending
        for subject, period, posted, pending in budgets.counted(entry):
            both = self.spent.setdefault((subject, period), [0, 0])
            both[0] += posted
            both[1] += pending


def _chain(source: Source, first: int) -> Iterator[Link]:
    """The entries from number ``first`` on, each checked against the one before."""
    before = source.execute("SELECT hash FROM entry WHERE seq = ?", (first - 1,))
    prev, expected = (before[0][0] if before else GENESIS), first
    for link in book.links(source, first):
        seq = link.entry.seq
        if seq > expected:
            raise Damaged(f"ledger entry {expected} is missing", HINT)
        if seq != expected or link.prev != prev or link.hash != chain_hash(prev, link.body):
            raise Damaged(f"ledger entry {expected} was changed", HINT)
        if link.entry.body() != link.body:
            raise Damaged(f"ledger entry {seq} was changed", HINT)
        prev, expected = link.hash, seq + 1
        yield link


def _genuine(source: Source, before: int) -> Iterator[Entry]:
    """The entries before number ``before`` that fit their own hash and are signed, wherever they stand.

    Those older than the first ``device`` entry have no signature.
    """
    keys = list[bytes]()
    query = "SELECT seq, body, prev, hash, sig FROM entry WHERE seq >= ? AND seq < ? ORDER BY seq LIMIT 1000"
    first, signs = 0, False
    while rows := source.execute(query, (first, before)):
        for _, body, prev, stored_hash, sig in rows:
            try:
                entry = Entry.from_body(body)
                is_chained = stored_hash == chain_hash(prev, body) and entry.body() == body
                if entry.kind is EntryKind.DEVICE and entry.terms:
                    signs = True
                    keys.append(bytes.fromhex(str(entry.terms["public_key"])))
            except (Damaged, ValueError, KeyError):
                continue
            if is_chained and (any(is_signed(key, stored_hash, sig) for key in keys) or (sig is None and not signs)):
                yield entry
        first = rows[-1][0] + 1


def _check_signature(link: Link, key: bytes | None) -> None:
    """Entries older than the first device key have no signature; its own covers them through the chain."""
    if key is None and link.sig is None:
        return
    if key is None or not is_signed(key, link.hash, link.sig):
        raise Damaged(f"ledger entry {link.entry.seq} is not signed by this device", HINT)


def _check_charge(source: Source, cards: dict[str, PriceCard], entry: Entry) -> None:
    if entry.kind is not EntryKind.SETTLE or entry.usage is None:
        return
    price_id = entry.price_id or ""
    card = cards.get(price_id) or book.price_card(source, price_id)
    if card is None or charge(card, entry) != entry.amount:
        raise Damaged(f"ledger entry {entry.seq} does not cost what its price says", HINT)
    cards[price_id] = card


def charge(card: PriceCard, settled: Entry) -> int:
    """What a settled entry must charge: the usage at that price, at most what was held."""
    return 0 if settled.usage is None else min(card.cost(settled.usage), settled.held)


def _check_accepted(source: Source, seq: int) -> None:
    terms = Entry.from_body(source.execute("SELECT body FROM entry WHERE seq = ?", (seq,))[0][0]).terms or {}
    if terms.get("rows") != digest_before(source, seq):
        raise Damaged(f"the entries before {seq}, which you accepted, were changed again", HINT)


def _check_accounts(source: Source, tally: Tally) -> None:
    stored = {row[0]: row[1:] for row in source.execute(f"SELECT id, {', '.join(SUMS)}, no_overdraft FROM account")}  # noqa: S608
    expected = {name: (*sums, int(name == WALLET)) for name, sums in tally.accounts.items()}
    if wrong := _differences(stored, expected):
        raise Damaged(f"the balance of {wrong[0]} is not the sum of its entries", HINT)
    if {row[0] for row in source.execute("SELECT idem FROM held")} != tally.holds.keys():
        raise Damaged("the list of open holds does not follow from the entries", HINT)
    kept = {(row[0], row[1]): row[2:] for row in source.execute("SELECT subject, period, posted, pending FROM spent")}
    if wrong := _differences(kept, {row: tuple(both) for row, both in tally.spent.items()}):
        raise Damaged(f"what {wrong[0][0]} spent is not the sum of its entries", HINT)


def _differences(stored: dict[K, tuple[int, ...]], expected: dict[K, tuple[int, ...]]) -> list[K]:
    return sorted(name for name in stored.keys() | expected.keys() if stored.get(name) != expected.get(name))


def _check_guards(source: Source) -> None:
    if missing_guards(source):
        raise Damaged("the ledger's guards against changes were removed", HINT)


def missing_guards(source: Source) -> list[str]:
    """The triggers that are not as the schema made them."""
    stored: dict[str, str] = dict(source.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'"))
    return [name for name, sql in GUARDS.items() if stored.get(name) != sql]
