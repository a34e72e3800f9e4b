"""Nothing that a terminal acts on gets past the sanitiser."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanolocal.safetext import safe, safe_line

HOSTILE = [
    "\x1b]52;c;aGk=\x07",
    "\x1b[2J",
    "\x9b2J",
    "\x1bPq\x1b\\",
    "\u202eabc",
    "\x1b]8;;http://x\x07",
    "\x00",
    "\x7f",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_control_sequences_become_harmless(text: str) -> None:
    assert not any(unicodedata.category(char) == "Cc" and char not in "\n\t" for char in safe(text))
    assert "\u202e" not in safe(text)


@given(st.text(), st.data())
def test_a_split_changes_nothing_and_twice_is_once(text: str, data: st.DataObject) -> None:
    text = text.replace("\r", "")
    cut = data.draw(st.integers(0, len(text)))
    assert safe(text[:cut]) + safe(text[cut:]) == safe(text)
    assert safe(safe(text)) == safe(text)


def test_ordinary_text_passes_unchanged() -> None:
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    text = f"Grüße, 日本語, {family}\n\ttabs stay"
    assert safe(text) == text


def test_line_endings_become_one_kind_and_a_line_stays_a_line() -> None:
    assert safe("a\r\nb\rc\u2028d") == "a\nb\nc\nd"
    assert safe_line("a\r\n b\t c") == "a b c"
