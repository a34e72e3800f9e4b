"""Numerals between bounds, as grammar expressions; here they are read as regular expressions."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanolocal.chat.numerals import integers, numbers

WHOLE = st.integers(-3000, 3000)
BOUND = st.none() | WHOLE
REAL = st.none() | st.floats(-20, 20).map(lambda value: round(value, 2)) | WHOLE


def matches(expression: str, text: str) -> bool:
    """Whether an expression of literals, classes, groups and repetitions allows ``text``."""
    parts = re.split(r'("(?:[^"\\]|\\.)*"|\[[^\]]*\])', expression)
    read = [re.escape(part[1:-1]) if part.startswith('"') else part if part.startswith("[") else part.replace(" ", "")
            for part in parts]  # fmt: skip
    return re.fullmatch("".join(read), text) is not None


@given(BOUND, BOUND, st.booleans(), st.booleans(), WHOLE)
def test_whole_numbers_are_allowed_just_where_they_are_between_the_bounds(
    low: int | None, high: int | None, is_low_open: bool, is_high_open: bool, value: int
) -> None:
    first = -(10**9) if low is None else low + is_low_open
    last = 10**9 if high is None else high - is_high_open
    expression = integers(low, high, is_low_open=is_low_open, is_high_open=is_high_open)
    assert bool(expression) is (first <= last)
    assert matches(expression, str(value)) is (first <= value <= last)


@given(REAL, REAL, st.booleans(), st.booleans(), st.floats(-25, 25), st.integers(0, 3))
def test_a_number_that_is_allowed_is_between_the_bounds(
    low: float | None, high: float | None, is_low_open: bool, is_high_open: bool, value: float, places: int
) -> None:
    text = f"{value:.{places}f}"
    expression = numbers(low, high, is_low_open=is_low_open, is_high_open=is_high_open)
    if expression and matches(expression, text):
        assert low is None or (float(text) > low if is_low_open else float(text) >= low)
        assert high is None or (float(text) < high if is_high_open else float(text) <= high)


@pytest.mark.parametrize(
    ("low", "high", "inside"),
    [(0, None, "0.5"), (0, 3, "2.999"), (-1, 1, "-0.25"), (-1, 1, "1"), (None, -2.5, "-3.75"), (0.2, 0.7, "0.3"),
     (7, 7, "7"), (0.25, 0.26, "0.26")],
)  # fmt: skip
def test_numbers_between_the_bounds_can_be_written(low: float | None, high: float | None, inside: str) -> None:
    assert matches(numbers(low, high, is_low_open=False, is_high_open=False), inside)


def test_above_zero_and_below_one_is_written_with_decimals() -> None:
    expression = numbers(0, 1, is_low_open=True, is_high_open=True)
    assert [matches(expression, text) for text in ("0.001", "0", "0.000", "1", "-0.5")] == [True, *[False] * 4]


def test_bounds_with_nothing_between_them_give_nothing() -> None:
    assert numbers(3, 2, is_low_open=False, is_high_open=False) == ""
    assert numbers(1, 1, is_low_open=True, is_high_open=False) == ""


@pytest.mark.parametrize("text", ["007", "+1", "1.", ".5", "--1", "1e", "0x1"])
def test_what_json_does_not_call_a_number_is_not_allowed(text: str) -> None:
    assert not matches(numbers(None, None, is_low_open=False, is_high_open=False), text)
