"""Questions that a calculator answers: sums, percentages, roots, averages, factors. What is unclear is no question."""

import math
import re
from collections.abc import Callable
from fractions import Fraction

from nanolocal.helpers.asking import Asked
from nanolocal.helpers.calculator import NoSum, calculate
from nanolocal.helpers.figures import NUMBER, exact_decimal, read_number, result, with_digits, written
from nanolocal.helpers.forms import Forms

_N = rf"-?(?:\$ ?|€ ?|£ ?)?{NUMBER}"
_WHAT = r"(?:what(?:'s| is| was| does| are)?|whats|how much (?:is|are|does|will)|how many is)"
_DO = r"(?:calculate|compute|evaluate|work out|solve|find|figure out)"
_LEAD = re.compile(
    rf"(?P<what>{_WHAT})\s+(?P<of>the (?:result|value|answer) (?:of|to)\s+)?|(?P<do>{_DO})[:\s]\s*(?:the"
    rf" (?:result|value) of\s+)?",
    re.IGNORECASE,
)
_TAIL = re.compile(
    r"\s*(?:(?P<equals>=|equals?(?: to)?|makes?)\s*(?:what)?|\bis(?: what)?|(?:come|add up) to)?[\s?]*$", re.IGNORECASE
)
_IDIOM = re.compile(
    r"10-4|24/7|24-7|9/11|50/50|50-50|7-11|20/20|4/20|7/11|\d{1,2}/\d{1,2}/\d{2,4}"
    r"|\d{1,4}-\d{1,2}-\d{1,4}|\d{3}-\d{4}|[12]\d{3}-[12]?\d{1,3}"
)
"""Names, dates and numbers of telephones that look like sums."""
_SURELY_A_SUM = re.compile(
    r"[+*×÷^√(]|\bsqrt|\d\s+[-/x]\s+\d|%\s*of|\b(?:plus|minus|times|divided by|percent of|square root of|cube root of"
    r"|to the power of|squared|cubed)\b",
    re.IGNORECASE,
)
"""What needs no words that ask for it."""
_MOST_NUMBERS = 50
_MOST_TO_FACTOR = 10**12


def answer(asked: Asked) -> str | None:
    """The worked-out sum, ``12 × 12 = 144``; ``None`` where the prompt is no such question."""
    core = with_digits(asked.core)
    lead = _LEAD.match(core)
    rest = core[lead.end() :] if lead else core
    for found, work in _FORMS.matching(rest.rstrip(" ?=")):
        try:
            return work(found)
        except (NoSum, ZeroDivisionError):
            return None
    return _plain_sum(rest, asks=bool(lead) or asked.is_polite, does=asked.is_polite or bool(lead and lead["do"]))


def _plain_sum(rest: str, *, asks: bool, does: bool) -> str | None:
    tail = _TAIL.search(rest)
    words = rest[: tail.start()] if tail else rest
    asks = asks or bool(tail and tail["equals"])
    does = does or bool(tail and tail["equals"])
    if not does and _IDIOM.fullmatch(words.strip()):
        return None
    if not asks and not _SURELY_A_SUM.search(words):
        return None
    if not asks and re.fullmatch(r"[\d.,]+\s*!|\+[\d\s]+", words.strip()):
        return None
    if re.fullmatch(rf"{NUMBER}-{NUMBER}", words.strip()) and not does:
        left, right = words.strip().split("-")
        if read_number(left) < read_number(right):
            return None
    try:
        return calculate(_without_money(words))
    except NoSum:
        return None


def _number(text: str) -> Fraction:
    text = _without_money(text)
    if not re.fullmatch(rf"-?{NUMBER}", text):
        raise NoSum
    return -read_number(text[1:]) if text.startswith("-") else read_number(text)


def _without_money(text: str) -> str:
    return re.sub(r"[$€£] ?(?=[\d.])", "", text).strip()


def _numbers(text: str) -> list[Fraction]:
    parts = [
        part
        for part in re.split(r"\s*(?:,(?!\d{3}\b)\s*(?:and\s+)?|,\s+(?:and\s+)?|\band\b|;)\s*|\s+", text.strip())
        if part
    ]
    if not 2 <= len(parts) <= _MOST_NUMBERS:
        raise NoSum
    return [_number(part) for part in parts]


def _told(numbers: list[Fraction]) -> str:
    return ", ".join(written(number) for number in numbers)


def _joined(sign: str, back: bool = False) -> Callable[[re.Match[str]], str]:
    def work(found: re.Match[str]) -> str:
        left, right = _number(found["a"]), _number(found["b"])
        if back:
            left, right = right, left
        return calculate(f"{_bare(left)} {sign} {_bare(right)}")

    return work


def _bare(number: Fraction) -> str:
    text = exact_decimal(number)
    if text is None:
        raise NoSum
    return f"({text})" if number < 0 else text


