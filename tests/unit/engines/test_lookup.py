"""Prompt lookup: guesses come from what was read, and stop where they do not pay."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanolocal.engines.lookup import Lookup

TEXT = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]


def warm(tokens: list[int]) -> Lookup:
    lookup = Lookup(tokens)
    lookup.learn(0, 0, 0.020)
    return lookup


def test_what_followed_the_same_words_before_is_guessed() -> None:
    lookup = warm([*TEXT, 99, 2, 3, 4])
    assert lookup.guess(15) == [5, 6, 7, 8]
    assert lookup.guess(2) == [5, 6]


def test_the_newest_place_counts() -> None:
    assert warm([1, 2, 3, 40, 1, 2, 3, 50, 51, 52, 53, 1, 2, 3]).guess(3) == [50, 51, 52]


def test_nothing_is_guessed_before_a_plain_step_was_measured_or_where_nothing_is_alike() -> None:
    assert Lookup([*TEXT, 2, 3, 4]).guess(15) == []
    assert warm([*TEXT, 20, 21, 22]).guess(15) == []
    assert warm([]).guess(15) == []


def test_guesses_grow_while_they_are_right_and_shrink_when_they_are_not() -> None:
    lookup = warm([*range(100), 200, 2, 3, 4])
    assert len(lookup.guess(15)) == 4
    lookup.learn(4, 4, 0.022)
    assert len(lookup.guess(15)) == 8
    lookup.learn(8, 3, 0.025)
    assert len(lookup.guess(15)) == 3


def test_guessing_rests_where_it_brings_less_than_it_costs() -> None:
    lookup = warm([*range(100), 200, 2, 3, 4])
    for _ in range(6):
        assert lookup.guess(15)
        lookup.learn(4, 0, 0.060)
    quiet = 0
    while not lookup.guess(15):
        quiet += 1
    assert quiet == 64


def test_guessing_goes_on_where_it_pays() -> None:
    lookup = warm([*range(100), 200, 2, 3, 4])
    for _ in range(50):
        assert lookup.guess(15)
        lookup.learn(15, 15, 0.060)


def test_the_gain_is_what_was_spared_where_it_was_guessed() -> None:
    lookup = warm([*range(100), 200, 2, 3, 4])
    for _ in range(5):
        lookup.learn(3, 3, 0.040)
    assert lookup.gain == 0.0
    lookup.learn(3, 3, 0.040)
    assert lookup.gain == pytest.approx(2.0)
    lookup.learn(0, 0, 0.020)
    assert lookup.gain == pytest.approx(2.0)


@given(st.lists(st.integers(0, 5), max_size=80), st.integers(0, 15))
def test_a_guess_is_always_what_once_followed(tokens: list[int], most: int) -> None:
    guess = warm(tokens).guess(most)
    assert len(guess) <= most
    places = [place for place in range(3, len(tokens)) if tokens[place - 3 : place] == tokens[-3:]]
    assert not guess or any(tokens[place : place + len(guess)] == guess for place in places)
