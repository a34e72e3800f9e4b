"""Dice, coins and numbers drawn by chance, from the system's own source of it."""

import re
from collections.abc import Callable
from random import Random

from nanolocal.helpers.asking import Asked
from nanolocal.helpers.counting import items_of
from nanolocal.helpers.figures import IN_WORDS, read_words
from nanolocal.helpers.forms import Forms

_MOST_DICE, _MOST_SIDES, _LARGEST = 100, 1000, 10**12
_COUNT = rf"(?:\d{{1,3}}|an?|{IN_WORDS})"


def answer(asked: Asked, chance: Random) -> str | None:
    """``2 dice: 3 + 5 = 8``; ``None`` where the prompt asks for nothing of the kind."""
    return next((work(found, chance) for found, work in _FORMS.matching(asked.core.rstrip("!"))), None)


def _number(text: str) -> int:
    if text.isdigit():
        return int(text)
    words = None if text.lower() in ("a", "an") else read_words(text)
    return 1 if words is None else int(words)


def roll(count: int, sides: int, chance: Random) -> str | None:
    """So many dice with so many sides."""
    if not 1 <= count <= _MOST_DICE or not 2 <= sides <= _MOST_SIDES:
        return None
    rolled = [chance.randint(1, sides) for _ in range(count)]
    name = f"{count} {'die' if count == 1 else 'dice'}" + (f" with {sides} sides" if sides != 6 else "")
    total = f" = {sum(rolled)}" if count > 1 else ""
    return f"{name}: {' + '.join(map(str, rolled))}{total}"


def _dice(found: re.Match[str], chance: Random) -> str | None:
    groups = found.groupdict()
    sides = groups.get("sides")
    count = _number(groups.get("n") or ("2" if found[0].lower().endswith("the dice") else "1"))
    return roll(count, int(sides) if sides else 6, chance)


def _coin(found: re.Match[str], chance: Random) -> str | None:
    count = _number(found["n"] or "1")
    if not 1 <= count <= _MOST_DICE:
        return None
    tossed = [chance.choice(("heads", "tails")) for _ in range(count)]
    if count == 1:
        return f"the coin shows {tossed[0]}"
    return f"{count} coins: {', '.join(tossed)} ({tossed.count('heads')} heads)"


def between(low: int, high: int, chance: Random) -> str | None:
    """A whole number from ``low`` to ``high``, both included."""
    if not low < high or max(abs(low), abs(high)) > _LARGEST:
        return None
    return f"drawn from {low:,} to {high:,}: {chance.randint(low, high):,}"


def _drawn(found: re.Match[str], chance: Random) -> str | None:
    return between(int(found["a"].replace(",", "")), int(found["b"].replace(",", "")), chance)


def _picked(found: re.Match[str], chance: Random) -> str | None:
    items = items_of(re.sub(r"\bor\b", ",", found["list"]))
    return f"drawn from {len(items)}: {chance.choice(items)}" if 2 <= len(items) <= _MOST_DICE else None


Work = Callable[[re.Match[str], Random], str | None]


_WHOLE = r"-?\d{1,3}(?:,\d{3})+|-?\d+"
_FORMS: Forms[Work] = Forms(
    r"\b(?:roll|throw|flip|toss|heads|random|randomly|pick|choose|draw|generate)\b",
    (rf"(?:roll|throw) (?:(?P<n>{_COUNT}) |the )?(?:(?P<sides>\d+)-sided )?(?:dice|die)", _dice),
    (r"(?:roll|throw) (?:an? )?(?P<n>\d{1,3})?d(?P<sides>\d{1,4})", _dice),
    (rf"(?:flip|toss) (?:(?P<n>{_COUNT}) |the )?coins?", _coin),
    (r"heads or tails(?P<n>)", _coin),
    (
        rf"(?:give me |pick |choose |generate |draw |say )?a random (?:whole )?(?:number|integer) (?:between"
        rf"|from) (?P<a>{_WHOLE}) (?:and|to) (?P<b>{_WHOLE})", _drawn),
    (
        rf"(?:pick|choose|generate|draw) a (?:whole )?number (?:randomly |at random )?(?:between|from)"
        rf" (?P<a>{_WHOLE}) (?:and|to) (?P<b>{_WHOLE})(?: at random| randomly)?", _drawn),
    (
        r"(?:pick|choose|draw) (?:one )?(?:at random|randomly) (?:one )?(?:of|from|between|among):"
        r" ?(?P<list>[^:?\"]+)", _picked),
    (r"randomly (?:pick|choose) (?:one )?(?:of|from|between|among):? ?(?P<list>[^:?\"]+)", _picked),
)  # fmt: skip
