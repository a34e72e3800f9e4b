"""The ledger as stored: posting one entry with its account changes, and reading entries back."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from nanolocal.errors import Damaged, UsageError
from nanolocal.ledger import budgets
from nanolocal.ledger.chain import GENESIS, WALLET, Entry, EntryKind, Link, chain_hash, changes
from nanolocal.ledger.money import LARGEST
from nanolocal.ledger.prices import PriceCard
from nanolocal.ledger.signing import DeviceKey
from nanolocal.ledger.sql import SINCE_ACCEPTED, Source, SqlTransaction

HINT = "nanolocal vault restore"
"""What to do about a ledger that was changed."""


def post(tx: SqlTransaction, entry: Entry, device: DeviceKey) -> tuple[int, str]:
    """Append ``entry`` and add it to its sums; returns its number and hash, the chain's new head."""
    seq, new_head = append(tx, entry, device)
    posted, pending = changes(entry)
    if posted or pending:
        _move(tx, entry.debit, "debits", posted, pending)
        _move(tx, entry.credit, "credits", posted, pending)
    if entry.kind is EntryKind.HOLD:
        tx.execute("INSERT INTO held (idem) VALUES (?)", (entry.idem,))
    if entry.kind in (EntryKind.SETTLE, EntryKind.VOID):
        tx.execute("DELETE FROM held WHERE idem = ?", (entry.ref,))
    budgets.count(tx, entry)
    return seq, new_head


def append(tx: SqlTransaction, entry: Entry, device: DeviceKey) -> tuple[int, str]:
    """Append ``entry``, signed, without touching any sum; returns its number and hash."""
    seq, prev = head(tx)
    for account in (entry.debit, entry.credit):
        tx.execute("INSERT OR IGNORE INTO account (id, no_overdraft) VALUES (?, ?)", (account, int(account == WALLET)))
    body = replace(entry, seq=seq + 1).body()
    new_head = chain_hash(prev, body)
    tx.execute(
        "INSERT INTO entry (seq, body, prev, hash, sig) VALUES (?, ?, ?, ?, ?)",
        (seq + 1, body, prev, new_head, device.sign(new_head)),
    )
    return seq + 1, new_head


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


def find(source: Source, idem: str) -> Entry | None:
    """The entry made under that idempotency key."""
    rows = source.execute("SELECT body FROM entry WHERE idem = ?", (idem,))
    return Entry.from_body(rows[0][0]) if rows else None


def resolution(source: Source, hold_id: str) -> Entry | None:
    """The settle or void of a hold, if it has one."""
    rows = source.execute("SELECT body FROM entry WHERE ref = ? AND kind IN ('settle', 'void')", (hold_id,))
    return Entry.from_body(rows[0][0]) if rows else None


def open_holds(source: Source) -> list[Entry]:
    """Every hold that is neither settled nor voided, nor closed by the acceptance of a changed ledger."""
    rows = source.execute("SELECT body FROM held CROSS JOIN entry USING (idem) ORDER BY seq")  # not all entries first
    return [Entry.from_body(row[0]) for row in rows]


def is_open(source: Source, hold_id: str) -> bool:
    """Whether a hold is among these."""
    return bool(source.execute("SELECT 1 FROM held WHERE idem = ?", (hold_id,)))


def accepted_at(source: Source) -> int:
    """Number of the newest entry by which the owner took everything before it as it was found; 0 without one."""
    rows = source.execute(
        "SELECT seq FROM entry WHERE kind = 'restore' AND body ->> '$.terms.rows' IS NOT NULL ORDER BY seq DESC LIMIT 1"
    )
    return int(rows[0][0]) if rows else 0


def signing_key(source: Source, before: int = 2**62) -> bytes | None:
    """The public key in force before entry number ``before``: that of the newest ``device`` entry, if it names one."""
    rows = source.execute(
        "SELECT body ->> '$.terms.public_key' FROM entry WHERE kind = 'device' AND seq < ? ORDER BY seq DESC LIMIT 1",
        (before,),
    )
    try:
        return bytes.fromhex(str(rows[0][0])) if rows else None
    except ValueError:
        return None


def available(source: Source) -> int:
    """The wallet's posted credits less everything spent or held."""
    rows = source.execute("SELECT credits_posted - debits_posted - debits_pending FROM account WHERE id = ?", (WALLET,))
    return int(rows[0][0]) if rows else 0


def links(source: Source, first: int = 1) -> Iterator[Link]:
    """The entries from number ``first`` on as they are stored, unchecked; raises ``Damaged`` for one that is none.

    A thousand at a time: a long ledger need not fit in memory.
    """
    query = "SELECT seq, body, prev, hash, sig FROM entry WHERE seq >= ? ORDER BY seq LIMIT 1000"
    while rows := source.execute(query, (first,)):
        for _, body, prev, stored_hash, sig in rows:
            yield Link(Entry.from_body(body), body, prev, stored_hash, sig)
        first = rows[-1][0] + 1


def price_card(source: Source, price_id: str) -> PriceCard | None:
    """The recorded price with that id, checked against it."""
    rows = source.execute("SELECT body FROM price WHERE id = ?", (price_id,))
    if not rows:
        return None
    card = PriceCard.from_body(rows[0][0])
    if card.id != price_id:
        raise Damaged("a stored price was changed", HINT)
    return card


def price_in_force(source: Source, build_id: str, build_sha256: str) -> PriceCard | None:
    """The card last put in force for a build, if it can still be read."""
    rows = source.execute(
        f"""SELECT price.id, price.body FROM entry JOIN price ON price.id = entry.price_id
            WHERE kind = 'price' AND entry.build_id = ? AND build_sha256 = ? AND entry.seq > {SINCE_ACCEPTED}
            ORDER BY entry.seq DESC LIMIT 1""",  # noqa: S608 - own words
        (build_id, build_sha256),
    )
    if not rows:
        return None
    try:
        card = PriceCard.from_body(rows[0][1])
    except Damaged:
        return None
    return card if card.id == rows[0][0] else None


@dataclass(frozen=True, slots=True)
class PriceChange:
    """A card, and since when (seconds since 1970) it was in force, by entry ``seq``."""

    seq: int
    ts: float
    card: PriceCard


def price_changes(source: Source, build_id: str) -> list[PriceChange]:
    """Every card that was put in force for a build, the newest first; raises ``Damaged`` for one that was changed."""
    rows = source.execute(
        "SELECT seq, ts, price_id FROM entry WHERE kind = 'price' AND build_id = ? ORDER BY seq DESC", (build_id,)
    )
    cards = [(seq, ts / 1000, price_card(source, price_id)) for seq, ts, price_id in rows]
    return [PriceChange(seq, ts, card) for seq, ts, card in cards if card is not None]


def newest(source: Source, kind: EntryKind, ref: str) -> Entry | None:
    """The newest entry of that kind about ``ref``."""
    rows = source.execute(
        f"SELECT body FROM entry WHERE kind = ? AND ref = ? AND seq > {SINCE_ACCEPTED} ORDER BY seq DESC LIMIT 1",  # noqa: S608
        (kind.value, ref),
    )
    return Entry.from_body(rows[0][0]) if rows else None
