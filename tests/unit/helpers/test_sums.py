"""The calculator against Python's own exact arithmetic, and what is no sum."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanolocal.helpers import asking, sums
from nanolocal.helpers.calculator import NoSum, calculate, value_of
from nanolocal.helpers.figures import exact_decimal, read_words, rounded

NUMBERS = st.one_of(
    st.integers(0, 10**9).map(str),
    st.decimals(0, 10**6, places=3, allow_nan=False).map(lambda number: f"{number:f}"),
)


@st.composite
def expressions(draw: st.DrawFn, depth: int = 3) -> tuple[str, Fraction]:
    """A sum as people write it, and its value by Python's fractions."""
    if depth == 0 or draw(st.booleans()):
        number = draw(NUMBERS)
        return number, Fraction(number)
    left, value = draw(expressions(depth - 1))
    right, other = draw(expressions(depth - 1))
    sign = draw(st.sampled_from("+-*/"))
    if sign == "/" and other == 0:
        sign = "+"
    result = {"+": value + other, "-": value - other, "*": value * other, "/": value / other if other else value}[sign]
    return f"({left}) {sign} ({right})", result


def answer(prompt: str) -> str | None:
    asked = asking.read(prompt)
    return None if asked is None else sums.answer(asked)


@given(expressions())
def test_sums_are_exact(expression: tuple[str, Fraction]) -> None:
    text, value = expression
    assert value_of(f"{text} + 0") == value


@given(st.lists(st.integers(0, 999), min_size=2, max_size=8), st.data())
def test_products_go_before_sums_and_left_before_right(numbers: list[int], data: st.DataObject) -> None:
    signs = [data.draw(st.sampled_from(["+", "-", "*"])) for _ in numbers[1:]]
    text = str(numbers[0]) + "".join(f" {sign} {number}" for sign, number in zip(signs, numbers[1:], strict=True))
    assert value_of(text) == eval(text)  # a sum of whole numbers that this test wrote


@given(st.fractions(max_denominator=10**6).filter(bool))
def test_what_is_written_as_exact_is_exact_and_the_rest_is_close(value: Fraction) -> None:
    exact = exact_decimal(value)
    if exact is not None:
        assert Fraction(exact.replace(",", "")) == value
    shown = rounded(value).replace(",", "")
    mantissa, _, exponent = shown.partition(" × 10^")
    near = Fraction(mantissa) * Fraction(10) ** int(exponent or 0)
    assert abs(near - value) <= abs(value) * Fraction(1, 10**11)


@given(st.integers(1, 10**6), st.integers(2, 3))
def test_roots_of_powers_are_whole(number: int, degree: int) -> None:
    name = "square" if degree == 2 else "cube"
    assert value_of(f"the {name} root of {number**degree}") == number


@given(st.integers(2, 10**6))
def test_factors_are_primes_whose_product_is_the_number(number: int) -> None:
    primes = sums.factors(number)
    assert math.prod(primes) == number
    assert all(all(prime % divisor for divisor in range(2, math.isqrt(prime) + 1)) for prime in primes)


@given(st.text())
def test_any_text_gives_a_sum_or_none(text: str) -> None:
    answer(text)
    answer(f"what is {text}")


@given(st.text(alphabet="0123456789+-*/^()!%. √x", max_size=40))
def test_any_signs_give_a_sum_or_none(text: str) -> None:
    try:
        calculate(text)
    except NoSum:
        return


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("What is 17 × 23?", "17 × 23 = 391"),
        ("0.1 + 0.2", "0.1 + 0.2 = 0.3"),
        ("what's 15% of 240", "15% of 240 = 36"),
        ("What is 200 + 10%?", "200 + 10% = 220"),
        ("What is 2/3 of 9?", "(2 / 3) × 9 = 6"),
        ("what is 1/7", "1 / 7 = 1/7 ≈ 0.142857142857"),
        ("sqrt(2)", "√(2) ≈ 1.41421356237"),
        ("what is -2^2", "-2^2 = -4"),
        ("2^-1", "2^-1 = 0.5"),
        ("What is one hundred and one plus nine?", "101 + 9 = 110"),
        ("20 is what percent of 80", "20 is 25% of 80"),
        ("What percentage of 3 is 1?", "1 is ≈ 33.3333333333% of 3"),
        ("Round 2.5 to the nearest whole number", "2.5 rounded to 0 places = 3"),
        ("Is 1 a prime number?", "1 is not a prime number"),
        ("what is 10 divided by 0", None),
        ("9^9^9", None),
        ("300!", None),
        ("what is 9/11", None),
        ("12/25/2026", None),
        ("what is 555-1234", None),
        ("10!", None),
        ("what is 2 + x", None),
        ("two three plus four", None),
    ],
)
def test_what_a_prompt_is_told(prompt: str, told: str | None) -> None:
    assert answer(prompt) == told


@pytest.mark.parametrize(
    ("words", "number"),
    [("zero", 0), ("forty-two", 42), ("one thousand two hundred and six", 1206), ("two million", 2_000_000)],
)
def test_numbers_in_words(words: str, number: int) -> None:
    assert read_words(words) == number


@pytest.mark.parametrize("words", ["two three", "twenty thirty", "hundred", "one million two billion", "ten four"])
def test_words_that_make_no_number(words: str) -> None:
    assert read_words(words) is None