def _what_percent(found: re.Match[str]) -> str:
    part, whole = _number(found["part"]), _number(found["whole"])
    percent = part / whole * 100
    return f"{written(part)} is {written(percent)}% of {written(whole)}"


def _change(found: re.Match[str]) -> str:
    before, after = _number(found["a"]), _number(found["b"])
    percent = (after - before) / before * 100
    return f"from {written(before)} to {written(after)} is {'+' if percent > 0 else ''}{written(percent)}%"


def _by_percent(sign: int) -> Callable[[re.Match[str]], str]:
    def work(found: re.Match[str]) -> str:
        base, percent = _number(found["a"]), _number(found["p"])
        value = base * (100 + sign * percent) / 100
        return f"{written(base)} {'+' if sign > 0 else '-'} {written(percent)}% {result(value)}"

    return work


def _average(found: re.Match[str]) -> str:
    numbers = _numbers(found["list"])
    return f"the average of {_told(numbers)} {result(sum(numbers, Fraction()) / len(numbers))}"


def _median(found: re.Match[str]) -> str:
    numbers = sorted(_numbers(found["list"]))
    half = len(numbers) // 2
    middle = numbers[half] if len(numbers) % 2 else (numbers[half - 1] + numbers[half]) / 2
    return f"the median of {_told(numbers)} {result(middle)}"


def _total(found: re.Match[str]) -> str:
    numbers = _numbers(found["list"])
    return f"{' + '.join(written(each) for each in numbers)} {result(sum(numbers, Fraction()))}"


def _product(found: re.Match[str]) -> str:
    numbers = _numbers(found["list"])
    return f"{' × '.join(written(each) for each in numbers)} {result(math.prod(numbers, start=Fraction(1)))}"


def _extreme(found: re.Match[str]) -> str:
    numbers, word = _numbers(found["list"]), found["which"].lower()
    is_most = word in ("largest", "biggest", "greatest", "highest", "maximum", "max")
    return f"the {word} of {_told(numbers)} {result(max(numbers) if is_most else min(numbers))}"


def _whole(text: str) -> int:
    number = _number(text)
    if number.denominator != 1 or not 0 < number <= _MOST_TO_FACTOR:
        raise NoSum
    return int(number)


def _common(found: re.Match[str]) -> str:
    numbers = [_whole(written(each)) for each in _numbers(found["list"])]
    is_divisor = bool(re.search("divisor|factor|gcd|hcf", found["which"], re.IGNORECASE))
    value = math.gcd(*numbers) if is_divisor else math.lcm(*numbers)
    name = "greatest common divisor" if is_divisor else "least common multiple"
    return f"the {name} of {', '.join(f'{each:,}' for each in numbers)} = {value:,}"


def factors(number: int) -> list[int]:
    """The primes whose product is ``number``, from 2 to 10^12, the smallest first."""
    found, prime = [], 2
    while prime * prime <= number:
        while number % prime == 0:
            found.append(prime)
            number //= prime
        prime += 1 if prime == 2 else 2
    return [*found, number] if number > 1 else found


def _is_prime(found: re.Match[str]) -> str:
    number = _whole(found["n"])
    primes = factors(number)
    if len(primes) == 1:
        return f"{number:,} is a prime number"
    return f"{number:,} is not a prime number" + (f": {_as_product(primes)}" if primes else "")


def _factored(found: re.Match[str]) -> str:
    number = _whole(found["n"])
    primes = factors(number)
    if len(primes) < 2:
        return f"{number:,} is a prime number" if primes else "1 has no prime factors"
    return f"{number:,} = {_as_product(primes)}"


def _as_product(primes: list[int]) -> str:
    return " × ".join(f"{prime:,}" for prime in primes)


def _round(found: re.Match[str]) -> str:
    number, places = _number(found["n"]), int(found["places"] or 0)
    if places > 12:
        raise NoSum
    unit = Fraction(1, 10**places)
    half_away = int(abs(number) / unit + Fraction(1, 2)) * unit * (1 if number >= 0 else -1)
    return f"{written(number)} rounded to {places} {'place' if places == 1 else 'places'} {result(half_away)}"


_BASES = {"binary": (2, "b"), "octal": (8, "o"), "hexadecimal": (16, "X"), "hex": (16, "X")}


def _to_base(found: re.Match[str]) -> str:
    number, name = _whole(found["n"]), found["base"].lower()
    return f"{number:,} in {name} = {format(number, _BASES[name][1])}"


def _from_base(found: re.Match[str]) -> str:
    base = _BASES[found["base"].lower()][0]
    try:
        return f"{found['base'].lower()} {found['n'].upper()} in decimal = {int(found['n'], base):,}"
    except ValueError as error:
        raise NoSum from error


