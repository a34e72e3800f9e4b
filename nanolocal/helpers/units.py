"""Units of measure with their exact factors, and questions that turn one into another.

Factors are exact by definition (inch 0.0254 m, pound 0.45359237 kg, US gallon 231 cubic inches, parsec and light-year
as the IAU defines them). Volumes and weights of kitchens are the US ones. A name that has two usual meanings, such as
``ton`` or ``gallon``, is told as which it was taken.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from nanolocal.helpers.asking import Asked
from nanolocal.helpers.figures import NUMBER, exact_decimal, read_number, rounded, with_digits


@dataclass(frozen=True, slots=True)
class Unit:
    """``factor`` of the base unit of its ``kind``; ``shift`` is added to a value before (temperatures)."""

    name: str
    plural: str
    kind: str
    factor: Fraction
    shift: Fraction = Fraction(0)


_SHIFTS = {"°C": Fraction("273.15"), "°F": Fraction("459.67"), "K": Fraction(0)}
_ONLY_WITH_NUMBER = {"m", "g", "l", "s", "h", "c", "f", "k", "j", "pt", "au", "ha", "in."}
"""Names so short that they count only behind a figure, or as what that is turned into."""


def _fraction(text: str) -> Fraction:
    above, _, below = text.partition("/")
    return Fraction(above) / Fraction(below or 1)


def _read_table() -> dict[str, Unit]:
    known: dict[str, Unit] = {}
    lines = (Path(__file__).parent / "data" / "units.txt").read_text(encoding="utf-8").splitlines()
    for line in lines[1:]:
        kind, names, factor, words = line.split("|")
        name, plural = names.split(",") if "(" not in names else _with_brackets(names)
        unit = Unit(name, plural, kind, _fraction(factor), _SHIFTS.get(name, Fraction(0)))
        known |= dict.fromkeys(words.split(","), unit)
    return known


def _with_brackets(names: str) -> tuple[str, str]:
    one, many = re.fullmatch(r"(.*?\)),(.*)", names).groups()  # type: ignore[union-attr]
    return one, many


UNITS: dict[str, Unit] = _read_table()
_AMOUNT = rf"(?P<n>-?{NUMBER}|half an?|an?)"
_FORMS = (
    rf"(?:convert |change |turn |what(?:'s| is) |how much is |how many is )?{_AMOUNT} ?(?P<a>UNITS)"
    r" (?:in|to|into|as|=|equals?|is how many|is) ?(?:how many )?(?P<b>UNITS)",
    r"how (?:many|much) (?P<b>UNITS) (?:are |is |are there |is there |make |makes |equals? |go )?"
    rf"(?:in|into|to|make up|is|are|equals?|make|makes)? ?{_AMOUNT} ?(?P<a>UNITS)",
    rf"how (?:many|much) (?P<b>UNITS) (?:does|do|is|are) {_AMOUNT} ?(?P<a>UNITS) (?:have|make|equal|contain|in total)?",
    rf"how (?:long|far|heavy|tall|fast|hot|cold|warm) is {_AMOUNT} ?(?P<a>UNITS) in (?P<b>UNITS)",
)
"""``UNITS`` stands for the names that occur in the prompt: a pattern of all of them takes long to compile."""
_HINT = re.compile(r"\d|\ban?\b", re.IGNORECASE)


class NoConversion(Exception):
    """The two units do not measure the same thing."""


def answer(asked: Asked) -> str | None:
    """``5 miles = 8.04672 kilometres``; ``None`` where the prompt is no such question."""
    text = with_digits(asked.core)
    names = _names_in(text) if _HINT.search(text) else []
    if len(names) < 2:
        return None
    forms = (form.replace("UNITS", "|".join(map(re.escape, names))) for form in _FORMS)
    found = next(filter(None, (re.fullmatch(form, text, re.IGNORECASE) for form in forms)), None)
    if found is None:
        return None
    amount, is_figure = _amount(found["n"])
    source, target = found["a"].lower(), found["b"].lower()
    if source in _ONLY_WITH_NUMBER and not is_figure:
        return None
    try:
        return told(amount, UNITS[source], UNITS[target])
    except NoConversion:
        return None


def _names_in(text: str) -> list[str]:
    """The names of units that occur as whole words, or behind a figure."""
    lower = text.lower()
    names = sorted((name for name in UNITS if name in lower), key=len, reverse=True)
    either = "|".join(map(re.escape, names))
    return list(dict.fromkeys(re.findall(rf"(?<![^\W\d])(?:{either})(?!\w)", lower))) if names else []


def told(amount: Fraction, source: Unit, target: Unit) -> str:
    """What an amount is in another unit, as a sentence. Raises ``NoConversion``."""
    value = converted(amount, source, target)
    exact = exact_decimal(value)
    sign, shown = ("=", exact) if exact is not None and len(exact) <= 22 else ("≈", rounded(value, 8))
    return f"{_with_unit(amount, source)} {sign} {shown}{_name(value, target)}"


def converted(amount: Fraction, source: Unit, target: Unit) -> Fraction:
    """The amount in another unit of the same kind. Raises ``NoConversion``."""
    if source.kind != target.kind or source == target:
        raise NoConversion
    base = (amount + source.shift) * source.factor
    if source.kind == "temperature" and base < 0:
        raise NoConversion
    return base / target.factor - target.shift


def _amount(words: str) -> tuple[Fraction, bool]:
    """What is to be turned, and whether it was written in figures."""
    if words.lower() in ("a", "an"):
        return Fraction(1), False
    if words.lower().startswith("half"):
        return Fraction(1, 2), False
    number = read_number(words.lstrip("-"))
    return (-number if words.startswith("-") else number), True


def _with_unit(amount: Fraction, unit: Unit) -> str:
    exact = exact_decimal(amount)
    return f"{exact if exact is not None else rounded(amount)}{_name(amount, unit)}"


def _name(amount: Fraction, unit: Unit) -> str:
    return f" {unit.name if amount == 1 else unit.plural}"
