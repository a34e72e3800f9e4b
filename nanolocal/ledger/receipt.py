"""What one entry says and how its charge was reckoned, as names and values to show. It holds no prompt's text."""

from collections.abc import Iterator
from datetime import datetime

from nanolocal.chat.amounts import MICRO, format_credits
from nanolocal.chat.messages import Usage
from nanolocal.errors import UsageError
from nanolocal.ledger import book
from nanolocal.ledger.chain import EntryKind
from nanolocal.ledger.prices import PriceCard
from nanolocal.ledger.sql import Source

_AMOUNTS = {EntryKind.SETTLE: "charged", EntryKind.VOID: "charged", EntryKind.HOLD: "held"}


def find(source: Source, name: str) -> int:
    """The number of the entry that ``name`` means: that number, or what became of the hold of that id."""
    rows = []
    if name.isascii() and name.isdecimal() and len(name) < 16:
        rows = source.execute("SELECT seq FROM entry WHERE seq = ?", (int(name),))
    rows = rows or source.execute("SELECT seq FROM entry WHERE ref = ? AND kind IN ('settle', 'void')", (name,))
    if not rows:
        raise UsageError(f"the ledger has no entry {name!r}", "nanolocal credits history")
    return int(rows[0][0])


def described(source: Source, seq: int) -> list[tuple[str, str]]:
    """The receipt of entry number ``seq``, which exists; it is not checked."""
    link = next(iter(book.links(source, seq)))
    entry = link.entry
    card = book.price_card(source, entry.price_id) if entry.price_id else None
    when = datetime.fromtimestamp(entry.ts / 1000).strftime("%Y-%m-%d %H:%M:%S")
    named = (("model", entry.build_id), ("key", entry.key), ("note", entry.note))
    rows = [("entry", f"{entry.seq}, {entry.kind}"), ("when", when), *((name, text) for name, text in named if text)]
    if card is not None:
        rows += [("price", card.source), *(("", part) for part in card.evidence.split(", ")), ("card", card.id[:16])]
        rows += _reckoned(card, entry.usage)
    if entry.held:
        rows.append(("held", f"{format_credits(entry.held)} credits"))
    rows.append((_AMOUNTS.get(entry.kind, "moved"), f"{format_credits(entry.amount)} credits"))
    return [
        *rows,
        ("hash", link.hash),
        ("signed", "yes; nanolocal credits verify checks it" if link.sig else "no, it is older than the key"),
    ]


def _reckoned(card: PriceCard, usage: Usage | None) -> Iterator[tuple[str, str]]:
    """Each quantity times its price; ``micro`` are micro-credits."""
    if usage is None:
        return
    computed = max(0, usage.prompt_tokens - usage.cached_tokens)
    for name, quantity, price in (
        ("prompt", computed, card.prompt),
        ("cached", usage.cached_tokens, card.cached),
        ("answer", usage.completion_tokens, card.completion),
        ("picture", usage.pixel_steps, card.pixel_steps),
    ):
        if quantity:
            whole, rest = divmod(quantity * price, MICRO)
            yield name, f"{quantity} x {price} a million = {whole}.{rest:06d} micro"
    if usage.loads:
        yield "loads", f"{usage.loads} x {card.load} = {usage.loads * card.load} micro"
    yield "rounded", f"{format_credits(card.cost(usage))} credits"
