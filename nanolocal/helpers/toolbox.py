"""All helpers behind one door: what answers a prompt for certain, and the same functions for models that call tools."""

import json
from collections.abc import Callable, Mapping
from datetime import date, datetime
from pathlib import Path
from random import Random, SystemRandom

from nanolocal.chat.messages import Source
from nanolocal.errors import Damaged
from nanolocal.helpers import asking, chance, counting, days, figures, sums, units
from nanolocal.helpers.calculator import NoSum, calculate
from nanolocal.helpers.lookup import Lookup
from nanolocal.helpers.pack import Pack
from nanolocal.helpers.reference import Entry, Reference
from nanolocal.safetext import safe

_MOST_ARGUMENT = 500
_DATE = {
    "date": "such as 2026-12-24 or today",
    "until": "a second date",
    "add": "a whole number",
    "unit": "days, weeks, months or years",
}
_FUNCTIONS: tuple[tuple[str, str, dict[str, str], tuple[str, ...]], ...] = (
    (
        "calculator",
        "Work out a sum exactly.",
        {"expression": "such as (3 + 4) * 5, 15% of 80, sqrt(2)"},
        ("expression",),
    ),
    (
        "convert_units",
        "Turn an amount into another unit.",
        {"amount": "a number", "from": "a unit, such as miles", "to": "a unit, such as km"},
        ("amount", "from", "to"),
    ),
    ("calendar", "The weekday of a date, the days to a second one, or the date so much later.", _DATE, ("date",)),
    (
        "look_up",
        "Look up a word, a topic, a country or an element in the local reference.",
        {"name": "what to look up"},
        ("name",),
    ),
)
"""Name, purpose, arguments with what they mean, and those that are needed."""


def _now() -> datetime:
    return datetime.now().astimezone()


class Toolbox:
    """Implements ``chat.ports.Helpers`` with the reference at ``path``; nothing of it is read before it is needed."""

    def __init__(
        self,
        path: Path,
        clock: Callable[[], datetime] = lambda: datetime.now().astimezone(),
        chance: Random | None = None,
    ) -> None:
        self._lookup = Lookup(Reference(Pack(path)))
        self._clock = clock
        self._chance = chance or SystemRandom()

    def answer(self, prompt: str, earlier: str = "") -> Source | None:
        """What answers the whole prompt for certain; see ``chat.ports.Helpers``."""
        asked = asking.read(prompt)
        if asked is None or not asked.core:
            return None
        tried: tuple[tuple[str, Callable[[], str | None]], ...] = (
            ("Calculator", lambda: sums.answer(asked)),
            ("Calendar", lambda: days.answer(asked, self._clock())),
            ("Units", lambda: units.answer(asked)),
            ("Text", lambda: counting.answer(asked)),
            ("Chance", lambda: chance.answer(asked, self._chance)),
        )
        for title, work in tried:
            if (told := work()) is not None:
                return Source(title, told)
        found = self._lookup.answer(asked, earlier)
        return None if found is None else _source(found)

    @property
    def offered(self) -> str:
        """The tools for models that call them, as OpenAI's API takes them."""
        return json.dumps([_described(*function) for function in _FUNCTIONS])

    def call(self, name: str, arguments: str) -> Source | None:
        """What a tool gives for a JSON object of arguments; a sentence on what is wrong with them, where it gives none.

        ``None`` for a tool that is none of these.
        """
        works = {
            "calculator": ("Calculator", self._calculator),
            "convert_units": ("Units", self._convert),
            "calendar": ("Calendar", self._calendar),
        }
        if name != "look_up" and name not in works:
            return None
        try:
            given = json.loads(arguments)
        except (ValueError, RecursionError):
            given = None
        words = {key: str(value)[:_MOST_ARGUMENT] for key, value in given.items()} if isinstance(given, dict) else {}
        if name == "look_up":
            return self._look_up(words.get("name", ""))
        title, work = works[name]
        try:
            return Source(title, work(words))
        except (NoSum, days.NoDate, units.NoConversion, KeyError, ValueError, OverflowError, ZeroDivisionError):
            return Source(title, f"{name} cannot do anything with {safe(arguments)[:_MOST_ARGUMENT]}")

    def _look_up(self, name: str) -> Source:
        try:
            found = self._lookup.find(name) if name else None
        except Damaged as problem:
            return Source("Reference", problem.message)
        return Source("Reference", f"The reference has no entry {safe(name)!r}.") if found is None else _source(found)

    def _calculator(self, words: Mapping[str, str]) -> str:
        return calculate(words["expression"].rstrip("= ?"))

    def _convert(self, words: Mapping[str, str]) -> str:
        source, target = units.UNITS[words["from"].strip().lower()], units.UNITS[words["to"].strip().lower()]
        amount = words["amount"].strip()
        sign = -1 if amount.startswith("-") else 1
        return units.told(sign * figures.read_number(amount.lstrip("-")), source, target)

    def _calendar(self, words: Mapping[str, str]) -> str:
        today = self._clock().date()
        day = days.read_date(words["date"], today)[0]
        if words.get("until"):
            second = days.read_date(words["until"], today)[0]
            return f"{_told(day)} to {_told(second)}: {(second - day).days:,} days"
        if words.get("add"):
            later = days.moved(day, int(words["add"]), words.get("unit", "days").lower())
            return f"{_told(later)}"
        return _told(day)


def _told(day: date) -> str:
    return f"{days.weekday(day)}, {days.told(day)}"


def _source(found: Entry) -> Source:
    return Source(found.title, found.text, found.licence, found.origin)


def _described(name: str, what: str, arguments: Mapping[str, str], needed: tuple[str, ...]) -> dict[str, object]:
    properties = {key: {"type": "string", "description": words} for key, words in arguments.items()}
    parameters = {"type": "object", "properties": properties, "required": list(needed)}
    return {"type": "function", "function": {"name": name, "description": what, "parameters": parameters}}
