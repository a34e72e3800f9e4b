"""Receipts: one entry with everything needed to check it, and the check. No receipt holds any text of a prompt."""

import json
from dataclasses import dataclass
from datetime import datetime

from nanolocal.chat.amounts import MICRO, format_credits
from nanolocal.chat.messages import Usage
from nanolocal.errors import Damaged, UsageError
from nanolocal.ledger import book
from nanolocal.ledger.chain import Entry, EntryKind, Link
from nanolocal.ledger.links import LINK_FIELDS, card_of, check_charge, check_link, device_of, link_of, record_of
from nanolocal.ledger.prices import PriceCard
from nanolocal.ledger.sql import Source
from nanolocal.ledger.strictjson import bytes_of, canonical, object_of, parse

FORMAT = "nanolocal-receipt"
VERSION = 1
LARGEST_FILE = 1 << 16
"""Bytes; a receipt has one or two thousand."""
_FIELDS = frozenset({"format", "version", "price", "public_key"}) | LINK_FIELDS
_AMOUNTS = {EntryKind.SETTLE: "charged", EntryKind.VOID: "charged", EntryKind.HOLD: "held"}
_HINT = "ask for the receipt again; this one is not what the ledger says"


@dataclass(frozen=True, slots=True)
class Receipt:
    """An entry as stored, the price card it names, and the key it is signed with (``None``: older than any key)."""

    link: Link
    card: PriceCard | None
    public_key: bytes | None

    def record(self) -> dict[str, object]:
        """The receipt as JSON; ``read`` takes it back."""
        return {
            "format": FORMAT,
            "version": VERSION,
            **record_of(self.link),
            "price": None if self.card is None else json.loads(self.card.body()),
            "public_key": None if self.public_key is None else self.public_key.hex(),
        }


def read(data: bytes) -> Receipt:
    """The receipt in a file, not checked yet; raises ``UsageError`` for anything else."""
    try:
        record = object_of(parse(data, LARGEST_FILE), _FIELDS)
        if (record["format"], canonical(record["version"])) != (FORMAT, str(VERSION)):
            raise ValueError(f"it is not {FORMAT} version {VERSION}")
        card, key = record["price"], record["public_key"]
        return Receipt(
            link_of({name: record[name] for name in LINK_FIELDS}),
            None if card is None else card_of(card),
            None if key is None else bytes_of(key, 32),
        )
    except ValueError as error:
        raise UsageError(f"this is no receipt: {error}", "nanolocal credits show ID --json > receipt.json") from error


def check(receipt: Receipt, pinned: bytes | None = None) -> None:
    """Raise ``Damaged``, with the entry's number, unless everything in the receipt fits together.

    ``pinned`` is the public key of the device it must come from.
    """
    entry, key = receipt.link.entry, receipt.public_key
    if pinned is not None and key != pinned:
        raise Damaged(f"entry {entry.seq} is not signed by the key that was given", _HINT)
    check_link(receipt.link, key)
    if device_of(entry) not in {None, key}:
        raise Damaged(f"entry {entry.seq} brings another key than the one it is signed with", _HINT)
    if entry.price_id != (receipt.card and receipt.card.id):
        raise Damaged(f"entry {entry.seq} was charged at another price card", _HINT)
    check_charge(entry, receipt.card)


def find(source: Source, name: str) -> int:
    """The number of the entry that ``name`` means: that number, or a hold's id (its charge, if there is one).

    Raises ``UsageError``.
    """
    name, rows = name.encode("utf-8", "replace").decode(), []
    if name.isascii() and name.isdecimal() and len(name) < 16:
        rows = source.execute("SELECT seq FROM entry WHERE seq = ?", (int(name),))
    rows = rows or source.execute("SELECT seq FROM entry WHERE ref = ? AND kind IN ('settle', 'void')", (name,))
    rows = rows or source.execute("SELECT seq FROM entry WHERE idem = ?", (name,))
    if not rows:
        raise UsageError(f"the ledger has no entry for {name!r}", "nanolocal credits history")
    seq: int = rows[0][0]
    return seq


