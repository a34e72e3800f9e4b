"""Sums worked out exactly: a small grammar over fractions, with roots and powers where they are bounded.

    sum     := product (("+" | "-") product)*          product := signed (("×" | "÷" | "mod") signed)*
    signed  := "-" signed | power                      power   := postfix ("^" signed)?
    postfix := atom ("%" | "!")*                       atom    := number | "(" sum ")" | root atom | constant

``20% of 50`` is a product; ``200 + 10%`` adds a tenth of what stands before it, as pocket calculators do.
"""

import math
import re
from dataclasses import dataclass
from fractions import Fraction

from nanolocal.helpers.figures import IN_WORDS, NUMBER, exact_decimal, read_number, read_words, result, written

_MOST_BITS = 4096
"""No number on the way is longer, above or below the line."""
_PI = Fraction("3.14159265358979323846264338")
_MOST_FACTORIAL = 200
_MOST_TOKENS = 120
_LONGEST_RESULT = 60

_SPOKEN = (
    (re.compile(r"\bto the power of\b|\braised to(?: the power of)?\b|\*\*"), "^"),
    (re.compile(r"\bmultiplied by\b|\btimes\b|[*×·]"), "×"),
    (re.compile(r"\bdivided by\b|÷"), "÷"),
    (re.compile(r"\bplus\b"), "+"),
    (re.compile(r"\bminus\b|[−–]"), "-"),
    (re.compile(r"\bmodulo\b"), "mod"),
    (re.compile(r"\bper ?cent\b"), "%"),
    (re.compile(r"\bsquared\b|²"), "^2"),
    (re.compile(r"\bcubed\b|³"), "^3"),
    (re.compile(r"\b(?:the )?square root of\b|\bsqrt(?: of)?\b"), "√"),
    (re.compile(r"\b(?:the )?cube root of\b|\bcbrt(?: of)?\b"), "∛"),
    (re.compile(r"(?<=[\d)])\s*x\s*(?=[\d(.√])"), "×"),
)
_TOKEN = re.compile(rf"\s*(?:(?P<number>{NUMBER})|(?P<sign>mod|of|pi|π|[-+×÷/^%!()√∛]))")


class NoSum(Exception):
    """These words are no sum, or one that is too large."""


@dataclass(frozen=True, slots=True)
class Value:
    """A number; ``is_exact`` is false once a root that has no fraction, or pi, went into it."""

    number: Fraction
    is_exact: bool = True
    is_percent: bool = False


def calculate(words: str) -> str:
    """``2 + 2 = 4``: the sum as it was understood, and its value. Raises ``NoSum``."""
    tokens = _tokens(words)
    value = _Parser(tokens).whole()
    shown = result(value.number) if value.is_exact else f"≈ {written(_short(value.number)).removeprefix('≈ ')}"
    if len(shown) > _LONGEST_RESULT:
        raise NoSum
    return f"{_as_read(tokens)} {shown}"


def value_of(words: str) -> Fraction:
    """The value alone. Raises ``NoSum``."""
    return _Parser(_tokens(words)).whole().number


def _short(number: Fraction) -> Fraction:
    """Twelve digits of an inexact number: the others are not known to be right."""
    if not number:
        return number
    places = 12 - math.ceil(math.log10(abs(number)))
    return Fraction(round(number * Fraction(10) ** places)) / Fraction(10) ** places


def _tokens(words: str) -> list[str]:
    """The parts of a sum; raises ``NoSum`` where there is anything else, or no operation at all."""
    text = _numbers_read(words.lower())
    for spoken, sign in _SPOKEN:
        text = spoken.sub(f" {sign} ", text)
    tokens, place = [], 0
    while place < len(text.rstrip()):
        found = _TOKEN.match(text, place)
        if found is None:
            raise NoSum
        tokens.append(found["number"] or found["sign"])
        place = found.end()
    is_operation = any(token in ("+", "-", "×", "÷", "/", "^", "%", "!", "√", "∛", "mod") for token in tokens)
    if (
        not is_operation
        or len(tokens) > _MOST_TOKENS
        or not any(token[0].isdigit() or token[0] == "." for token in tokens)
    ):
        raise NoSum
    return tokens


def _numbers_read(text: str) -> str:
    def read(found: re.Match[str]) -> str:
        number = read_words(found[0])
        if number is None:
            raise NoSum
        return str(number)

    text = re.sub(r"\bhalf of\b", "0.5 × ", text)
    text = re.sub(r"(?<![\d/.])(\d+) ?/ ?(\d+) of\b", r"(\1/\2) × ", text)
    text = re.sub(r"\b(?:a |one |1 )?(third|quarter|fifth|tenth) of\b", lambda m: f"{_PARTS[m[1]]} × ", text)
    text = re.sub(r"\b(?:one|1|a) (half|third|quarter|fifth|tenth)\b", lambda m: _PARTS[m[1]], text)
    return re.sub(rf"\b{IN_WORDS}\b", read, text)


_PARTS = {"half": "(1/2)", "third": "(1/3)", "quarter": "(1/4)", "fifth": "(1/5)", "tenth": "(1/10)"}


