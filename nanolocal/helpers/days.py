"""Questions about dates: weekdays, days between two dates, dates so many days away, leap years, today and now.

The calendar is the Gregorian one. A date in figures whose day and month could be either way round is not read.
"""

import calendar
import re
from collections.abc import Callable
from datetime import date, datetime, timedelta

from nanolocal.helpers.asking import Asked
from nanolocal.helpers.figures import with_digits
from nanolocal.helpers.forms import Forms

_MONTHS = {name.lower(): n for n, name in enumerate(calendar.month_name) if name}
_MONTHS |= {name.lower(): n for n, name in enumerate(calendar.month_abbr) if name} | {"sept": 9}
_WEEKDAYS = [name.lower() for name in calendar.day_name]
_MONTH = rf"(?:{'|'.join(sorted(_MONTHS, key=len, reverse=True))})\.?"
_FEASTS = {
    "christmas": (12, 25), "christmas day": (12, 25), "christmas eve": (12, 24), "boxing day": (12, 26),
    "new year": (1, 1), "new year's": (1, 1), "new year's day": (1, 1), "new years": (1, 1), "new year's eve": (12, 31),
    "halloween": (10, 31), "valentine's day": (2, 14), "valentines day": (2, 14),
}  # fmt: skip
_RELATIVE = {
    "today": 0,
    "now": 0,
    "tomorrow": 1,
    "yesterday": -1,
    "the day after tomorrow": 2,
    "the day before yesterday": -2,
}
_FEAST = rf"(?:{'|'.join(sorted(_FEASTS, key=len, reverse=True))})"
_DATE = (
    rf"(?:\d{{4}}-\d{{1,2}}-\d{{1,2}}|\d{{1,2}}(?:st|nd|rd|th)? (?:of )?{_MONTH},?(?: \d{{4}})?"
    rf"|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?(?:,? \d{{4}})?|\d{{1,2}}[./]\d{{1,2}}[./]\d{{4}}"
    rf"|{'|'.join(sorted(_RELATIVE, key=len, reverse=True))}|{_FEAST}(?: \d{{4}}| this year| next year)?)"
)
_COUNT = r"(?:\d{1,6}|an?)"
_SPAN = r"(?:days?|weeks?|fortnights?|months?|years?)"
_MOST_DAYS = 366 * 5000


class NoDate(Exception):
    """These words are no date, or one that does not exist."""


def answer(asked: Asked, now: datetime) -> str | None:
    """The answer, ``24 December 2026 is a Thursday``; ``None`` where the prompt is no such question."""
    for found, work in _FORMS.matching(with_digits(asked.core)):
        try:
            return work(found, now)
        except (NoDate, OverflowError, ValueError):
            return None
    return None


def read_date(text: str, today: date) -> tuple[date, bool]:
    """The date that words mean, and whether the year was said. Raises ``NoDate``."""
    text = re.sub(r"\s+", " ", text.strip().lower()).replace(",", "")
    if text in _RELATIVE:
        return today + timedelta(days=_RELATIVE[text]), True
    named = re.fullmatch(rf"({_FEAST})(?: (\d{{4}}|this year|next year))?", text)
    if named:
        year = int(named[2]) if (named[2] or "").isdigit() else today.year + (named[2] == "next year")
        return _made(year, *_FEASTS[named[1]]), bool(named[2])
    if iso := re.fullmatch(r"(\d{4})-(\d{1,2})-(\d{1,2})", text):
        return _made(int(iso[1]), int(iso[2]), int(iso[3])), True
    if figures := re.fullmatch(r"(\d{1,2})([./])(\d{1,2})\2(\d{4})", text):
        return _in_figures(int(figures[1]), int(figures[3]), int(figures[4]), figures[2]), True
    day_first = re.fullmatch(rf"(\d{{1,2}})(?:st|nd|rd|th)? (?:of )?({_MONTH})(?: (\d{{4}}))?", text)
    month_first = re.fullmatch(rf"({_MONTH}) (\d{{1,2}})(?:st|nd|rd|th)?(?: (\d{{4}}))?", text)
    if day_first:
        number, month, year_said = day_first[1], day_first[2], day_first[3]
    elif month_first:
        month, number, year_said = month_first[1], month_first[2], month_first[3]
    else:
        raise NoDate
    return _made(int(year_said or today.year), _MONTHS[month.rstrip(".")], int(number)), year_said is not None


