"""Stop strings in text that comes in pieces."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanolocal.engines.stopping import StopStrings, begun, first_of

ALPHABET = st.text("ab·🙂", max_size=30)
WORDS = st.lists(st.text("ab·🙂", min_size=1, max_size=4), max_size=3)


def pieces_of(text: str, cuts: list[int]) -> list[str]:
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    return [text[start:end] for start, end in pairwise(places)]


@given(ALPHABET, WORDS, st.lists(st.integers(0, 29), max_size=8))
def test_however_it_is_cut_the_text_before_the_stop_that_is_whole_first_comes_out(
    text: str, words: list[str], cuts: list[int]
) -> None:
    stops = StopStrings(words)
    said = "".join(stops.take(piece) for piece in pieces_of(text, cuts))
    whole = [end for end in range(len(text) + 1) if any(text[:end].endswith(word) for word in words)][:1]
    expected = [text[: end - max(len(word) for word in words if text[:end].endswith(word))] for end in whole]
    assert (said + stops.rest(), stops.found is None) == ((expected or [text])[0], not whole)


@given(ALPHABET, WORDS, st.lists(st.integers(0, 29), max_size=8))
def test_only_what_may_become_a_stop_is_held_back(text: str, words: list[str], cuts: list[int]) -> None:
    stops, said, came = StopStrings(words), "", ""
    for piece in pieces_of(text, cuts):
        came += piece
        said += stops.take(piece)
        if stops.found is None:
            held = came[len(said) :]
            assert not held or any(word.startswith(held) for word in words)


@pytest.mark.parametrize(
    ("text", "words", "expected"),
    [("one two", ("two",), (4, "two")), ("abc", ("b", "bc"), (1, "bc")), ("abc", ("x",), (3, "")), ("", (), (0, ""))],
)
def test_the_first_and_longest_word_is_found(text: str, words: tuple[str, ...], expected: tuple[int, str]) -> None:
    assert first_of(text, words) == expected


def test_a_beginning_is_the_longest_one() -> None:
    assert begun("x</thi", ("</think>", "</t")) == 5
    assert begun("x</think>", ("</think>",)) == 0
