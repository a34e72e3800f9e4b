"""What a changed picture shows, in words: a wish such as "make it blue" joined to the words that it was drawn from.

Most builds that draw take a description of the whole picture and no order, so that "now at night" alone would draw any
night. Rules for English; in other languages, and where no rule fits, the wish is put after the description.
"""

import re
from collections.abc import Callable
from typing import NamedTuple


class Described(NamedTuple):
    """The words for a picture, and those for what is not to be in it."""

    prompt: str
    negative: str = ""


_COLOURS = (
    r"(?:(?:light|dark|bright|pale|deep) )?(?:red|blue|green|yellow|orange|purple|pink|brown|black|white|gr[ae]y|"
    r"violet|cyan|magenta|turquoise|gold|golden|silver)"
)
_COLOURED = re.compile(rf"\b{_COLOURS}\b(?= (?!and |on |in |with |of |at )\w)", re.IGNORECASE)
"""A colour that a thing has which is named after it."""
_LEAD_IN = re.compile(
    r"^(?:(?:please|now|and|then|but|ok(?:ay)?|great|just|also|instead|can you|could you|would you|this time)\b"
    r"[,:!.]*\s*)+",
    re.IGNORECASE,
)
_POLITE = re.compile(r",? (?:please|thanks|thank you)$", re.IGNORECASE)
_ANY = r"(?:it|this|that|them|these|the (?:picture|image|photo|scene|whole thing)|everything)"
_A = r"(?:an?|the|some|its|his|her|their|all|all the|that|this|those|these)"
_SHORTEST = 3
_LONGEST_WISH = 200

_MADE = re.compile(
    rf"(?:make|turn|paint|colou?r|recolou?r|change)\s+(?:{_A}\s+)?(?P<what>[\w ]+?)\s+(?:in|to |into )?\s*"
    rf"(?P<how>{_COLOURS})$"
)
_GONE = re.compile(
    rf"(?:remove|delete|erase|without|no|get rid of|take (?:away|out)|lose)\s+(?:{_A}\s+)?(?P<what>[\w ]+)$"
)
_SWAPPED = re.compile(
    rf"(?:(?:replace|swap|exchange)\s+(?:{_A}\s+)?(?P<what>[\w ]+?)\s+(?:with|by|for)|"
    rf"(?:turn|change|make)\s+(?:{_A}\s+)?(?P<other>[\w ]+?)\s+in?to)\s+(?P<new>.+)$"
)
_ADDED = re.compile(r"(?:add|insert|include|put in|give it|put)\s+(?P<new>.+)$")
_STILL = re.compile(r"(?:the )?same(?: thing| picture| scene)?,?\s*(?:but )?(?P<new>.+)$")
_WHOLE = re.compile(rf"(?:make|turn|change|paint|draw|render|set|show)\s+{_ANY}\s*(?:in)?(?:to)?\s+(?P<new>.+)$")


def described(before: str, wish: str) -> Described:
    """The words for the picture that was drawn from ``before``, changed as ``wish`` says.

    A wish of many words tells of the whole picture by itself.
    """
    before, wish = " ".join(before.split()), " ".join(wish.split())
    if len(wish) > _LONGEST_WISH:
        return Described(wish)
    text = _POLITE.sub("", _LEAD_IN.sub("", wish).strip(" .!?"))
    for rule in _RULES:
        if (found := rule(before, text)) is not None:
            return found
    return Described(_and(before, text or wish))


def _colour(before: str, wish: str) -> Described | None:
    """Of one thing, or of the only thing that has a colour."""
    found = _MADE.match(wish.lower())
    if found is None:
        return None
    what, how = found["what"].strip(), found["how"]
    if re.fullmatch(_ANY, what):
        is_one = len(_COLOURED.findall(before)) == 1
        return Described(_COLOURED.sub(how, before) if is_one else _and(before, how))
    stem = _stem(what)
    named = re.compile(rf"(?:{_COLOURS} )?\b({re.escape(stem)}\w*)", re.IGNORECASE)
    if stem and named.search(before):
        return Described(named.sub(lambda thing: f"{how} {thing[1]}", before))
    return Described(_and(before, f"{how} {what}"))


def _without(before: str, wish: str) -> Described | None:
    found = _GONE.match(wish.lower())
    if found is None:
        return None
    what = found["what"].strip()
    thing = rf"(?:{_A} |two |three |four |many |several )?(?:[\w-]+ )??{re.escape(_stem(what))}\w*"
    gone = re.compile(
        rf"(?:,? (?:and|with|under|next to|beside|behind|in front of|above|below) |, ){thing}|^{thing} and ", re.I
    )
    return Described(gone.sub("", before, count=1).strip(" ,"), what)


def _instead(before: str, wish: str) -> Described | None:
    found = _SWAPPED.match(wish.lower())
    if found is None:
        return None
    stem = _stem((found["what"] or found["other"]).strip())
    named = re.compile(rf"(?:\ban? )?\b{re.escape(stem)}\w*", re.IGNORECASE)
    return Described(named.sub(lambda _: found["new"], before)) if stem and named.search(before) else None


def _more(before: str, wish: str) -> Described | None:
    for pattern in (_ADDED, _STILL, _WHOLE):
        if found := pattern.match(wish):
            return Described(_and(before, found["new"]))
    return None


def _stem(noun: str) -> str:
    """A noun without the ending of its plural; nothing for one that is too short to be looked for."""
    stem = noun.removesuffix("s")
    return stem if len(stem) >= _SHORTEST else ""


def _and(before: str, more: str) -> str:
    return f"{before.rstrip(' .,')}, {more}"


_RULES: tuple[Callable[[str, str], Described | None], ...] = (_colour, _without, _instead, _more)