def _of_power(sign: str) -> Callable[[re.Match[str]], str]:
    return lambda found: calculate(f"{_bare(_number(found['a']))}{sign}")


def _division(found: re.Match[str]) -> str:
    left, right = _whole(found["a"]), _whole(found["b"])
    return f"{left:,} ÷ {right:,} = {left // right:,} remainder {left % right:,}"


_LIST = r"(?P<list>[-\d.,;\s]*\d(?:[-\d.,;\s]|and\b)*\d)"
_FORMS: Forms[Callable[[re.Match[str]], str]] = Forms(
    r"\d",
    (rf"(?:the )?sum of (?:the numbers )?{_LIST}", _total),
    (rf"(?:the )?product of {_LIST}", _product),
    (rf"(?:the )?difference (?:between|of) (?P<a>{_N}) and (?P<b>{_N})", _joined("-")),
    (rf"(?:the )?quotient of (?P<a>{_N}) and (?P<b>{_N})", _joined("÷")),
    (rf"(?:the )?remainder (?:when|of|if) (?P<a>{_N}) (?:is )?divided by (?P<b>{_N})(?: is)?", _division),
    (rf"(?:the )?square of (?P<a>{_N})", _of_power("^2")),
    (rf"(?:the )?cube of (?P<a>{_N})", _of_power("^3")),
    (rf"(?P<a>{_N}) factorial", _of_power("!")),
    (rf"(?:the )?factorial of (?P<a>{_N})", _of_power("!")),
    (rf"add (?:up )?(?:these numbers: )?{_LIST}", _total),
    (rf"add (?P<a>{_N}) (?:and|to) (?P<b>{_N})", _joined("+")),
    (rf"subtract (?P<a>{_N}) from (?P<b>{_N})", _joined("-", back=True)),
    (rf"multiply (?P<a>{_N}) (?:by|and|with) (?P<b>{_N})", _joined("×")),
    (rf"divide (?P<a>{_N}) by (?P<b>{_N})", _joined("÷")),
    (rf"(?:percent|percentage|per cent|%) of (?P<whole>{_N}) is (?P<part>{_N})", _what_percent),
    (rf"(?:what (?:percent|percentage) (?:of|is)) (?P<whole>{_N}) is (?P<part>{_N})", _what_percent),
    (rf"(?P<part>{_N}) (?:is|as) (?:what|a|which) (?:percent|percentage|%) of (?P<whole>{_N})", _what_percent),
    (
        rf"(?:the )?(?:percent(?:age)? (?:change|increase|decrease)|change in percent) from (?P<a>{_N}) to"
        rf" (?P<b>{_N})", _change),
    (rf"(?P<p>{_N}) ?(?:%|percent) off(?: of)? (?P<a>{_N})", _by_percent(-1)),
    (rf"increase (?P<a>{_N}) by (?P<p>{_N}) ?(?:%|percent)", _by_percent(1)),
    (rf"(?P<a>{_N}) increased by (?P<p>{_N}) ?(?:%|percent)", _by_percent(1)),
    (rf"(?:decrease|reduce) (?P<a>{_N}) by (?P<p>{_N}) ?(?:%|percent)", _by_percent(-1)),
    (rf"(?P<a>{_N}) (?:decreased|reduced) by (?P<p>{_N}) ?(?:%|percent)", _by_percent(-1)),
    (rf"(?:the )?(?:average|mean) of (?:the numbers )?{_LIST}", _average),
    (rf"(?:the )?median of (?:the numbers )?{_LIST}", _median),
    (
        rf"(?:the )?(?P<which>largest|biggest|greatest|highest|maximum|max|smallest|lowest|minimum|min) (?:of"
        rf"|number (?:of|in)) {_LIST}", _extreme),
    (
        rf"(?:the )?(?P<which>gcd|hcf|lcm|(?:greatest|highest|largest) common (?:divisor|factor)|(?:least"
        rf"|lowest) common multiple) of {_LIST}", _common),
    (rf"is (?P<n>{NUMBER}) (?:a )?prime(?: number)?", _is_prime),
    (rf"(?:the )?(?:prime factors|prime factori[sz]ation) of (?P<n>{NUMBER})", _factored),
    (rf"factori[sz]e (?P<n>{NUMBER})", _factored),
    (
        rf"round (?P<n>-?{NUMBER}) to (?:the nearest (?:whole number|integer)|(?P<places>\d+) (?:decimal"
        rf" )?(?:places?|decimals?|digits? after the point))", _round),
    (rf"(?:convert )?(?P<n>{NUMBER}) (?:in|to|into|as) (?P<base>binary|octal|hexadecimal|hex)", _to_base),
    (
        r"(?:convert )?(?P<base>binary|octal|hexadecimal|hex) (?P<n>[0-9a-f]+) (?:in|to|into|as) decimal", _from_base),
)  # fmt: skip
