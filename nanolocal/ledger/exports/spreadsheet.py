"""The ledger as CSV (RFC 4180) for spreadsheets: one row an entry, amounts as they change the wallet."""

import csv
import datetime
import io
from collections.abc import Iterable, Iterator

from nanolocal.chat.amounts import format_credits
from nanolocal.chat.messages import Usage
from nanolocal.ledger.chain import WALLET, Link, changes
from nanolocal.ledger.exports.names import one_line
from nanolocal.ledger.exports.survey import Survey, day_of

COLUMNS = (
    "entry", "day", "time", "kind", "from", "to", "credits", "micro_credits", "held_credits", "held_micro_credits",
    "build", "prompt_tokens", "cached_tokens", "completion_tokens", "pixel_steps", "loads",
    "key", "chat", "card", "ref", "note", "hash",
)  # fmt: skip
# What makes a spreadsheet read a cell as a formula; the wide forms do in some Asian settings.
_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")

_EPOCH = datetime.datetime(1970, 1, 1)
_LATEST_MS = 253_402_300_799_999  # the end of the year 9999


def write(links: Iterable[Link], survey: Survey) -> Iterator[str]:
    """The rows, each with its end.

    The sum of ``micro_credits`` is what the wallet has, that of ``held_micro_credits`` how much of it is held.
    """
    yield _row(COLUMNS)
    if any(survey.opening.values()) or survey.held_before:
        yield _row(_opening(survey))
    for link in links:
        if day_of(link.entry) in survey.period:
            yield _row(_cells(link))


def _opening(survey: Survey) -> tuple[str | int, ...]:
    before, held = survey.opening.get(WALLET, 0), survey.held_before
    day = survey.period.since or survey.first_day
    cells = ("", day, "", "opening", "", "", format_credits(before), before, format_credits(held), held)
    return cells + ("",) * (len(COLUMNS) - len(cells))


def _cells(link: Link) -> tuple[str | int, ...]:
    entry = link.entry
    posted, pending = changes(entry)
    sign = (entry.credit == WALLET) - (entry.debit == WALLET)
    amount, held = sign * posted, -sign * pending
    usage = entry.usage or Usage()
    quantities = (usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens, usage.pixel_steps, usage.loads)
    texts = (entry.key, entry.chat_id, entry.price_id, entry.ref, entry.note)
    return (
        entry.seq,
        day_of(entry),
        _time(entry.ts),
        entry.kind.value,
        _text(entry.debit),
        _text(entry.credit),
        format_credits(amount),
        amount,
        format_credits(held),
        held,
        _text(entry.build_id),
        *(quantities if entry.usage is not None else ("",) * len(quantities)),
        *(_text(text) for text in texts),
        link.hash,
    )


def _time(ts: int) -> str:
    """Milliseconds since 1970 as UTC."""
    at = _EPOCH + datetime.timedelta(milliseconds=min(max(0, ts), _LATEST_MS))
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def _text(text: str | None) -> str:
    """A text cell that stays text: an apostrophe before what would begin a formula."""
    line = one_line(text or "")
    return f"'{line}" if line.startswith(_FORMULA) else line


def _row(cells: Iterable[str | int]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()
