"""The ledger as stored: posting one entry with its account changes, reading entries back, checking all of it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from nanolocal.errors import Damaged, UsageError
from nanolocal.ledger.chain import ADJUST, GENESIS, WALLET, Entry, EntryKind, chain_hash, moves
from nanolocal.ledger.money import LARGEST
from nanolocal.ledger.prices import PriceCard
from nanolocal.ledger.sql import Row, Source, SqlTransaction

_SUMS = ("debits_posted", "credits_posted", "debits_pending", "credits_pending")
_HINT = "nanolocal vault restore"


@dataclass(frozen=True, slots=True)
class Checked:
    """A ledger found whole: how many entries, the last one's hash, and the holds still open."""

    entries: int
    head: str
    open_holds: int


def post(tx: SqlTransaction, entry: Entry) -> tuple[int, str]:
    """Append ``entry`` and change its two accounts; returns its number and hash, the chain's new head."""
    seq, prev = head(tx)
    entry = replace(entry, seq=seq + 1)
    for account in (entry.debit, entry.credit):
        tx.execute("INSERT OR IGNORE INTO account (id, no_overdraft) VALUES (?, ?)", (account, int(account == WALLET)))
    body = entry.body()
    new_head = chain_hash(prev, body)
    tx.execute("INSERT INTO entry (seq, body, prev, hash) VALUES (?, ?, ?, ?)", (entry.seq, body, prev, new_head))
    for move in moves(entry):
        _move(tx, move.account, move.side, move.posted, move.pending)
    return entry.seq, new_head


def _move(tx: SqlTransaction, account: str, side: str, posted: int, pending: int) -> None:
    sums = f"SELECT {side}_posted, {side}_pending FROM account WHERE id = ?"  # noqa: S608 - side is ours
    old_posted, old_pending = tx.execute(sums, (account,))[0]
    if max(old_posted + posted, old_pending + pending) > LARGEST:
        raise UsageError("the ledger cannot hold such a sum", "use a smaller amount")
    tx.execute(
        f"UPDATE account SET {side}_posted = ?, {side}_pending = ? WHERE id = ?",  # noqa: S608 - side is ours
        (old_posted + posted, old_pending + pending, account),
    )


def head(source: Source) -> tuple[int, str]:
    """Number and hash of the last entry; (0, sixty-four zeros) before the first."""
    rows = source.execute("SELECT seq, hash FROM entry ORDER BY seq DESC LIMIT 1")
    return (rows[0][0], rows[0][1]) if rows else (0, GENESIS)


def record_loss(tx: SqlTransaction, seq: int, head_hash: str, ts: int, why: str) -> tuple[int, str]:
    """Write into the chain that the owner went on without some entries, whose newest known one is ``seq``, and why.

    Returns the chain's new head.
    """
    ref = f"{seq}:{head_hash}"
    return post(tx, Entry(f"restore:{ref}:{ts}", EntryKind.RESTORE, ADJUST, ADJUST, 0, ts, ref=ref, note=why))


def find(source: Source, idem: str) -> Entry | None:
    """The entry made under that idempotency key."""
    rows = source.execute("SELECT body FROM entry WHERE idem = ?", (idem,))
    return Entry.from_body(rows[0][0]) if rows else None


def resolution(source: Source, hold_id: str) -> Entry | None:
    """The settle or void of a hold, if it has one."""
    rows = source.execute("SELECT body FROM entry WHERE ref = ? AND kind IN ('settle', 'void')", (hold_id,))
    return Entry.from_body(rows[0][0]) if rows else None


def open_holds(source: Source) -> list[Entry]:
    """Every hold that is neither settled nor voided."""
    rows = source.execute(
        """SELECT body FROM entry AS held WHERE kind = 'hold' AND NOT EXISTS
           (SELECT 1 FROM entry AS done WHERE done.ref = held.idem AND done.kind IN ('settle', 'void'))"""
    )
    return [Entry.from_body(row[0]) for row in rows]


def available(source: Source) -> int:
    """The wallet's posted credits less everything spent or held."""
    rows = source.execute("SELECT credits_posted - debits_posted - debits_pending FROM account WHERE id = ?", (WALLET,))
    return int(rows[0][0]) if rows else 0


