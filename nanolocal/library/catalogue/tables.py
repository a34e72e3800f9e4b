"""A TOML table that is read key by key: wrong types and keys that nobody read are refused, with the place named."""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import TypeVar

from nanolocal.errors import Damaged

_DATE = re.compile(r"20\d\d-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?")
_URL = re.compile(r"https://[a-z0-9.-]+\.[a-z]{2,}(/[^\s<>\"]*)?", re.IGNORECASE)
_HINT = "install nanolocal again, or mend the file"
_Word = TypeVar("_Word", bound=StrEnum)


class Table:
    """One table; ``where`` begins every complaint."""

    def __init__(self, values: object, where: str) -> None:
        self.where = where
        if not isinstance(values, dict):
            raise Damaged(f"{where} is not a table", _HINT)
        self._values: Mapping[str, object] = values
        self._unread = set(self._values)

    def refuse(self, reason: str) -> Damaged:
        """The error to raise for this table."""
        return Damaged(f"{self.where}: {reason}", _HINT)

    def text(self, key: str) -> str:
        """A line of text that has to be there."""
        found = self.optional_text(key)
        if found is None:
            raise self.refuse(f"{key} is missing")
        return found

    def optional_text(self, key: str) -> str | None:
        """A line of text, or ``None`` when the key is absent."""
        found = self._take(key)
        if found is None:
            return None
        if not isinstance(found, str) or not found.strip() or not found.isprintable():
            raise self.refuse(f"{key} is not a line of text")
        return found

    def url(self, key: str) -> str:
        """An https address."""
        return self._matching(key, _URL, "an https address") or self.text(key)

    def date(self, key: str) -> str | None:
        """YYYY-MM or YYYY-MM-DD."""
        return self._matching(key, _DATE, "a date like 2025-04 or 2025-04-28")

    def count(self, key: str, least: int, most: int) -> int | None:
        """A whole number within bounds, or ``None``."""
        found = self._take(key)
        if found is None:
            return None
        if not isinstance(found, int) or isinstance(found, bool) or not least <= found <= most:
            raise self.refuse(f"{key} is not a whole number from {least} to {most}")
        return found

    def number(self, key: str) -> float:
        """A number that has to be there."""
        found = self._take(key)
        if not isinstance(found, int | float) or isinstance(found, bool):
            raise self.refuse(f"{key} is not a number")
        return float(found)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of lines of text, empty when the key is absent."""
        found = self._take(key)
        if found is None:
            return ()
        if not isinstance(found, list) or not all(isinstance(item, str) and item for item in found):
            raise self.refuse(f"{key} is not a list of texts")
        if len(set(found)) != len(found):
            raise self.refuse(f"{key} says something twice")
        return tuple(found)

    def words(self, key: str, kind: type[_Word], default: tuple[_Word, ...] = ()) -> tuple[_Word, ...]:
        """A list of words out of ``kind``, ``default`` when the key is absent."""
        given = self.texts(key)
        unknown = sorted(set(given) - {str(word) for word in kind})
        if unknown:
            raise self.refuse(f"{key} knows no {unknown[0]!r}, only {', '.join(kind)}")
        return tuple(kind(word) for word in given) if key in self._values else default

    def tables(self, key: str) -> Iterator["Table"]:
        """The tables of a list, each named by its place in it."""
        found = self._take(key)
        if not isinstance(found, list | None):
            raise self.refuse(f"{key} is not a list of tables")
        for n, values in enumerate(found or (), 1):
            yield Table(values, f"{self.where}: {key} {n}")

    def done(self) -> None:
        """Refuse keys that nobody asked for."""
        if self._unread:
            raise self.refuse(f"unknown key {sorted(self._unread)[0]!r}")

    def _take(self, key: str) -> object:
        self._unread.discard(key)
        return self._values.get(key)

    def _matching(self, key: str, pattern: re.Pattern[str], what: str) -> str | None:
        found = self.optional_text(key)
        if found is not None and not pattern.fullmatch(found):
            raise self.refuse(f"{key} is not {what}")
        return found
