"""The ledger as JSON lines that can be checked with the device's public key alone.

The first line says which entries follow, under which keys, and from which state; then come the price cards that are
named, the entries with their hashes and signatures, and the sums they lead to. Each line is canonical JSON, so that
every byte counts. The entries of a period are all from the first to the last that fall into it, without a gap.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from nanolocal.errors import UsageError
from nanolocal.ledger.chain import Link
from nanolocal.ledger.exports.survey import Period, day_of
from nanolocal.ledger.links import device_of, record_of
from nanolocal.ledger.prices import PriceCard
from nanolocal.ledger.replay import State
from nanolocal.ledger.strictjson import canonical

FORMAT = "nanolocal-ledger"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Extent:
    """Which entries a file has, and what must be known before them: the state, and all keys and prices they need."""

    opening: State
    closing: State
    public_keys: tuple[bytes, ...]
    price_ids: tuple[str, ...]


def bounds(links: Iterable[Link], period: Period) -> tuple[int, int]:
    """The numbers of the first and the last entry of the period; raises ``UsageError`` when there is none."""
    first = last = 0
    for link in links:
        if day_of(link.entry) in period:
            first, last = first or link.entry.seq, link.entry.seq
    if not first:
        raise UsageError("the ledger has no entry in this period", "leave out --since and --until")
    return first, last


def extent(links: Iterable[Link], first: int, last: int, start: State) -> Extent:
    """Read the ledger from where it starts to entry number ``last``."""
    state, opening = start.copy(), start
    keys: list[bytes] = []
    prices: dict[str, None] = {}
    for link in links:
        if link.entry.seq > last:
            break
        if link.entry.seq == first:
            opening = state.copy()
            keys = [state.public] if state.public else []
        state.take(link)
        if link.entry.seq >= first:
            keys += [new] if (new := device_of(link.entry)) else []
            prices |= {link.entry.price_id: None} if link.entry.price_id else {}
    return Extent(opening, state, tuple(keys), tuple(prices))


def write(links: Iterable[Link], within: Extent, card: Callable[[str], PriceCard]) -> Iterator[str]:
    """The lines, each with its end. ``links`` may begin before and end after the extent."""
    yield canonical(head(within)) + "\n"
    for price_id in within.price_ids:
        yield canonical({"price": json.loads(card(price_id).body())}) + "\n"
    for link in links:
        if link.entry.seq > within.closing.seq:
            break
        if link.entry.seq > within.opening.seq:
            yield canonical(record_of(link)) + "\n"
    yield canonical({"closing": sums_of(within.closing)}) + "\n"


def head(within: Extent) -> dict[str, object]:
    """The first line of a file."""
    before = within.opening
    return {
        "format": FORMAT,
        "version": VERSION,
        "first": before.seq + 1,
        "last": within.closing.seq,
        "head": within.closing.head,
        "public_keys": [key.hex() for key in within.public_keys],
        "opening": None if before.seq == 0 else sums_of(before) | {"public_key": before.public and before.public.hex()},
    }


def sums_of(state: State) -> dict[str, object]:
    """A state's sums and open holds, and its place in the chain."""
    return {"seq": state.seq, "head": state.head, "accounts": state.sums, "holds": state.holds}