def check_anchor(source: Source, seq: int, head_hash: str) -> None:
    """Raise ``Damaged`` unless the ledger still contains the anchored entry and continues it without a break."""
    last = head(source)[0]
    if last < seq:
        raise Damaged(
            f"the ledger ends at entry {last}, but entry {seq} was already settled: an older copy was put back", _HINT
        )
    if seq == 0:
        return
    if source.execute("SELECT hash FROM entry WHERE seq = ?", (seq,)) != [(head_hash,)]:
        raise Damaged(f"ledger entry {seq} is not the one that was settled: the ledger was replaced", _HINT)
    for _ in _chain(source, seq):
        pass


def check_all(source: Source) -> Checked:
    """Walk the whole chain and add up every account anew; raises ``Damaged`` at the first difference."""
    sums: dict[str, dict[str, int]] = {}
    holds: dict[str, Entry] = {}
    last, head_hash = 0, GENESIS
    for entry, entry_hash in _chain(source, 1):
        last, head_hash = entry.seq, entry_hash
        _check_resolution(source, holds, entry)
        for move in moves(entry):
            account = sums.setdefault(move.account, dict.fromkeys(_SUMS, 0))
            account[f"{move.side}_posted"] += move.posted
            account[f"{move.side}_pending"] += move.pending
    _check_accounts(source, sums)
    return Checked(last, head_hash, len(holds))


def _chain(source: Source, first: int) -> Iterator[tuple[Entry, str]]:
    """The entries from number ``first`` on with their hashes, each checked against the one before."""
    before = source.execute("SELECT hash FROM entry WHERE seq = ?", (first - 1,))
    prev, expected = (before[0][0] if before else GENESIS), first
    for seq, body, stored_prev, stored_hash in _stored_entries(source, first):
        if seq != expected:
            raise Damaged(f"ledger entry {expected} is missing", _HINT)
        if stored_prev != prev or stored_hash != chain_hash(prev, body):
            raise Damaged(f"ledger entry {seq} was changed", _HINT)
        entry = Entry.from_body(body)
        if entry.seq != seq or entry.body() != body:
            raise Damaged(f"ledger entry {seq} was changed", _HINT)
        prev, expected = stored_hash, seq + 1
        yield entry, stored_hash


def _stored_entries(source: Source, first: int) -> Iterator[Row]:
    """The rows from number ``first`` on, a thousand at a time: a long ledger need not fit in memory."""
    query = "SELECT seq, body, prev, hash FROM entry WHERE seq >= ? ORDER BY seq LIMIT 1000"
    while rows := source.execute(query, (first,)):
        yield from rows
        first = rows[-1][0] + 1


def _check_resolution(source: Source, holds: dict[str, Entry], entry: Entry) -> None:
    """A settle or void resolves one open hold, once, for at most its amount, at the price that was recorded."""
    if entry.kind is EntryKind.HOLD:
        holds[entry.idem] = entry
    if entry.kind not in {EntryKind.SETTLE, EntryKind.VOID}:
        return
    hold = holds.pop(entry.ref or "", None)
    if hold is None or entry.held != hold.amount or entry.amount > hold.amount:
        raise Damaged(f"ledger entry {entry.seq} does not fit its hold", _HINT)
    if entry.kind is EntryKind.SETTLE and entry.usage is not None:
        card = price_card(source, entry.price_id or "")
        if card is None or min(card.cost(entry.usage), hold.amount) != entry.amount:
            raise Damaged(f"ledger entry {entry.seq} does not cost what its price says", _HINT)


def _check_accounts(source: Source, sums: dict[str, dict[str, int]]) -> None:
    stored = {row[0]: row[1:] for row in source.execute(f"SELECT id, {', '.join(_SUMS)}, no_overdraft FROM account")}  # noqa: S608
    expected = {name: (*(account[part] for part in _SUMS), int(name == WALLET)) for name, account in sums.items()}
    if stored != expected:
        wrong = sorted(name for name in stored.keys() | expected.keys() if stored.get(name) != expected.get(name))
        raise Damaged(f"the balance of {wrong[0]} is not the sum of its entries", _HINT)


def price_card(source: Source, price_id: str) -> PriceCard | None:
    """The recorded price with that id, checked against it."""
    rows = source.execute("SELECT body FROM price WHERE id = ?", (price_id,))
    if not rows:
        return None
    card = PriceCard.from_body(rows[0][0])
    if card.id != price_id:
        raise Damaged("a stored price was changed", _HINT)
    return card
