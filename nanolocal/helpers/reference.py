"""The reference: topics, words, countries and elements, each as an entry with its licence and where it is from."""

import re
from dataclasses import dataclass
from urllib.parse import quote

from nanolocal.helpers.keys import (
    BETWEEN,
    CAPITAL,
    COUNTRY,
    ELEMENT,
    ELSEWHERE,
    NUMBER,
    SYMBOL,
    TOPIC,
    WITHIN,
    WORD,
    key_of,
    plain,
)
from nanolocal.helpers.pack import Pack, Record

LONGEST_NAME = 60
"""No name of an entry that is asked for is longer."""
_MOST_SENSES = 3
_SHOWN_OF_COUNTRY = ("location", "capital", "population", "area")
_WIKIPEDIA = ("CC BY-SA 3.0", "Simple English Wikipedia")
_WORDNET = ("WordNet 3.0", "WordNet, Princeton University")
_FACTBOOK = ("CC0", "CIA World Factbook")
_ELEMENTS = ("CC BY-SA 3.0", "Periodic-Table-JSON and Wikipedia")
_WITH_ARTICLE = re.compile(
    r"United|Netherlands|Philippines|Maldives|Democratic|Republic|Federated|.* Islands$|Dominican|Central African"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """What was found: its title, its text as it is shown, its licence and where it is from."""

    title: str
    text: str
    licence: str
    origin: str

    @property
    def is_word(self) -> bool:
        """Whether the dictionary is where it is from."""
        return self.licence == _WORDNET[0]


class Reference:
    """The entries of one file. Every method raises ``Damaged`` where that cannot be read."""

    def __init__(self, pack: Pack) -> None:
        self._pack = pack

    def topic(self, name: str) -> Entry | None:
        """The topic of that name, with or without its article, in the singular or plural."""
        for each in dict.fromkeys((name.strip(), *_numbers(without_article(name)))):
            record = self._pack.get(key_of(TOPIC, each))
            if record is not None:
                licence, origin = _WIKIPEDIA
                address = f"https://simple.wikipedia.org/wiki/{quote(record.title.replace(' ', '_'))}"
                return Entry(record.title, record.text, licence, f"{origin}, {address}")
        return None

    def has_namesakes(self, name: str) -> bool:
        """Whether there is no topic of just that name, but some that need brackets: ``Mercury (planet)``."""
        is_bracketed = bool(self._pack.starting(f"{key_of(TOPIC, name)} (", 1))
        return is_bracketed and self._pack.get(key_of(TOPIC, name)) is None

    def word(self, name: str, *, nouns: bool = False) -> Entry | None:
        """The senses of a word, or those in which it is a noun."""
        record = next(filter(None, (self._pack.get(key_of(WORD, each)) for each in _numbers(name))), None)
        senses = [] if record is None else [sense for sense in _senses(record) if not nouns or sense[0] == "noun"]
        if record is None or not senses:
            return None
        told = [
            f"{part}: {meaning}" + (f' ("{example}")' if example else "")
            for part, meaning, example, _ in senses[:_MOST_SENSES]
        ]
        lines = told if len(told) == 1 else [f"{number}. {line}" for number, line in enumerate(told, 1)]
        return Entry(record.title, f"{record.title} - {'; '.join(lines)}", *_WORDNET)

    def is_seldom_a_noun(self, name: str) -> bool:
        """Whether a word is one mostly in other senses than those of a noun."""
        record = self._record(WORD, name)
        parts = [] if record is None else [sense[0] for sense in _senses(record)]
        return 2 * parts.count("noun") < len(parts)

    def synonyms(self, name: str) -> Entry | None:
        """Words of the same meanings."""
        record = self._record(WORD, name)
        if record is None:
            return None
        others = list(dict.fromkeys(sense[3] for sense in _senses(record) if sense[3]))[:_MOST_SENSES]
        return Entry(record.title, f"Words like {record.title}: {'; '.join(others)}.", *_WORDNET) if others else None

    def country(self, name: str) -> Entry | None:
        """Where a country is, its capital, how many live there and how large it is."""
        record = self._record(COUNTRY, _bare(name))
        fields = _fields(record)
        told = "; ".join(f"{label}: {fields[label]}" for label in _SHOWN_OF_COUNTRY if label in fields)
        return Entry(record.title, ended(f"{record.title}. {told}"), *_FACTBOOK) if record else None

    def country_fact(self, name: str, label: str) -> tuple[str, str] | None:
        """The name of a country as it stands in a sentence, and one of its fields."""
        record = self._record(COUNTRY, _bare(name))
        value = _fields(record).get(label)
        return (_the(record.title), value) if record is not None and value else None

    def capital(self, city: str) -> Entry | None:
        """Of which country a city is the capital."""
        record = self._record(CAPITAL, city)
        if record is None:
            return None
        owners = " and of ".join(_the(name) for name in record.text.split(BETWEEN))
        return Entry(record.title, f"{record.title} is the capital of {owners}.", *_FACTBOOK)

    def element(self, name: str) -> Entry | None:
        """What an element is."""
        record = self._record(ELEMENT, name)
        return Entry(record.title, _fields(record).get("summary", ""), *_ELEMENTS) if record else None

    def element_fact(self, name: str, label: str) -> tuple[str, str] | None:
        """The name of an element, and one of its fields."""
        record = self._record(ELEMENT, name)
        value = _fields(record).get(label)
        return (record.title, value) if record is not None and value else None

    def element_by(self, mark: str) -> Entry | None:
        """The element with a symbol or an atomic number."""
        record = self._record(NUMBER if mark.isdigit() else SYMBOL, mark)
        if record is None:
            return None
        fields = _fields(record)
        symbol, number = fields.get("symbol"), fields.get("atomic number")
        text = f"{record.title} has the symbol {symbol} and the atomic number {number}."
        return Entry(record.title, text, *_ELEMENTS)

    def of_country(self, title: str, text: str) -> Entry:
        """A sentence made from a country's field."""
        return Entry(title, ended(text), *_FACTBOOK)

    def of_element(self, title: str, text: str) -> Entry:
        """A sentence made from an element's field."""
        return Entry(title, ended(text), *_ELEMENTS)

    def _record(self, kind: str, name: str) -> Record | None:
        """An entry by its name, or the one that name leads to."""
        if not plain(name) or len(name) > LONGEST_NAME:
            return None
        record = self._pack.get(key_of(kind, name))
        if record is not None and record.text.startswith(ELSEWHERE):
            return self._pack.get(record.text.removeprefix(ELSEWHERE))
        return record


def without_article(name: str) -> str:
    """A name without ``the``, ``a`` or ``an``."""
    return re.sub(r"^(?:the|an?) ", "", name.strip(), flags=re.IGNORECASE)


def ended(text: str) -> str:
    """A sentence with its full stop."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _fields(record: Record | None) -> dict[str, str]:
    if record is None:
        return {}
    return dict(part.split(ELSEWHERE, 1) for part in record.text.split(BETWEEN) if ELSEWHERE in part)


def _senses(record: Record) -> list[tuple[str, str, str, str]]:
    """Part of speech, meaning, example, and other words of the same meaning."""
    found = [(*sense.split(WITHIN), "", "", "", "")[:4] for sense in record.text.split(BETWEEN)]
    return [(part, meaning, example, others) for part, meaning, example, others in found]


def _bare(name: str) -> str:
    return re.sub(r"^the ", "", name.strip(), flags=re.IGNORECASE)


def _the(country: str) -> str:
    return f"the {country}" if _WITH_ARTICLE.match(country) else country


def _numbers(name: str) -> tuple[str, ...]:
    """The name as it stands, and what may be its singular."""
    lower = name.lower()
    if lower.endswith("ies") and len(name) > 4:
        return name, f"{name[:-3]}y"
    if lower.endswith(("oes", "ches", "shes", "xes", "sses", "zes")):
        return name, name[:-2]
    if lower.endswith("s") and not lower.endswith(("ss", "us", "is")) and len(name) > 3:
        return name, name[:-1]
    return (name,)