def _as_read(tokens: list[str]) -> str:
    """The sum as people write it."""
    text = " ".join(exact_decimal(read_number(t)) or t if t[0].isdigit() or t[0] == "." else t for t in tokens)
    text = re.sub(r"\( ", "(", re.sub(r" \)", ")", text))
    text = re.sub(r" ([%!])", r"\1", re.sub(r"([√∛]) ", r"\1", text))
    text = re.sub(r" ?\^ ?", "^", text)
    return re.sub(r"(^|[(+×÷/^] ?|- )- (?=[\d(√])", r"\1-", text)


class _Parser:
    """Reads tokens from left to right; see the grammar above."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._place = 0

    def whole(self) -> Value:
        """All of it."""
        try:
            value = self._sum()
        except (RecursionError, OverflowError, ZeroDivisionError) as error:
            raise NoSum from error
        if self._place != len(self._tokens):
            raise NoSum
        return value

    @property
    def _next(self) -> str:
        return self._tokens[self._place] if self._place < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._next
        self._place += 1
        return token

    def _sum(self) -> Value:
        value = self._product()
        while self._next in ("+", "-"):
            sign = 1 if self._take() == "+" else -1
            other = self._product()
            amount = value.number * other.number if other.is_percent else other.number
            value = _bounded(value.number + sign * amount, value, other)
        return value

    def _product(self) -> Value:
        value = self._signed()
        while self._next in ("×", "÷", "/", "mod", "of"):
            sign = self._take()
            if sign == "of" and not value.is_percent:
                raise NoSum
            other = self._signed()
            if sign in ("÷", "/"):
                number = value.number / other.number
            elif sign == "mod":
                number = value.number % other.number
            else:
                number = value.number * other.number
            value = _bounded(number, value, other)
        return value

    def _signed(self) -> Value:
        if self._next in ("-", "+"):
            sign = -1 if self._take() == "-" else 1
            value = self._signed()
            return Value(sign * value.number, value.is_exact)
        return self._power()

    def _power(self) -> Value:
        base = self._postfix()
        if self._next != "^":
            return base
        self._take()
        exponent = self._signed()
        return _raised(base, exponent)

    def _postfix(self) -> Value:
        value = self._atom()
        while self._next in ("%", "!"):
            if self._take() == "%":
                value = Value(value.number / 100, value.is_exact, is_percent=True)
            else:
                number = value.number
                if number.denominator != 1 or not 0 <= number <= _MOST_FACTORIAL:
                    raise NoSum
                value = Value(Fraction(math.factorial(int(number))), value.is_exact)
        return value

    def _atom(self) -> Value:
        first = self._take()
        match first:
            case "(":
                value = self._sum()
                if self._take() != ")":
                    raise NoSum
                return Value(value.number, value.is_exact)
            case "√" | "∛":
                return _root(self._atom(), 2 if first == "√" else 3)
            case "pi" | "π":
                return Value(_PI, is_exact=False)
            case _ if first[:1].isdigit() or first[:1] == ".":
                return Value(read_number(first))
            case _:
                raise NoSum


def _bounded(number: Fraction, *parts: Value) -> Value:
    if max(number.numerator.bit_length(), number.denominator.bit_length()) > _MOST_BITS:
        raise NoSum
    return Value(number, all(part.is_exact for part in parts))


def _raised(base: Value, exponent: Value) -> Value:
    power = exponent.number
    if power.denominator == 1:
        bits = max(base.number.numerator.bit_length(), base.number.denominator.bit_length())
        if abs(power) * bits > _MOST_BITS:
            raise NoSum
        return _bounded(base.number ** int(power), base, exponent)
    if base.number < 0 or power.denominator > 100 or abs(power) > 100:
        raise NoSum
    root = _root(base, power.denominator)
    return (
        _raised(root, Value(Fraction(power.numerator), exponent.is_exact))
        if root.is_exact
        else Value(Fraction(float(base.number) ** float(power)), is_exact=False)
    )


def _root(value: Value, degree: int) -> Value:
    """The root, exact where it is a fraction, else to some 30 digits."""
    number = value.number
    if number < 0:
        if degree % 2 == 0:
            raise NoSum
        root = _root(Value(-number, value.is_exact), degree)
        return Value(-root.number, root.is_exact)
    above, below = _whole_root(number.numerator, degree), _whole_root(number.denominator, degree)
    if above**degree == number.numerator and below**degree == number.denominator:
        return Value(Fraction(above, below), value.is_exact)
    scale = 10**30
    scaled = number.numerator * scale**degree // number.denominator
    return Value(Fraction(_whole_root(scaled, degree), scale), is_exact=False)


def _whole_root(number: int, degree: int) -> int:
    """The largest whole number whose power is no more than ``number``."""
    low, high = 0, 1 << (number.bit_length() // degree + 1)
    while low < high:
        middle = (low + high + 1) // 2
        if middle**degree <= number:
            low = middle
        else:
            high = middle - 1
    return low
