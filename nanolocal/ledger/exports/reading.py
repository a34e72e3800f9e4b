"""Checking an exported ledger (``jsonl.py``): the chain, every signature, every charge, every sum."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from nanolocal.errors import Damaged, UsageError
from nanolocal.ledger.exports.jsonl import FORMAT, VERSION, sums_of
from nanolocal.ledger.links import LINK_FIELDS, card_of, link_of
from nanolocal.ledger.money import whole
from nanolocal.ledger.prices import PriceCard
from nanolocal.ledger.replay import State, advance
from nanolocal.ledger.strictjson import bytes_of, canonical, object_of, parse, text_of

LONGEST_LINE = 1 << 20
"""Bytes; only the first and the last line, which list accounts and open holds, come near."""
_HEAD = frozenset({"format", "version", "first", "last", "head", "public_keys", "opening"})
_SUMS = frozenset({"seq", "head", "accounts", "holds"})
_HINT = "ask for the file again; what it says is not what the ledger says"


@dataclass(frozen=True, slots=True)
class Audited:
    """A file found right: its entries, the newest one's hash, and the key that signs them (``None``: none does).

    ``opening`` is the entry whose state the file begins with and takes for granted; 0 when it has them all.
    ``available`` is what can be spent at the end, in micro-credits.
    """

    opening: int
    last: int
    head: str
    public: bytes | None
    signed: int
    open_holds: int
    available: int


def check(lines: Iterable[bytes], pinned: bytes | None = None) -> Audited:
    """Check a whole file; ``pinned`` is the key that the newest device must have.

    Raises ``UsageError`` for what is no such file, ``Damaged`` at the first thing that is wrong, with its number.
    """
    numbered = _objects(lines)
    head, state, keys = _head(next(numbered, (1, {}))[1])
    opening, given_keys, signed = state.seq, [state.public] if state.public else [], 0
    cards: dict[str, PriceCard] = {}
    used: set[str] = set()
    is_closed = False
    for number, record in numbered:
        if is_closed:
            raise Damaged(f"line {number} stands after the end", _HINT)
        if record.keys() == {"price"} and state.seq == opening:
            card = _card(record, number)
            if card.id in cards:
                raise Damaged(f"line {number} repeats a price", _HINT)
            cards[card.id] = card
        elif record.keys() == LINK_FIELDS:
            signed += _entry(state, record, number, cards, used)
            given_keys += [state.public] if state.public and state.public not in given_keys[-1:] else []
        elif record.keys() == {"closing"}:
            is_closed = canonical(record["closing"]) == canonical(sums_of(state))
            if not is_closed:
                raise Damaged(f"after entry {state.seq}: the closing sums are not those of the entries", _HINT)
        else:
            raise Damaged(f"line {number} is neither a price, an entry nor the end", _HINT)
    if not is_closed or (head["last"], head["head"]) != (state.seq, state.head):
        raise Damaged(f"the file ends after entry {state.seq}; it should go on to entry {head['last']}", _HINT)
    if keys != given_keys or used != cards.keys():
        raise Damaged("the first lines name keys or prices that the entries do not", _HINT)
    if pinned is not None and pinned != state.public:
        raise Damaged(f"entry {state.seq}, the last, is not signed by the key that was given", _HINT)
    return Audited(opening, state.seq, state.head, state.public, signed, len(state.holds), state.available)


def _objects(lines: Iterable[bytes]) -> Iterator[tuple[int, dict[str, object]]]:
    """Each line's number and object; the first must be right for the file to be one of ours."""
    for number, line in enumerate(lines, 1):
        try:
            record = parse(line, LONGEST_LINE)
            if canonical(record).encode() + b"\n" != line:
                raise ValueError("it is not written as nanolocal writes it")
        except ValueError as error:
            if number == 1:
                raise UsageError(f"this is no exported ledger: {error}", _export_hint()) from error
            raise Damaged(f"line {number} cannot be read: {error}", _HINT) from error
        yield number, record


def _export_hint() -> str:
    return "nanolocal credits export --format jsonl"


def _head(record: dict[str, object]) -> tuple[dict[str, object], State, list[bytes]]:
    """The first line, the state that it begins with, and the keys that it names."""
    try:
        head = object_of(record, _HEAD)
        if (head["format"], canonical(head["version"])) != (FORMAT, str(VERSION)):
            raise ValueError(f"it is not {FORMAT} version {VERSION}")
        keys = head["public_keys"]
        if not isinstance(keys, list):
            raise ValueError("its keys are no list")
        state = State() if head["opening"] is None else _opening(head["opening"])
        if canonical(head["first"]) != str(state.seq + 1) or (state.seq == 0) != (head["opening"] is None):
            raise ValueError("its first entry does not follow its opening")
        whole(head["last"], "last")
        return head, state, [bytes_of(key, 32) for key in keys]
    except (ValueError, UsageError) as error:
        raise UsageError(f"this is no exported ledger: {error}", _export_hint()) from error


def _opening(value: object) -> State:
    record = object_of(value, _SUMS | {"public_key"})
    accounts, holds, key = record["accounts"], record["holds"], record["public_key"]
    if not isinstance(accounts, dict) or not isinstance(holds, dict):
        raise ValueError("its opening has no sums")
    sums = {name: [whole(each, name) for each in parts] for name, parts in accounts.items() if len(parts) == 4}
    if len(sums) != len(accounts):
        raise ValueError("its opening has a sum of another shape")
    return State(
        seq=whole(record["seq"], "seq"),
        head=bytes_of(text_of(record["head"]), 32).hex(),
        public=None if key is None else bytes_of(key, 32),
        sums=sums,
        holds={name: whole(each, name) for name, each in holds.items()},
    )


def _card(record: dict[str, object], number: int) -> PriceCard:
    try:
        return card_of(record["price"])
    except ValueError as error:
        raise Damaged(f"line {number} cannot be read: {error}", _HINT) from error


def _entry(state: State, record: dict[str, object], number: int, cards: dict[str, PriceCard], used: set[str]) -> bool:
    """Check one entry and take it into ``state``; whether it is signed."""
    try:
        link = link_of(record)
    except ValueError as error:
        raise Damaged(f"line {number}, where entry {state.seq + 1} belongs, cannot be read: {error}", _HINT) from error
    if link.entry.price_id:
        if link.entry.price_id not in cards:
            raise Damaged(f"entry {link.entry.seq} names a price that is not in the file", _HINT)
        used.add(link.entry.price_id)
    advance(state, link, cards.get)
    return link.sig is not None
