"""A stored ledger in any of the formats, line by line."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from nanolocal.errors import Damaged
from nanolocal.ledger import audit, book
from nanolocal.ledger.chain import Link
from nanolocal.ledger.exports import beancount, hledger, jsonl, spreadsheet
from nanolocal.ledger.exports.survey import Period, Survey, survey
from nanolocal.ledger.prices import PriceCard
from nanolocal.ledger.replay import State
from nanolocal.ledger.sql import Source

_WRITERS: Mapping[str, Callable[[Iterable[Link], Survey], Iterator[str]]] = {
    "hledger": hledger.write,
    "beancount": beancount.write,
    "csv": spreadsheet.write,
}
FORMATS = (*_WRITERS, "jsonl")


def lines(source: Source, kind: str, period: Period) -> Iterator[str]:
    """The lines of an export, each with its end. ``source`` must show the same moment until the last one.

    Raises ``Damaged`` for an entry or price that cannot be read, ``UsageError`` for JSON lines of an empty period.
    """
    start = beginning(source)

    def links() -> Iterator[Link]:
        return book.links(source, start.seq + 1)

    if kind != "jsonl":
        return _WRITERS[kind](links(), survey(links(), period, start))
    first, last = start.seq + 1, book.head(source)[0]
    if period != Period():
        first, last = jsonl.bounds(links(), period)
    return jsonl.write(links(), jsonl.extent(links(), first, last, start), lambda price_id: _card(source, price_id))


def beginning(source: Source) -> State:
    """Where the ledger can be followed from: its beginning, or the entry by which its owner accepted a changed one."""
    accepted = book.accepted_at(source)
    return audit.as_found(source, accepted) if accepted else State()


def _card(source: Source, price_id: str) -> PriceCard:
    card = book.price_card(source, price_id)
    if card is None:
        raise Damaged(f"the price {price_id[:16]} of an entry is missing", book.HINT)
    return card
