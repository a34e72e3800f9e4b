"""How entries of the reference are named, and how their texts are put together."""

import re
import unicodedata

TOPIC, WORD, COUNTRY, CAPITAL, ELEMENT, SYMBOL, NUMBER = "tdckesn"
"""The first letter of a key. ``CAPITAL`` leads to countries, ``SYMBOL`` and ``NUMBER`` lead to an element."""
BETWEEN, WITHIN = "\x1f", "\x1e"
"""Between the fields or senses of a text, and within a sense: part of speech, meaning, example, synonyms."""
ELSEWHERE = "="
"""A text that begins so names the key of the entry that is meant."""

_QUOTES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-"})


def plain(text: str) -> str:
    """A name as it is compared: lower case, no accents, straight quotes, single spaces."""
    bare = unicodedata.normalize("NFKD", text.translate(_QUOTES))
    letters = "".join(char for char in bare if not unicodedata.combining(char))
    return re.sub(r"\s+", " ", letters.casefold()).strip(" \"'.,;:!?")


def key_of(kind: str, name: str) -> str:
    """The key of an entry."""
    return f"{kind} {plain(name)}"
