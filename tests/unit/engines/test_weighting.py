"""Words of a prompt with weights."""

import pytest

from nanolocal.engines.diffusion.weighting import MOST, Span, parse


@pytest.mark.parametrize(
    ("prompt", "clean", "spans"),
    [
        ("a red boat", "a red boat", ()),
        ("a (red:1.3) boat", "a red boat", (Span(2, 5, 1.3),)),
        ("(a red boat: 0.5)", "a red boat", (Span(0, 10, 0.5),)),
        ("(red:1.2) and (blue:.8)", "red and blue", (Span(0, 3, 1.2), Span(8, 12, 0.8))),
        ("(much:99)", "much", (Span(0, 4, MOST),)),
        ("a house (with a red roof)", "a house (with a red roof)", ()),
        ("at (12:30) a (red:1.3) boat", "at (12:30) a red boat", (Span(13, 16, 1.3),)),
        (r"\(red:1.3\)", "(red:1.3)", ()),
        ("(red:)", "(red:)", ()),
        ("((red:1.3))", "(red)", (Span(1, 4, 1.3),)),
        ("(: 1.3)", "(: 1.3)", ()),
        ("(" * 5000 + ":1", "(" * 5000 + ":1", ()),
    ],
)
def test_only_words_with_a_number_are_weighted(prompt: str, clean: str, spans: tuple[Span, ...]) -> None:
    assert parse(prompt) == (clean, spans)
