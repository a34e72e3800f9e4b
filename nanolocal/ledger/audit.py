"""Whether a stored ledger is whole: every hash, signature, sum and charge is worked out anew from the entries."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from nanolocal.errors import Damaged
from nanolocal.ledger import book
from nanolocal.ledger.book import HINT
from nanolocal.ledger.chain import GENESIS, WALLET, Entry, EntryKind, chain_hash
from nanolocal.ledger.links import device_of
from nanolocal.ledger.replay import State, advance, follow
from nanolocal.ledger.schema import GUARDS
from nanolocal.ledger.signing import is_signed
from nanolocal.ledger.sql import Row, Source

K = TypeVar("K", str, tuple[str, str])

SUMS = ("debits_posted", "credits_posted", "debits_pending", "credits_pending")
_LATEST = 100
_TELL_EVERY = 1000
_CARDS = 1000


@dataclass(frozen=True, slots=True)
class Checked:
    """A ledger found whole: how many entries, the last one's hash, and the holds still open."""

    entries: int
    head: str
    open_holds: int


def check_newest(source: Source, seq: int, head_hash: str, device: bytes) -> None:
    """Raise ``Damaged`` unless the ledger still contains the anchored entry and its newest entries are whole.

    Whatever follows the anchored entry was written while the anchor could not follow: by this device, under its public
    key ``device``, not under one that somebody brought along.
    """
    check_anchor(source, seq, head_hash)
    state = _before(source, max(1, book.accepted_at(source), min(seq, book.head(source)[0] - _LATEST)))
    with _of_the_vault():
        for link in book.links(source, state.seq + 1):
            follow(state, link)
            state.step(link)
            if 0 < seq < state.seq and state.public not in (None, device):
                raise Damaged(f"ledger entry {state.seq} was not written by this device", HINT)


def check_anchor(source: Source, seq: int, head_hash: str) -> None:
    """Raise ``Damaged`` unless the ledger still contains the anchored entry."""
    last = book.head(source)[0]
    if last < seq:
        raise Damaged(
            f"the ledger ends at entry {last}, but entry {seq} was already settled: an older copy was put back", HINT
        )
    if seq and source.execute("SELECT hash FROM entry WHERE seq = ?", (seq,)) != [(head_hash,)]:
        raise Damaged(f"ledger entry {seq} is not the one that was settled: the ledger was replaced", HINT)


def check_all(
    source: Source, device: bytes | None = None, tell: Callable[[int, int], None] = lambda done, total: None
) -> Checked:
    """Walk the whole chain, check each signature and add up every sum anew; raises ``Damaged`` at the first difference.

    ``device`` is the public key that must be the newest one; ``tell`` hears how many entries of how many are read.
    """
    last, accepted = book.head(source)[0], book.accepted_at(source)
    if accepted:
        _check_accepted(source, accepted)
    state = as_found(source, accepted) if accepted else State()
    card = lru_cache(_CARDS)(lambda price_id: book.price_card(source, price_id))
    with _of_the_vault():
        for link in book.links(source, state.seq + 1):
            advance(state, link, card)
            if state.seq % _TELL_EVERY == 0:
                tell(state.seq, last)
    if device is not None and last and state.public != device:
        raise Damaged("the ledger is not signed with this device's key: it was replaced", HINT)
    _check_sums(source, state)
    if missing_guards(source):
        raise Damaged("the ledger's guards against changes were removed", HINT)
    return Checked(last, state.head, len(state.holds))


def check_written_here(source: Source, seq: int, device: bytes) -> None:
    """Raise ``Damaged`` where somebody brought a key along after entry ``seq``, which this device knew."""
    keys = source.execute("SELECT body ->> '$.terms.public_key' FROM entry WHERE kind = 'device' AND seq > ?", (seq,))
    if seq and any(key != device.hex() for (key,) in keys):
        raise Damaged("a part of the ledger was not written by this device", HINT)


def as_found(source: Source, before: int) -> State:
    """A ledger before its entry number ``before``, of which only what is genuine counts, and nothing is held."""
    state = _before(source, before)
    for (account,) in source.execute("SELECT debit FROM entry UNION SELECT credit FROM entry"):
        if isinstance(account, str):
            state.sums.setdefault(account, [0, 0, 0, 0])
    for entry in _genuine(source, before):
        state.add(entry)
    for sums in state.sums.values():
        sums[2:] = 0, 0
    for both in state.spent.values():
        both[1] = 0
    return state


def declared(source: Source, before: int) -> list[Entry]:
    """The newest genuine word on each budget, issuer and price before entry number ``before``."""
    newest: dict[tuple[EntryKind, str], Entry] = {}
    for entry in _genuine(source, before):
        if entry.kind in (EntryKind.BUDGET, EntryKind.ISSUER, EntryKind.PRICE):
            newest[entry.kind, entry.ref or entry.build_id or ""] = entry
    return [entry for entry in newest.values() if entry.price_id is None or _has_card(source, entry.price_id)]


