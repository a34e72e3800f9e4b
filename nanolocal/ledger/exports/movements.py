"""Entries as transactions between accounts, for every double-entry format alike."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from nanolocal.ledger.chain import Entry, EntryKind, Link, changes
from nanolocal.ledger.exports.names import HELD_NAME, WALLET_NAME, one_line
from nanolocal.ledger.exports.survey import Survey, day_of

CURRENCY = "CREDIT"


@dataclass(frozen=True, slots=True)
class Movement:
    """One balanced transaction. ``postings`` are account names with signed micro-credits, ``tags`` facts about it.

    ``what`` is ours, ``detail`` and the tags may hold foreign text, on one line each.
    """

    day: str
    is_pending: bool
    what: str
    detail: str
    tags: tuple[tuple[str, str | int], ...]
    postings: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Remark:
    """An entry that moves nothing, told in a comment."""

    text: str


def movements(links: Iterable[Link], survey: Survey) -> Iterator[Movement | Remark]:
    """What happened in the surveyed period: an opening balance, all that was posted, then the holds still open."""
    if any(survey.opening.values()):
        yield _opening(survey)
    for link in links:
        if day_of(link.entry) not in survey.period:
            continue
        if changes(link.entry)[0] or link.entry.kind in {EntryKind.TRANSFER, EntryKind.SETTLE}:
            yield _posted(link, survey)
        elif link.entry.kind is EntryKind.RESTORE:
            note = f": {one_line(link.entry.note)}" if link.entry.note else ""
            yield Remark(f"entry {link.entry.seq}, hash {link.hash}: later entries were lost{note}")
    for link in survey.open_holds:
        yield _held(link, survey)


def _opening(survey: Survey) -> Movement:
    day = survey.period.since or survey.first_day
    sums = sorted((survey.names[account], amount) for account, amount in survey.opening.items() if amount)
    return Movement(day, False, "opening balance", "", (), tuple(sums))


def _posted(link: Link, survey: Survey) -> Movement:
    entry = link.entry
    what = "answer" if entry.kind is EntryKind.SETTLE else _source(entry)
    postings = ((survey.names[entry.credit], entry.amount), (survey.names[entry.debit], -entry.amount))
    return Movement(day_of(entry), False, what, one_line(entry.build_id or ""), _tags(link), postings)


def _source(entry: Entry) -> str:
    if entry.kind is EntryKind.RESTORE:
        return "correction"
    return {"grant": "grant", "issuer": "voucher"}.get(entry.debit.partition(":")[0], "transfer")


def _held(link: Link, survey: Survey) -> Movement:
    entry = link.entry
    day = max(day_of(entry), survey.period.since or "")
    postings = ((HELD_NAME, entry.amount), (WALLET_NAME, -entry.amount))
    return Movement(day, True, "held for an answer", one_line(entry.build_id or ""), _tags(link), postings)


def _tags(link: Link) -> tuple[tuple[str, str | int], ...]:
    entry = link.entry
    texts = {"key": entry.key, "chat": entry.chat_id, "card": entry.price_id, "note": entry.note}
    found = tuple((name, one_line(text)) for name, text in texts.items() if text)
    return (("entry", entry.seq), ("hash", link.hash), *found)