def told(day: date) -> str:
    """``24 December 2026``."""
    return f"{day.day} {calendar.month_name[day.month]} {day.year}"


def weekday(day: date) -> str:
    """``Thursday``."""
    return calendar.day_name[day.weekday()]


def moved(day: date, count: int, unit: str) -> date:
    """``count`` days, weeks, months or years later; the last of the month where there is no such day."""
    unit = unit.rstrip("s")
    if unit in ("day", "week", "fortnight"):
        return day + timedelta(days=count * {"day": 1, "week": 7, "fortnight": 14}[unit])
    months = day.year * 12 + day.month - 1 + count * (12 if unit == "year" else 1)
    year, month = divmod(months, 12)
    if not 1 <= year <= 9999:
        raise NoDate
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def _made(year: int, month: int, day: int) -> date:
    try:
        return date(year, month, day)
    except ValueError as error:
        raise NoDate from error


def _in_figures(first: int, second: int, year: int, mark: str) -> date:
    """``24.12.2026``; with slashes only where one of the two can be no month, or both are the same."""
    if mark == ".":
        return _made(year, second, first)
    if first > 12 or first == second:
        return _made(year, second, first)
    if second > 12:
        return _made(year, first, second)
    raise NoDate


def _count(text: str) -> int:
    return int(text) if text.isdigit() else 1


def _days(count: int) -> str:
    return f"{count:,} day{'' if count == 1 else 's'}"


def _weekday_of(found: re.Match[str], now: datetime) -> str:
    day, has_year = read_date(found["d"], now.date())
    is_relative = found["d"].lower() in _RELATIVE
    if not has_year and not is_relative:
        is_past = bool(re.search(r"\b(?:was|did)\b", found[0], re.IGNORECASE))
        day = _nearest(day, now.date(), past=is_past)
    name = f"{found['d'].capitalize()}, {told(day)}," if is_relative else told(day)
    verb = "is" if day >= now.date() else "was"
    return f"{name} {verb} a {weekday(day)}"


def _nearest(day: date, today: date, *, past: bool) -> date:
    """The next such day of a year, today included, or the last one."""
    if past and day > today:
        return moved(day, -1, "year")
    if not past and day < today:
        return moved(day, 1, "year")
    return day


def _between(found: re.Match[str], now: datetime) -> str:
    (first, _), (second, _) = read_date(found["a"], now.date()), read_date(found["b"], now.date())
    unit = (found["unit"] or "days").lower().rstrip("s")
    days = abs((second - first).days)
    span = f"From {told(first)} to {told(second)}"
    if unit == "week":
        weeks, rest = divmod(days, 7)
        more = f" and {_days(rest)}" if rest else ""
        return f"{span}: {weeks:,} week{'' if weeks == 1 else 's'}{more} ({_days(days)})"
    if unit != "day":
        raise NoDate
    return f"{span}: {_days(days)}"


def _until(found: re.Match[str], now: datetime) -> str:
    day, has_year = read_date(found["d"], now.date())
    is_since = found["way"].lower() == "since"
    if not has_year:
        day = _nearest(day, now.date(), past=is_since)
    days = (now.date() - day if is_since else day - now.date()).days
    if days < 0:
        raise NoDate
    today = told(now.date())
    span = f"From {told(day)} to today, {today}" if is_since else f"From today, {today}, to {told(day)}"
    if (found["unit"] or "days").lower().startswith("week"):
        weeks, rest = divmod(days, 7)
        return f"{span}: {weeks:,} week{'' if weeks == 1 else 's'}{f' and {_days(rest)}' if rest else ''}"
    return f"{span}: {_days(days)}"


