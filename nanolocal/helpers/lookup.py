"""Questions that the reference answers: what a word means, what or who something is, facts of countries and elements.

A name has to be an entry of the reference as a whole. What could as well be about the conversation (``what is this``,
``who is she``) or about the day (``the weather``) is never looked up.
"""

import re
from collections.abc import Callable, Sequence

from nanolocal.helpers import phrases
from nanolocal.helpers.asking import Asked
from nanolocal.helpers.keys import plain
from nanolocal.helpers.reference import LONGEST_NAME, Entry, Reference, without_article

_PLACE = re.compile(r"\b(?:in|near|between|off) (?:the )?(?:\w+ )?[A-Z]")
_YEARS = re.compile(r"\(([^()]*\d{3,4}[^()]*)\)")


class Lookup:
    """Looks questions up in ``reference``. Raises ``Damaged`` where that cannot be read."""

    def __init__(self, reference: Reference) -> None:
        self._reference = reference

    def answer(self, asked: Asked, earlier: str = "") -> Entry | None:
        """The entry that answers; ``None`` where the prompt is no such question, or nothing is known.

        ``earlier`` is what the conversation said before: a person named there is that one, and not looked up.
        """
        core = asked.core
        ways: tuple[Callable[[], Entry | None], ...] = (
            lambda: self._country_fact(core),
            lambda: self._country_of(core),
            lambda: self._element_fact(core),
            lambda: self._element_of(core),
            lambda: self._synonyms(core),
            lambda: self._meaning(core),
            lambda: self._dates_of(core),
            lambda: self._place(core),
            lambda: self._person(core, earlier),
            lambda: self._thing(core),
        )
        return next((found for way in ways if (found := way()) is not None), None)

    def find(self, name: str) -> Entry | None:
        """What the reference has of a name, whatever it is: a topic, a country, an element or a word."""
        if len(name) > LONGEST_NAME:
            return None
        known = self._reference
        return known.topic(name) or known.country(name) or known.element(name) or known.word(name)

    def _country_fact(self, core: str) -> Entry | None:
        for form in phrases.COUNTRY_FORMS:
            found = form.fullmatch(core)
            if found is None:
                continue
            fact = found["fact"].lower()
            label = phrases.OTHER_LABELS.get(fact) or phrases.LABELS.get(fact) or phrases.LABELS.get(f"{fact}s", "")
            known = self._reference.country_fact(found["name"], label)
            if known is not None:
                verb = "are:" if label in ("languages", "religions") else "is:" if label in phrases.LONG_FACTS else "is"
                title = known[0].removeprefix("the ")
                return self._reference.of_country(title, f"The {label} of {known[0]} {verb} {known[1]}")
        return None

    def _country_of(self, core: str) -> Entry | None:
        found = _matched(phrases.CAPITAL_FORMS, core)
        return self._reference.capital(found["name"]) if found else None

    def _element_fact(self, core: str) -> Entry | None:
        for form in phrases.ELEMENT_FORMS:
            found = form.fullmatch(core)
            if found is None:
                continue
            fact = found["fact"].lower()
            label = phrases.ELEMENT_FACTS.get(fact) or phrases.ELEMENT_VERBS[fact]
            known = self._reference.element_fact(found["name"], label)
            if known is None:
                continue
            if label != "discovered by":
                return self._reference.of_element(known[0], f"The {label} of {known[0].lower()} is {known[1]}")
            if not re.search(r"\d|unknown", known[1], re.IGNORECASE):
                return self._reference.of_element(known[0], f"{known[0]} was discovered by {known[1]}")
        return None

    def _element_of(self, core: str) -> Entry | None:
        found = phrases.SYMBOL_FORM.fullmatch(core)
        if found is None:
            return None
        mark = found["name"] or found["name2"]
        is_said = "number" in (found["what"] or "") if mark.isdigit() else mark[0].isupper()
        return self._reference.element_by(mark) if is_said else None

    def _synonyms(self, core: str) -> Entry | None:
        found = _matched(phrases.SYNONYM_FORMS, core)
        return self._reference.synonyms(found["name"]) if found else None

    def _meaning(self, core: str) -> Entry | None:
        found = _matched(phrases.WORD_FORMS, core)
        if found is None or phrases.VAGUE_ABOUT.search(found["name"]) or found["name"].lower().startswith("the "):
            return None
        if plain(found["name"]) in phrases.LARGE_QUESTIONS:
            return None
        name = re.sub(r"^to ", "", without_article(found["name"]))
        return self._reference.word(name) or self._reference.topic(name)

    def _dates_of(self, core: str) -> Entry | None:
        """An entry that has years in its first brackets, or says when somebody was born."""
        found = phrases.BORN.fullmatch(core)
        if found is None or core.lower().startswith("where") or phrases.VAGUE_ABOUT.search(found["name"]):
            return None
        entry = self._reference.topic(found["name"])
        years = _YEARS.search(entry.text) if entry else None
        if entry is None or years is None:
            return None
        has_both = bool(re.search(r"\d\s*-\s*\D*\d", years[1]))
        return entry if has_both or (found["what"].lower() == "born" and "born" in years[1].lower()) else None

    def _place(self, core: str) -> Entry | None:
        found = phrases.PLACE_FORM.fullmatch(core)
        if found is None or phrases.VAGUE_ABOUT.search(found["name"]):
            return None
        name = found["name"]
        known = self._reference.country_fact(name, "location")
        if known is not None:
            title = known[0].removeprefix("the ")
            return self._reference.of_country(title, f"{title}: {known[1]}")
        entry = self._reference.topic(name) if name[:1].isupper() or name.lower().startswith("the ") else None
        return entry if entry is not None and _PLACE.search(entry.text) else None

    def _person(self, core: str, earlier: str) -> Entry | None:
        found = phrases.PERSON_FORM.fullmatch(core)
        if found is None or not _is_name(found["name"]):
            return None
        name = without_article(found["name"])
        if plain(name) in plain(earlier) or (" " not in name and not name[0].isupper()):
            return None
        entry = self._reference.topic(found["name"])
        if entry is None or not phrases.SOMEBODY.search(entry.text):
            return None
        is_office = name != found["name"].strip() and not entry.title.startswith("The ")  # whose holder changes
        return entry if not is_office and _fits_case(name, entry, core) else None

    def _thing(self, core: str) -> Entry | None:
        found = _matched(phrases.THING_FORMS, core)
        if found is None or not _is_name(found["name"]):
            return None
        name = found["name"].strip()
        bare = without_article(name)
        if " " not in bare and bare.islower() and (self._reference.is_seldom_a_noun(bare) or _is_doing(core, name)):
            return None
        if name.lower().startswith("the "):
            return self._the_one(bare)
        entry = self._named(bare)
        if entry is None or not _fits_case(bare, entry, core, has_article=bare != name):
            return None
        is_proper = any(part[:1].isupper() for part in entry.title.split()[1:])
        return None if is_proper and bare.islower() and bare != name else entry

    def _the_one(self, bare: str) -> Entry | None:
        """What is called by its article: ``the Moon``, but not ``the weather``."""
        entry = self._reference.topic(bare)
        is_one = entry is not None and (bare[:1].isupper() or entry.text.lower().startswith(f"the {plain(bare)}"))
        return entry if is_one else None

    def _named(self, bare: str) -> Entry | None:
        known = self._reference
        if known.has_namesakes(bare):
            return known.element(bare) or (known.word(bare, nouns=True) if bare.islower() else None)
        return known.topic(bare) or known.country(bare) or known.element(bare) or known.word(bare, nouns=True)