def receipt(source: Source, seq: int) -> Receipt:
    """The receipt of entry number ``seq``, which exists."""
    link = next(iter(book.links(source, seq)))
    card = book.price_card(source, link.entry.price_id) if link.entry.price_id else None
    devices = source.execute(
        "SELECT body FROM entry WHERE kind = 'device' AND seq <= ? ORDER BY seq DESC LIMIT 1", (seq,)
    )
    return Receipt(link, card, device_of(Entry.from_body(devices[0][0])) if devices else None)


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a reckoning: ``quantity`` of ``what`` at ``price`` micro-credits for every ``per`` of it."""

    what: str
    quantity: int
    price: int
    per: int

    @property
    def millionths(self) -> int:
        """What it costs, in millionths of a micro-credit: exact."""
        return self.quantity * self.price * (MICRO // self.per)


def reckoning(card: PriceCard, usage: Usage) -> list[Item]:
    """What makes up the cost of ``usage``, before rounding."""
    computed = max(0, usage.prompt_tokens - usage.cached_tokens)
    items = (
        Item("prompt tokens", computed, card.prompt, MICRO),
        Item("cached tokens", usage.cached_tokens, card.cached, MICRO),
        Item("answer tokens", usage.completion_tokens, card.completion, MICRO),
        Item("pixel-steps", usage.pixel_steps, card.pixel_steps, MICRO),
        Item("loads", usage.loads, card.load, 1),
    )
    return [item for item in items if item.quantity]


def described(receipt: Receipt) -> list[tuple[str, str]]:
    """The receipt as names and values for a narrow page; ``micro`` are micro-credits."""
    entry, card = receipt.link.entry, receipt.card
    when = datetime.fromtimestamp(entry.seconds).strftime("%Y-%m-%d %H:%M:%S")
    named = (("model", entry.build_id), ("chat", entry.chat_id), ("key", entry.key), ("note", entry.note))
    rows = [("entry", f"{entry.seq}, {entry.kind}"), ("when", when), *((name, text) for name, text in named if text)]
    if card is not None:
        rows += [("price", card.source), *(("", part) for part in card.evidence.split(", ")), ("card", card.id[:16])]
    if card is not None and entry.usage is not None:
        rows += _reckoned(card, entry.usage)
    if entry.held:
        rows.append(("held", _credits(entry.held)))
    if entry.kind in _AMOUNTS or entry.amount:
        rows.append((_AMOUNTS.get(entry.kind, "moved"), _credits(entry.amount)))
    if entry.kind is EntryKind.TRANSFER:
        rows.append(("", f"from {entry.debit} to {entry.credit}"))
    rows += [(name, str(value)) for name, value in (entry.terms or {}).items()]
    rows += _halves("hash", receipt.link.hash)
    if receipt.public_key is None:
        return [*rows, ("signed by", "nobody: older than the device's key")]
    return [*rows, *_halves("signed by", receipt.public_key.hex())]


def _reckoned(card: PriceCard, usage: Usage) -> list[tuple[str, str]]:
    """Each quantity times its price, then what rounding and the card's minimum make of the sum."""
    items = reckoning(card, usage)
    rows = []
    for item in items:
        whole, rest = divmod(item.millionths, MICRO)
        per = " a million" if item.per == MICRO else ""
        rows.append((item.what, f"{item.quantity} x {item.price}{per} = {whole}.{rest:06d} micro"))
    rounded, cost = -(-sum(item.millionths for item in items) // MICRO), card.cost(usage)
    rows.append(("rounded up", _credits(rounded)))
    return [*rows, ("at least", _credits(cost))] if cost > rounded else rows


def _credits(micro: int) -> str:
    return f"{format_credits(micro)} credits"


def _halves(name: str, digits: str) -> list[tuple[str, str]]:
    return [(name, digits[:32]), ("", digits[32:])]


def proved(receipt: Receipt, pinned: bytes | None) -> tuple[list[str], list[str]]:
    """What a checked receipt proves and what it does not, in sentences."""
    entry = receipt.link.entry
    shown = [f"Entry {entry.seq} is unchanged since it was written: its hash is right."]
    open_points = []
    if receipt.public_key is None:
        open_points.append("Who wrote it: it is older than this ledger's first key and not signed.")
    elif pinned is not None:
        shown.append("It was signed by the device whose key was given.")
    else:
        shown.append("It was signed by the owner of the key inside the receipt.")
        open_points.append("Whose key that is: get the device's key from its owner and add --key PUBLICKEY.")
    if entry.kind is EntryKind.SETTLE:
        shown += [
            "The price card is the one that the entry names.",
            "The amount is what this usage costs at it, and no more than was held.",
        ]
        open_points.append("That the counts of tokens and pixel-steps are true: the device counted them itself.")
    open_points.append("That the entry still stands in the ledger: nanolocal credits verify checks all of them.")
    return shown, open_points
