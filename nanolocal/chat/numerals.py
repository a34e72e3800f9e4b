"""Grammar expressions (GBNF) for the decimal numerals between two bounds."""

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

_MOST_DIGITS = 15
_MOST_LISTED = 1000
_FRACTION = '("." [0-9]{1,15})?'
_SOME_FRACTION = '"." [0-9]{0,14} [1-9]'
"""A fraction that is not zero."""


def integers(low: float | None, high: float | None, *, is_low_open: bool = False, is_high_open: bool = False) -> str:
    """The whole numbers from ``low`` to ``high``, each left out if it is open; ``""`` where there is none."""
    first = None if low is None else _next(low) if is_low_open else math.ceil(low)
    last = None if high is None else -_next(-high) if is_high_open else math.floor(high)
    return " | ".join(_signed(first, last))


def numbers(low: float | None, high: float | None, *, is_low_open: bool, is_high_open: bool) -> str:
    """The numbers between two bounds, as ``integers``; ``""`` where there is none of up to three decimals."""
    if low is None and high is None:
        return f'"-"? ("0" | [1-9] [0-9]{{0,{_MOST_DIGITS}}}) {_FRACTION} ([eE] [-+]? [0-9]{{1,2}})?'
    # A numeral with a fraction lies between its whole part and the next whole number, which is never reached.
    found = [*_above_zero(low, high, is_low_open, ""), *_above_zero(_minus(high), _minus(low), is_high_open, '"-" ')]
    if whole := integers(low, high, is_low_open=is_low_open, is_high_open=is_high_open):
        found.append(f"({whole})")
    if not found and low is not None and high is not None:
        found = _listed(Decimal(str(low)), Decimal(str(high)), is_low_open, is_high_open)
    return " | ".join(found)


def _above_zero(low: float | None, high: float | None, is_low_open: bool, sign: str) -> list[str]:
    """Numerals of at least 0 with fractions, below ``high``."""
    bottom = max(low, 0) if low is not None else 0
    first = math.ceil(bottom)
    last = None if high is None else math.floor(high) - 1
    found: list[str] = []
    if is_low_open and low == first and (last is None or first <= last):
        found.append(f'{sign}"{first}" {_SOME_FRACTION}')
        first += 1
    if last is None or first <= last:
        found += [f"{sign}{digits} {_FRACTION}" for digits in _natural(first, last)]
    return found


def _listed(low: Decimal, high: Decimal, is_low_open: bool, is_high_open: bool) -> list[str]:
    """Every numeral between two bounds that are close together, with as few decimals as there have to be."""
    for places in range(1, 4):
        step = Decimal(1).scaleb(-places)
        value = low.quantize(step, ROUND_CEILING)
        found: list[str] = []
        while value <= high.quantize(step, ROUND_FLOOR) and len(found) < _MOST_LISTED:
            if not (is_low_open and value == low) and not (is_high_open and value == high):
                found.append(f'"{value}"')
            value += step
        if found:
            return found
    return []


def _signed(first: int | None, last: int | None) -> list[str]:
    """Whole numbers from ``first`` to ``last``, without bounds where they are ``None``."""
    found: list[str] = []
    if first is None or first < 0:
        nearest = 1 if last is None or last >= 0 else -last
        found += [f'"-" {digits}' for digits in _natural(nearest, None if first is None else -first)]
    if last is None or last >= 0:
        found += _natural(max(first, 0) if first is not None else 0, last)
    return found


def _natural(first: int, last: int | None) -> list[str]:
    """Whole numbers from ``first`` (at least 0) to ``last``, without a zero in front."""
    longest = _MOST_DIGITS if last is None else len(str(last))
    found: list[str] = []
    for length in range(len(str(first)), longest + 1):
        low = max(first, 10 ** (length - 1) if length > 1 else 0)
        high = 10**length - 1 if last is None else min(last, 10**length - 1)
        if last is None and low == 10 ** (length - 1) and length > 1:
            return [*found, f"[1-9] [0-9]{{{length - 1},{_MOST_DIGITS}}}"]
        if low <= high:
            found.append(_alike(str(low), str(high)))
    return found


def _alike(low: str, high: str) -> str:
    """Digits of one length from ``low`` to ``high``."""
    if not low:
        return ""
    more = len(low) - 1
    if low == "0" * len(low) and high == "9" * len(high):
        return f"[0-9]{{{len(low)}}}"
    if low[0] == high[0]:
        return f'"{low[0]}" {_alike(low[1:], high[1:])}'.strip()
    if not more:
        return f"[{low}-{high}]"
    ways = [f'"{low[0]}" {_alike(low[1:], "9" * more)}']
    if int(high[0]) - int(low[0]) > 1:
        ways.append(f"[{int(low[0]) + 1}-{int(high[0]) - 1}] [0-9]{{{more}}}")
    ways.append(f'"{high[0]}" {_alike("0" * more, high[1:])}')
    return f"({' | '.join(ways)})"


def _next(bound: float) -> int:
    """The first whole number above ``bound``."""
    return math.floor(bound) + 1


def _minus(bound: float | None) -> float | None:
    return None if bound is None else -bound
