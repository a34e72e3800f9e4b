"""The small changes that must not change the pick: typing errors, greetings, spacing, case, the last mark."""

from __future__ import annotations

import random
from collections.abc import Callable

_OPENINGS = (
    "Hi! ",
    "Hello, ",
    "Please ",
    "hey, ",
    "Hi there! ",
    "Good morning. ",
    "Could you please help? ",
    "Quick one: ",
)
_CLOSINGS = (" Thanks!", " Thank you.", " please", " thx", " Thanks in advance!", " :)")


def lower_case(text: str, rng: random.Random) -> str:
    """All small letters."""
    return text.lower()


def greeted(text: str, rng: random.Random) -> str:
    """With a greeting or a please before it."""
    return rng.choice(_OPENINGS) + text


def thanked(text: str, rng: random.Random) -> str:
    """With thanks behind it."""
    return text + rng.choice(_CLOSINGS)


def mistyped(text: str, rng: random.Random) -> str:
    """Some letters swapped, doubled or lost: about one in forty, at least one."""
    letters = list(text)
    for _ in range(max(1, min(6, len(letters) // 40))):
        at = rng.randrange(max(1, len(letters) - 1))
        if at + 1 < len(letters) and letters[at].isalpha() and letters[at + 1].isalpha():
            letters[at : at + 2] = rng.choice(
                ([letters[at + 1], letters[at]], [letters[at]], [letters[at], *letters[at : at + 2]])
            )
    return "".join(letters)


def spaced(text: str, rng: random.Random) -> str:
    """More white space than needed, around and between."""
    return "  " + text.replace(" ", "  ") + " \n"


def end_mark_changed(text: str, rng: random.Random) -> str:
    """Without the last mark, or with one."""
    return text[:-1] if text[-1:] in ".?!" else text + rng.choice(".?!")


CHANGES: dict[str, Callable[[str, random.Random], str]] = {
    "lower case": lower_case,
    "greeting": greeted,
    "thanks": thanked,
    "typing errors": mistyped,
    "white space": spaced,
    "last mark": end_mark_changed,
}
