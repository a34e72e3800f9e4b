"""What was used and what it cost, added up by day, week, month, build, conversation or key. Whole numbers, exact.

One statement answers, from the index ``entry_usage`` alone: it holds every column that is read.
"""

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from nanolocal.errors import UsageError
from nanolocal.ledger.sql import Source

_SUMS = ("prompt_tokens", "cached_tokens", "completion_tokens", "pixel_steps", "loads", "amount")
_COLUMNS = {"day": "day", "week": "day", "month": "day", "model": "build_id", "chat": "chat_id", "key": "key"}
_PERIODS: Mapping[str, Callable[[str], str]] = {
    "day": lambda day: day,
    "week": lambda day: week_of(day),
    "month": lambda day: day[:7],
}
GROUPS = tuple(_COLUMNS)


@dataclass(frozen=True, slots=True)
class UsageRow:
    """The charges of one group: ``group`` has a value for each of the groupings asked for, "" where there is none."""

    group: tuple[str, ...]
    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    pixel_steps: int = 0
    loads: int = 0
    cost_micro: int = 0

    @property
    def numbers(self) -> tuple[int, ...]:
        """All but the group, in the order of the fields."""
        return (
            self.requests,
            self.prompt_tokens,
            self.cached_tokens,
            self.completion_tokens,
            self.pixel_steps,
            self.loads,
            self.cost_micro,
        )


def parse_groups(text: str) -> tuple[str, ...]:
    """``day,model`` as groupings; raises ``UsageError``."""
    groups = tuple(part.strip() for part in text.split(","))
    unknown = [group for group in groups if group not in _COLUMNS]
    if unknown:
        raise UsageError(f"{unknown[0]!r} is nothing to group by", f"--by with some of: {', '.join(GROUPS)}")
    if len(set(groups)) != len(groups) or len(set(groups) & _PERIODS.keys()) > 1:
        raise UsageError("name each grouping once, and one of day, week and month", "--by day,model")
    return groups


def parse_day(text: str, option: str) -> str:
    """A calendar day as ``2026-11-27``; raises ``UsageError``."""
    try:
        day = datetime.date.fromisoformat(text.strip())
    except ValueError as error:
        raise UsageError(f"{option} takes a day, not {text!r}", f"{option} 2026-11-27") from error
    return day.isoformat()


def usage(
    source: Source, groups: Sequence[str] = ("day",), since: str | None = None, until: str | None = None
) -> list[UsageRow]:
    """Everything charged from day ``since`` to day ``until``, both included, in the order of the groups."""
    rows = source.execute(statement(groups), (since or "", until or "9999-12-31"))
    period = next((place for place, group in enumerate(groups) if group in _PERIODS), None)
    given = [UsageRow(tuple(row[: len(groups)]), *row[len(groups) :]) for row in rows]
    if period is None:
        return given
    shown = _PERIODS[groups[period]]
    summed: dict[tuple[str, ...], UsageRow] = {}
    for row in given:
        group = (*row.group[:period], shown(row.group[period]), *row.group[period + 1 :])
        summed[group] = _added(summed.get(group, UsageRow(group)), row)
    return [summed[group] for group in sorted(summed)]


def statement(groups: Sequence[str]) -> str:
    """The one statement; it takes the first and the last day."""
    columns = ", ".join(_COLUMNS[group] for group in groups)
    shown = ", ".join(f"coalesce({_COLUMNS[group]}, '')" for group in groups)
    sums = ", ".join(f"coalesce(sum({column}), 0)" for column in _SUMS)
    return (
        f"SELECT {shown}, count(*), {sums} FROM entry INDEXED BY entry_usage "  # noqa: S608 - all of it is ours
        f"WHERE kind = 'settle' AND day BETWEEN ? AND ? GROUP BY {columns} ORDER BY {columns}"
    )


def total(rows: Iterable[UsageRow], groups: Sequence[str]) -> UsageRow:
    """The sum of all rows."""
    summed = UsageRow(("",) * len(groups))
    for row in rows:
        summed = _added(summed, row)
    return summed


def _added(one: UsageRow, other: UsageRow) -> UsageRow:
    return UsageRow(one.group, *(a + b for a, b in zip(one.numbers, other.numbers, strict=True)))


def week_of(day: str) -> str:
    """The ISO week of a day: ``2026-W48``; of what is no day, itself."""
    try:
        year, week, _ = datetime.date.fromisoformat(day).isocalendar()
    except ValueError:
        return day
    return f"{year}-W{week:02d}"
