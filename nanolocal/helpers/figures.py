"""Numbers as people write them, read exactly, and numbers as answers, written as exactly as they can be."""

import re
from fractions import Fraction

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+"
NUMBER = rf"(?:{_DIGITS})"
"""A number without a sign: 12, 1,234.5 or .5; a comma only where it parts thousands."""
_MOST_PLACES = 12
_LONGEST = 60

_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_UNITS = {word: number for number, word in enumerate(_SMALL.split())}
_TENS = {
    word: 10 * number
    for number, word in enumerate(("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"), 2)
}
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_WORD = rf"(?:{'|'.join([*sorted(_UNITS, key=len, reverse=True), *_TENS, *_SCALES, 'hundred'])})"
IN_WORDS = rf"{_WORD}(?:(?:[ -]|(?<=hundred) and |(?<=thousand) and |(?<=million) and ){_WORD})*"
"""A number in words: ``one thousand two hundred and six``."""
_IN_WORDS = re.compile(rf"\b{IN_WORDS}\b", re.IGNORECASE)


def read_number(text: str) -> Fraction:
    """The number that ``NUMBER`` matched."""
    return Fraction(text.replace(",", ""))


def read_words(text: str) -> Fraction | None:
    """A number in words; ``None`` for words that make none, such as ``two three``."""
    total = group = 0
    last = 10**15
    before = 1000
    for word in re.split(r"[ -]+", text.lower()):
        if word == "and":
            continue
        if word in _SCALES:
            if not group or _SCALES[word] >= last:
                return None
            total, group, last, before = total + group * _SCALES[word], 0, _SCALES[word], 1000
        elif word == "hundred":
            if not 0 < group < 10:
                return None
            group, before = group * 100, 100
        else:
            value = _UNITS.get(word, _TENS.get(word))
            if value is None or value >= before or (group % 100 and (value >= 10 or group % 10)):
                return None
            group, before = group + value, 10 if word in _TENS else 1
            if value == 0:
                before = 0
    return Fraction(total + group)


def with_digits(text: str) -> str:
    """The text with its numbers in words as figures; what makes no number stays."""

    def read(found: re.Match[str]) -> str:
        number = read_words(found[0])
        return found[0] if number is None else str(number)

    return _IN_WORDS.sub(read, text)


def written(value: Fraction) -> str:
    """``1,234``, ``0.125``, or the nearest decimal after ``≈`` where the decimals do not end soon."""
    exact = exact_decimal(value)
    return exact if exact is not None else f"≈ {rounded(value)}"


def result(value: Fraction) -> str:
    """``= 1,234``, ``= 2/3 ≈ 0.666666666667``: a value behind what it is the value of."""
    exact = exact_decimal(value)
    if exact is not None:
        return f"= {exact}"
    fraction = f"{value.numerator}/{value.denominator}"
    return f"= {fraction} ≈ {rounded(value)}" if len(fraction) <= 13 else f"≈ {rounded(value)}"


def exact_decimal(value: Fraction) -> str | None:
    """The decimal that is exactly ``value``, thousands parted; ``None`` where there is none of a length to read."""
    rest, places = value.denominator, 0
    for prime in (2, 5):
        count = 0
        while rest % prime == 0:
            rest, count = rest // prime, count + 1
        places = max(places, count)
    if rest != 1 or places > _MOST_PLACES:
        return None
    scaled = abs(value.numerator) * 10**places // value.denominator
    whole, part = divmod(scaled, 10**places)
    text = f"{whole:,}" + (f".{part:0{places}d}" if places else "")
    return f"-{text}" if value < 0 else text


def rounded(value: Fraction, digits: int = 12) -> str:
    """The nearest decimal of so many digits, without zeros at its end."""
    if not value:
        return "0"
    magnitude = len(str(abs(value.numerator))) - len(str(value.denominator))
    places = digits - magnitude - (abs(value) >= Fraction(10) ** magnitude)
    number = round(value * Fraction(10) ** places)
    if -9 <= places <= digits + 6:
        text = exact_decimal(Fraction(number) / Fraction(10) ** places) if places <= _MOST_PLACES else None
        if text is None:
            scaled = f"{abs(number):0{places + 1}d}"
            text = f"{'-' if value < 0 else ''}{scaled[:-places]}.{scaled[-places:]}".rstrip("0")
        return text
    shown = str(abs(number))
    exponent = len(shown) - 1 - places
    mantissa = f"{shown[0]}.{shown[1:]}".rstrip("0").rstrip(".")
    return f"{'-' if value < 0 else ''}{mantissa} × 10^{exponent}"
