"""Regular expressions as grammar expressions; what they write is tested with llama.cpp itself."""

import pytest

from nanolocal.chat.patterns import PatternRefused, pattern_grammar


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(?=x)", "looks around"),
        ("(?<name>x)", "looks around"),
        (r"\bx", r"\\b cannot"),
        (r"(a)\1", r"\\1 cannot"),
        ("[z-a]", "ends before it begins"),
        (r"[a-\d]", "ends before it begins"),
        ("[abc", "too early"),
        ("(", "not closed"),
        ("a)", "stands alone"),
        ("a**", "nothing can be repeated"),
        ("a^b", "nothing can be repeated"),
        ("a{1000}", "nothing can be repeated"),
        ("\x01", "control characters"),
        (r"[\n]", "nothing that can stand"),
        ("(" * 50, "too deep"),
        ("a$b", "stands alone"),
    ],
)
def test_what_cannot_be_promised_is_refused(pattern: str, why: str) -> None:
    with pytest.raises(PatternRefused, match=why):
        pattern_grammar(pattern)


def test_a_class_leaves_out_what_has_to_be_escaped_between_quotes() -> None:
    assert pattern_grammar("^[ -~]$") == (r"([\U00000020-\U00000021\U00000023-\U0000005B\U0000005D-\U0000007E])")


def test_quotes_and_backslashes_are_escaped_as_json_wants_it() -> None:
    assert pattern_grammar(r'^"\\$') == r'("\\\U00000022" "\\\U0000005C")'
