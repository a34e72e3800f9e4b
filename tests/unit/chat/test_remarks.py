import pytest

from nanolocal.chat import remarks


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        (
            remarks.left_out(1240, 6),
            "The oldest 6 messages (1,240 tokens) did not fit and were left out; they stay in the conversation.",
        ),
        (
            remarks.left_out(1240),
            "The oldest messages (1,240 tokens) did not fit and were left out; they stay in the conversation.",
        ),
        (
            remarks.left_out(1, 1),
            "The oldest message (1 token) did not fit and was left out; it stays in the conversation.",
        ),
        (
            remarks.unread(2, 0, 1),
            "2 pictures and 1 prompt without an answer before this prompt were not read: only answered text is.",
        ),
        (
            remarks.undrawn(["a.txt", "b.txt"]),
            "a.txt, b.txt were not read: a picture is drawn from the typed words alone.",
        ),
    ],
)
def test_sentences_read_well_with_and_without_numbers(sentence: str, said: str) -> None:
    assert sentence == said