def _matched(forms: Sequence[re.Pattern[str]], core: str) -> re.Match[str] | None:
    return next(filter(None, (form.fullmatch(core) for form in forms)), None)


def _is_doing(core: str, name: str) -> bool:
    """``What's cooking``: what goes on, not what cooking is."""
    return core.lower().startswith("what's ") and name.endswith("ing")


def _is_name(name: str) -> bool:
    """Whether words may name an entry, and do not point at the conversation or the speaker."""
    words = plain(without_article(name)).split()
    if not words or len(name) > LONGEST_NAME or len(words) > 7 or phrases.VAGUE_ABOUT.search(name):
        return False
    has_letters = any(char.isalpha() for char in name)
    return has_letters and not all(word in phrases.POINTING for word in words) and not phrases.PRAISED.match(name)


def _fits_case(name: str, entry: Entry, core: str, *, has_article: bool = False) -> bool:
    """Whether capitals allow it: ``RBI`` is no ``rbi``, and ``Docker`` no dock worker, unless all is in capitals."""
    if core.isupper():
        return True
    if name.isupper() and len(name) > 1:
        words = f"{entry.title} {entry.text}".split()[:12]
        return any(word.strip("(),.").isupper() and len(word) > 1 for word in words)
    if not entry.is_word or has_article:
        return True
    is_lowered = name[:1].isupper() and entry.title[:1].islower()
    return not is_lowered and not name.lower().endswith("ing")
