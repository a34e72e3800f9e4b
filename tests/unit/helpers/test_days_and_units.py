"""Dates against the calendar of the standard library, and units there and back."""

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanolocal.helpers import asking, chance, counting, days, units

NOW = datetime(2026, 11, 28, 10, 30, tzinfo=UTC)
DATES = st.dates(date(1600, 1, 1), date(2400, 1, 1))


def asked(prompt: str) -> asking.Asked:
    read = asking.read(prompt)
    assert read is not None
    return read


@given(DATES, st.sampled_from(["%Y-%m-%d", "{d} %B %Y", "%B {d}, %Y", "{d} %b %Y", "{d}.%m.%Y"]))
def test_a_date_is_read_however_it_is_written(day: date, layout: str) -> None:
    written = day.strftime(layout.format(d=day.day))
    assert days.read_date(written, NOW.date()) == (day, True)


@given(DATES, DATES)
def test_days_between_are_counted(first: date, second: date) -> None:
    told = days.answer(asked(f"How many days are between {first} and {second}?"), NOW)
    assert told is not None
    assert f": {abs((second - first).days):,} day" in told


@given(DATES, st.integers(1, 5000))
def test_days_after_and_before(day: date, count: int) -> None:
    for word, sign in (("after", 1), ("before", -1)):
        told = days.answer(asked(f"What date is {count} days {word} {day}?"), NOW)
        expected = day + timedelta(days=sign * count)
        assert told is not None
        assert told.endswith(f"{expected:%A}, {days.told(expected)}")


@given(DATES, st.integers(-600, 600))
def test_months_keep_the_day_or_take_the_last_one(day: date, count: int) -> None:
    moved = days.moved(day, count, "months")
    assert (moved.year - day.year) * 12 + moved.month - day.month == count
    assert moved.day == day.day or (moved + timedelta(days=1)).day == 1


@pytest.mark.parametrize("text", ["31 February 2024", "2023-02-29", "03/04/2024", "13/13/2024", "Mayday"])
def test_what_is_no_date_or_could_be_two(text: str) -> None:
    with pytest.raises(days.NoDate):
        days.read_date(text, NOW.date())


@given(st.text())
def test_any_text_is_a_question_or_none(text: str) -> None:
    read = asking.read(text)
    if read is not None:
        days.answer(read, NOW)
        units.answer(read)
        counting.answer(read)
        chance.answer(read, Random(1))


LINEAR = [name for name, unit in units.UNITS.items() if not unit.shift]


@given(st.fractions(0, 10**6, max_denominator=1000), st.sampled_from(sorted(units.UNITS)), st.data())
def test_there_and_back_is_the_same(amount: Fraction, name: str, data: st.DataObject) -> None:
    source = units.UNITS[name]
    others = sorted({unit.name for unit in units.UNITS.values() if unit.kind == source.kind and unit != source})
    if not others:
        return
    wanted = data.draw(st.sampled_from(others))
    target = next(unit for unit in units.UNITS.values() if unit.name == wanted)
    assert units.converted(units.converted(amount, source, target), target, source) == amount


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("Convert 5 miles to km", "5 miles = 8.04672 kilometres"),
        ("how many feet are in a mile?", "1 mile = 5,280 feet"),
        ("98.6 F to C", "98.6 °F = 37 °C"),
        ("What is -40 celsius in fahrenheit?", "-40 °C = -40 °F"),
        ("how many bytes are in a kilobyte", "1 kilobyte = 1,000 bytes"),
        ("1 tonne in kg", "1 tonne (1,000 kg) = 1,000 kilograms"),
        ("convert -300 C to K", None),
        ("convert 5 miles to kg", None),
        ("how many miles in a year", None),
        ("how many days are in 2 months", None),
        ("what is a m in cm", None),
    ],
)
def test_units(prompt: str, told: str | None) -> None:
    assert units.answer(asked(prompt)) == told


@given(st.text(alphabet="abcdefgh", min_size=2, max_size=12), st.sampled_from("abcdefgh"))
def test_letters_are_counted(word: str, letter: str) -> None:
    times = word.count(letter)
    told = f'"{word}" has the letter {letter} {times} time{"" if times == 1 else "s"}'
    assert counting.answer(asked(f"How many {letter}'s are in {word}?")) == told


@given(st.lists(st.integers(-999, 999), min_size=2, max_size=20))
def test_numbers_are_sorted(numbers: list[int]) -> None:
    told = counting.answer(asked(f"sort these numbers: {', '.join(map(str, numbers))}"))
    assert told == ", ".join(map(str, sorted(numbers)))


def test_dice_are_fair_within_their_sides() -> None:
    rolled = {chance.answer(asked("roll a die"), Random(seed)) for seed in range(200)}
    assert rolled == {f"1 die: {side}" for side in range(1, 7)}
    assert chance.answer(asked("roll 0d6"), Random(1)) is None
    assert chance.answer(asked("pick a random number between 9 and 3"), Random(1)) is None
    drawn = {chance.answer(asked("pick a random number between 1 and 3"), Random(seed)) for seed in range(50)}
    assert drawn == {f"drawn from 1 to 3: {number}" for number in (1, 2, 3)}