def _away(found: re.Match[str], now: datetime) -> str:
    groups = found.groupdict()
    start, has_year = read_date(groups.get("d") or "today", now.date())
    if groups.get("d") and not has_year:
        start = _made(now.year, start.month, start.day)
    count = _count(found["n"])
    sign = -1 if found["way"].lower() in ("ago", "before", "earlier", "minus", "-") else 1
    if count > _MOST_DAYS:
        raise NoDate
    day = moved(start, sign * count, found["unit"].lower())
    word = "before" if sign < 0 else "after"
    base = (
        "today, " + told(start) + "," if not groups.get("d") or groups["d"].lower() in ("today", "now") else told(start)
    )
    unit = found["unit"].lower().rstrip("s")
    return f"{count:,} {unit}{'' if count == 1 else 's'} {word} {base} is {weekday(day)}, {told(day)}".replace(
        ",,", ","
    )


def _today(found: re.Match[str], now: datetime) -> str:
    return f"Today is {weekday(now.date())}, {told(now.date())}"


def _relative(found: re.Match[str], now: datetime) -> str:
    word = found["d"].lower()
    day = now.date() + timedelta(days=_RELATIVE[word])
    return f"{word.capitalize()} {'was' if _RELATIVE[word] < 0 else 'is'} {weekday(day)}, {told(day)}"


def _time(found: re.Match[str], now: datetime) -> str:
    zone = now.tzname()
    return f"It is {now:%H:%M} on this machine" + (f" ({zone})" if zone else "")


def _leap(found: re.Match[str], now: datetime) -> str:
    year = int(found["y"])
    if not 1 <= year <= 9999:
        raise NoDate
    return f"{year} is {'' if calendar.isleap(year) else 'not '}a leap year"


def _month_length(found: re.Match[str], now: datetime) -> str:
    month = _MONTHS[found["m"].lower().rstrip(".")]
    name = calendar.month_name[month]
    if month == 2 and not found["y"]:
        return "February has 28 days, 29 in a leap year"
    year = int(found["y"] or now.year)
    return f"{name}{f' {year}' if found['y'] else ''} has {calendar.monthrange(year, month)[1]} days"


def _year_length(found: re.Match[str], now: datetime) -> str:
    year = int(found["y"])
    return f"{year} has {366 if calendar.isleap(year) else 365} days"


def _any_year(found: re.Match[str], now: datetime) -> str:
    days = "366 days" if found["leap"] else "365 days, a leap year 366"
    name = "A leap year" if found["leap"] else "A year"
    if found["unit"].lower() == "days":
        return f"{name} has {days}"
    return f"{name} has 52 weeks and {'2 days' if found['leap'] else '1 day, a leap year 2 days'}"


def _week_number(found: re.Match[str], now: datetime) -> str:
    day, _ = read_date(found["d"] or "today", now.date())
    return f"{told(day)} is in week {day.isocalendar().week} (ISO)"


def _this_year(found: re.Match[str], now: datetime) -> str:
    return f"This is the year {now.year}" if found["what"].lower() == "year" else f"It is {now:%B} {now.year}"


Work = Callable[[re.Match[str], datetime], str]