def _has_card(source: Source, price_id: str) -> bool:
    try:
        return book.price_card(source, price_id) is not None
    except Damaged:
        return False


def digest_before(source: Source, seq: int) -> str:
    """SHA-256 of all rows before number ``seq`` as they are, chained or not."""
    digest = hashlib.sha256(b"nl-ledger-rows-v1\0")
    for number, body, prev, stored_hash, sig in _rows(source, seq):
        digest.update(json.dumps((number, body, prev, stored_hash, sig.hex().upper() if sig else "")).encode())
    return digest.hexdigest()


def missing_guards(source: Source) -> list[str]:
    """The triggers that are not as the schema made them."""
    stored: dict[str, str] = dict(source.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'"))
    return [name for name, sql in GUARDS.items() if stored.get(name) != sql]


@contextmanager
def _of_the_vault() -> Iterator[None]:
    """What is wrong here is mended in another way than a file that somebody sent."""
    try:
        yield
    except Damaged as error:
        if type(error) is not Damaged:
            raise
        raise Damaged(error.message, HINT) from error


def _before(source: Source, seq: int) -> State:
    """The chain before entry number ``seq``, whatever it adds up to."""
    rows = source.execute("SELECT hash FROM entry WHERE seq = ?", (seq - 1,))
    return State(seq - 1, rows[0][0] if rows else GENESIS, book.signing_key(source, seq))


def _rows(source: Source, before: int) -> Iterator[Row]:
    """Number, body, previous hash, hash and signature of the rows before number ``before``."""
    first = 0
    query = "SELECT seq, body, prev, hash, sig FROM entry WHERE seq >= ? AND seq < ? ORDER BY seq LIMIT 1000"
    while rows := source.execute(query, (first, before)):
        yield from rows
        first = rows[-1][0] + 1


def _genuine(source: Source, before: int) -> Iterator[Entry]:
    """The entries before number ``before`` that this device signed, or that a chain up to such an entry covers.

    Keys of earlier devices that are covered like that count as well.
    """
    keys = [book.signing_key(source, before)]
    while new := [key for entry in _covered(source, before, keys) if (key := device_of(entry)) and key not in keys]:
        keys += new
    yield from _covered(source, before, keys)


def _covered(source: Source, before: int, keys: list[bytes | None]) -> Iterator[Entry]:
    """The entries that are signed under one of ``keys``, or chained without a gap to one behind them that is.

    The owner who accepted a change, perhaps under a new key, did not thereby make what came before genuine.
    """
    chained, last = list[Entry](), ""
    for _, body, prev, stored_hash, sig in _rows(source, before):
        try:
            entry = Entry.from_body(body)
            is_whole = stored_hash == chain_hash(prev, body) and entry.body() == body
        except (Damaged, ValueError):
            is_whole = False
        if not is_whole or prev != last:
            chained.clear()
        last = stored_hash
        if is_whole:
            if "rows" in (entry.terms or {}):
                chained.clear()
            chained.append(entry)
            if entry.kind is not EntryKind.DEVICE and any(
                key is not None and is_signed(key, stored_hash, sig) for key in keys
            ):
                yield from chained
                chained.clear()


def _check_accepted(source: Source, seq: int) -> None:
    terms = Entry.from_body(source.execute("SELECT body FROM entry WHERE seq = ?", (seq,))[0][0]).terms or {}
    if terms.get("rows") != digest_before(source, seq):
        raise Damaged(f"the entries before {seq}, which you accepted, were changed again", HINT)


def _check_sums(source: Source, state: State) -> None:
    stored = {row[0]: row[1:] for row in source.execute(f"SELECT id, {', '.join(SUMS)}, no_overdraft FROM account")}  # noqa: S608
    if wrong := _differences(stored, {name: (*sums, int(name == WALLET)) for name, sums in state.sums.items()}):
        raise Damaged(f"the balance of {wrong[0]} is not the sum of its entries", HINT)
    kept = {(row[0], row[1]): row[2:] for row in source.execute("SELECT subject, period, posted, pending FROM spent")}
    if differing := _differences(kept, {row: tuple(both) for row, both in state.spent.items()}):
        raise Damaged(f"what {differing[0][0]} spent is not the sum of its entries", HINT)
    if {row[0] for row in source.execute("SELECT idem FROM held")} != state.holds.keys():
        raise Damaged("the list of open holds does not follow from the entries", HINT)


def _differences(stored: dict[K, tuple[int, ...]], expected: dict[K, tuple[int, ...]]) -> list[K]:
    return sorted(name for name in stored.keys() | expected.keys() if stored.get(name) != expected.get(name))
