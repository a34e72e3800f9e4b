"""Questions about words themselves: how many there are, how they are spelt backwards, in which order they come."""

import re
from collections.abc import Callable
from fractions import Fraction

from nanolocal.helpers.asking import Asked
from nanolocal.helpers.figures import NUMBER, read_number
from nanolocal.helpers.forms import Forms

_QUOTED = r"(?:\"(?P<q>[^\"]+)\"|'(?P<s>[^']+(?:'[^' ]+)*)')"
_WORD = r"(?:\"(?P<q>[^\"]+)\"|'(?P<s>[^']+)'|(?P<w>[^\W\d_]+))"
_LETTER = r"['\"]?(?P<l>[^\W\d_])['\"]?(?:'?s)?"
_MOST_ITEMS = 100
_KINDS = "words|letters|characters|vowels|consonants|syllables|digits"


def answer(asked: Asked) -> str | None:
    """``"strawberry" has 3 times the letter r``; ``None`` where the prompt is no such question."""
    return next((told for found, work in _FORMS.matching(asked.core) if (told := work(found))), None)


def count(text: str, kind: str) -> int:
    """How many words, letters, characters (spaces too), vowels, consonants or digits a text has."""
    match kind:
        case "words":
            return len(text.split())
        case "letters":
            return sum(char.isalpha() for char in text)
        case "vowels":
            return sum(char in "aeiou" for char in text.lower())
        case "consonants":
            return sum(char.isalpha() and char.isascii() and char not in "aeiou" for char in text.lower())
        case "digits":
            return sum(char.isdigit() for char in text)
        case _:
            return len(text)


def ordered(items: list[str], *, falls: bool = False) -> list[str]:
    """Numbers by their size, anything else by the alphabet whatever the case."""
    if all(re.fullmatch(rf"-?{NUMBER}", item) for item in items):
        return sorted(items, key=_size, reverse=falls)
    return sorted(items, key=str.casefold, reverse=falls)


def items_of(text: str) -> list[str]:
    """The parts of a list between commas, semicolons and a last ``and``; without those, its words."""
    parts = (
        re.split(r"\s*[;,]\s*(?:and\s+)?|\s+and\s+", text.strip()) if re.search(r"[,;]| and ", text) else text.split()
    )
    return [part for part in parts if part]


def _size(item: str) -> Fraction:
    return -read_number(item[1:]) if item.startswith("-") else read_number(item)


def _text(found: re.Match[str]) -> str:
    groups = found.groupdict()
    return next(filter(None, (groups.get("q"), groups.get("s"), groups.get("w"))), "")


def _counted(found: re.Match[str]) -> str | None:
    text, kind = _text(found), found["kind"].lower()
    if kind == "syllables" or not text:
        return None
    number = count(text, kind)
    name = kind[:-1] if number == 1 else kind
    note = ", spaces included" if kind == "characters" and " " in text else ""
    return f'"{text}" has {number:,} {name}{note}'


def _occurrences(found: re.Match[str]) -> str | None:
    letter, text = found["l"].lower(), _text(found)
    if len(text) < 2:
        return None
    number = text.lower().count(letter)
    return f'"{text}" has the letter {letter} {number} time{"" if number == 1 else "s"}'


def _backwards(found: re.Match[str]) -> str | None:
    text = _text(found)
    return f'"{text}" backwards is "{text[::-1]}"' if text else None


def _spelt(found: re.Match[str]) -> str | None:
    text = _text(found)
    return f'"{text}": {"-".join(text.upper())}' if text.isalpha() else None


def _sorted(found: re.Match[str]) -> str | None:
    items = items_of(found["list"])
    if not 2 <= len(items) <= _MOST_ITEMS:
        return None
    words = (found["how"] or "") + (found["how2"] or "")
    are_numbers = all(re.fullmatch(rf"-?{NUMBER}", item) for item in items)
    if not are_numbers and (
        not re.search("alphabet|a-z|z-a", found[0], re.IGNORECASE) or any(len(item.split()) > 4 for item in items)
    ):
        return None
    falls = bool(re.search(r"descending|largest|highest|biggest|z-a|z to a|reverse|from high", words, re.IGNORECASE))
    return ", ".join(ordered(items, falls=falls))


Work = Callable[[re.Match[str]], str | None]


_HOW = (
    r"alphabetically|in alphabetical order|alphabetical order|(?:in |from )?(?:ascending|descending|numerical"
    r"|increasing|decreasing)(?: order)?|from (?:smallest|lowest|largest|highest|biggest|low|high) to"
    r" (?:smallest|lowest|largest|highest|biggest|low|high)|from (?:a to z|z to a)|a-z|z-a|in reverse"
    r" alphabetical order|by size"
)
_FORMS: Forms[Work] = Forms(
    r"\b(?:how many|how often|count|reverse|backwards?|spell|sort|order|arrange|put)\b",
    (
        rf"how many (?P<kind>{_KINDS}) (?:are |are there |does |do )?(?:in )?(?:the (?:sentence|text|phrase"
        rf"|word|following sentence|following text|name) ?:? ?)?{_QUOTED}(?: have| has| contain)?", _counted),
    (
        rf"how many (?P<kind>letters|vowels|consonants|characters) (?:are |are there )?in (?:the (?:word"
        rf"|name) )?{_WORD}", _counted),
    (
        rf"how many (?P<kind>letters|vowels|consonants|characters) does (?:the (?:word|name) )?{_WORD} have", _counted),
    (
        rf"count (?:the )?(?:number of )?(?P<kind>{_KINDS}) (?:in|of)(?: the (?:sentence|text|phrase|word"
        rf"|following sentence|following text))? ?:? ?{_QUOTED}", _counted),
    (
        rf"how many (?:times (?:does|do|is) )?(?:the )?(?:letter )?{_LETTER} (?:are |are there |occurs? "
        rf"|appears? |used )?in (?:the (?:word|name) )?{_WORD}", _occurrences),
    (rf"how often does (?:the )?letter {_LETTER} (?:occur|appear) in (?:the word )?{_WORD}", _occurrences),
    (rf"how many {_LETTER} does (?:the word )?{_WORD} have", _occurrences),
    (rf"count (?:the )?(?:number of )?{_LETTER} in (?:the word )?{_WORD}", _occurrences),
    (
        rf"(?:reverse|spell|write) (?:the (?:word|string|text|letters of) )?{_WORD} backwards?", _backwards),
    (rf"reverse (?:the (?:word|string|text|letters of|letters in) ){_WORD}", _backwards),
    (rf"reverse {_QUOTED}", _backwards),
    (rf"(?:how do you spell|spell|spell out) (?:the word )?{_WORD} (?:letter by letter)", _spelt),
    (
        rf"(?:sort|order|arrange|put) (?:the |these |this |the following )?(?:numbers |words |names |list "
        rf"|items )?(?P<how>{_HOW}) ?:? ?(?P<list>[^:?!\"]+)(?P<how2>)", _sorted),
    (
        rf"(?:sort|order|arrange|put) (?:the |these |this |the following )?(?:numbers |words |names |list "
        rf"|items )?:? ?(?P<list>[^:?!\"]+?) (?P<how>{_HOW})(?P<how2>)", _sorted),
    (
        r"sort (?:these numbers|the numbers|these|this list|the list)?:?"
        r" ?(?P<list>-?\d[-\d.,;\s]*\d)(?P<how>)(?P<how2>)", _sorted),
)  # fmt: skip