_WHICH_DAY = r"(?:what|which) (?:day of the week|weekday|day)"
_FORMS: Forms[Work] = Forms(
    r"\b(?:days?|dates?|weekday|weeks?|months?|years?|time|today|tomorrow|yesterday|how long)\b",
    (
        r"what(?:'s| is| was)? (?:the date|the date today|today's date|the current date|the date of today"
        r"|today)", _today),
    (
        r"what (?:day|date) is (?:it|today)(?: today)?|what day of the week is (?:it|today)(?: today)?|which"
        r" day is (?:it )?today", _today),
    (r"what(?:'s| is| was) (?:the date (?:of )?|the day )?(?P<d>tomorrow|yesterday)(?:'s date)?", _relative),
    (
        r"(?:what|which) (?:day|date)(?: of the week)? (?:is|was|will|will it|was it)(?: be)? (?P<d>tomorrow"
        r"|yesterday)", _relative),
    (r"what time is it(?: now| right now)?|what(?:'s| is) the (?:current )?time(?: now)?", _time),
    (r"what (?P<what>year|month) is (?:it|this)(?: now)?", _this_year),
    (r"(?:is|was) (?:the year )?(?P<y>\d{1,4}) a leap year", _leap),
    (
        rf"how many days (?:are |are there |does |do |has |have )?(?:in |there are in )?(?P<m>{_MONTH})(?: (?:of"
        rf" )?(?P<y>\d{{4}}))?(?: have| has)?", _month_length),
    (r"how many (?P<unit>days|weeks) (?:are |are there )?in an? (?P<leap>leap )?year", _any_year),
    (r"how many (?P<unit>days|weeks) does an? (?P<leap>leap )?year have", _any_year),
    (r"how many days (?:are |are there )?in (?:the year )?(?P<y>\d{4})", _year_length),
    (
        rf"{_WHICH_DAY} (?:is|was|will|does|did)(?: it)? ?(?:be )?(?:on )?(?P<d>{_DATE})(?: fall on| be| on)?",
        _weekday_of,
    ),
    (
        rf"(?:on )?{_WHICH_DAY} (?:will|does|did) (?P<d>{_DATE}) (?:fall|be|land)(?: on)?(?: this year)?", _weekday_of
    ),
    (rf"what(?:'s| is| was) the (?:weekday|day of the week) (?:of|on|for) (?P<d>{_DATE})", _weekday_of),
    (
        rf"how many (?P<unit>days|weeks) (?:are |are there |lie |is it )?(?:between|from) (?P<a>{_DATE})"
        rf" (?:and|to|until|till) (?P<b>{_DATE})", _between),
    (
        rf"(?:the )?(?:number of )?(?P<unit>days|weeks) (?:between|from) (?P<a>{_DATE}) (?:and|to|until)"
        rf" (?P<b>{_DATE})", _between),
    (
        rf"how (?:many (?P<unit>days|weeks)|long) (?:is it |are there |are left |left |remain |to go"
        rf" )?(?P<way>until|till|til|to|before) (?P<d>{_DATE})", _until),
    (
        rf"how many (?P<unit>days|weeks) (?:have passed |has it been |is it |ago was )?(?P<way>since)"
        rf" (?P<d>{_DATE})", _until),
    (
        rf"(?:what|which) (?:date|day)(?: of the week)? (?:is|was|will it be|will be|is it|was it|comes)"
        rf" (?:in )?(?P<n>{_COUNT}) (?P<unit>{_SPAN}) (?P<way>from|after|before) (?P<d>{_DATE})", _away),
    (
        rf"(?:what|which) (?:date|day)(?: of the week)? (?:is|was|will it be|will be|is it|was it)"
        rf" (?P<n>{_COUNT}) (?P<unit>{_SPAN}) (?P<way>ago)", _away),
    (
        rf"(?:what|which) (?:date|day)(?: of the week)? (?:is|will it be|will be|is it) (?P<way>in)"
        rf" (?P<n>{_COUNT}) (?P<unit>{_SPAN})(?: time)?", _away),
    (
        rf"what(?:'s| is| was) (?:the date )?(?P<n>{_COUNT}) (?P<unit>{_SPAN}) (?P<way>from|after|before)"
        rf" (?P<d>{_DATE})", _away),
    (
        rf"what(?:'s| is| was) (?:the date )?(?P<d>{_DATE}) (?P<way>plus|minus|\+|-) (?P<n>{_COUNT})"
        rf" (?P<unit>{_SPAN})", _away),
    (rf"(?P<d>{_DATE}) (?P<way>plus|minus|\+|-) (?P<n>{_COUNT}) (?P<unit>{_SPAN})", _away),
    (rf"(?:what|which) (?:calendar )?week (?:number )?is (?:it|(?P<d>{_DATE}))", _week_number),
)  # fmt: skip
