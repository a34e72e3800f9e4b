from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from nanolocal.chat import amounts, commands
from nanolocal.chat.messages import Attachment, Stopped, Usage
from nanolocal.chat.turn import Quote
from nanolocal.tui import lines
from nanolocal.tui.lines import Receipt, Status
from nanolocal.tui.rows import Row
from nanolocal.tui.turns import MOST_MOUNTED, Window
from tests.fakes.session import ROUTE


@pytest.mark.parametrize(
    ("micro", "text"),
    [
        (0, "0"),
        (1, "0.000001"),
        (420, "0.00042"),
        (4_200, "0.0042"),
        (97_100, "0.097"),
        (100_000, "0.10"),
        (97_100_000, "97.10"),
        (-420, "-0.00042"),
    ],
)
def test_credits_show_the_digits_that_matter(micro: int, text: str) -> None:
    assert amounts.short_credits(micro) == text


@pytest.mark.parametrize(
    ("micro", "text"), [(0, "0"), (1, "0.000001"), (4_201, "0.0043"), (999_999, "1.00"), (99, "0.000099")]
)
def test_a_limit_is_never_shown_lower_than_it_is(micro: int, text: str) -> None:
    assert amounts.most_credits(micro) == text


@pytest.mark.parametrize(("number", "text"), [(0, "0"), (870, "870"), (1_234, "1.2k"), (32_768, "32k")])
def test_counts_are_short(number: int, text: str) -> None:
    assert lines.count(number) == text


@pytest.mark.parametrize(
    ("number", "text"), [(12, "12 B"), (2_000, "2 kB"), (812_000_000, "812 MB"), (1_100_000_000, "1.1 GB")]
)
def test_sizes_have_a_unit(number: int, text: str) -> None:
    assert amounts.format_bytes(number) == text


def test_a_token_names_a_file_safely() -> None:
    assert lines.token(Attachment("no\x1btes.txt", "text/plain", b"x" * 2000)) == "[no␛tes.txt 2 kB]"


FULL = Status("Oak 1B Q4_K_M", "code 94%", "auto", 18.4, 1_200, 8_192, 420_000, 97_100_000)


def test_the_status_line_tells_everything_where_there_is_room() -> None:
    expected = "auto -> Oak 1B Q4_K_M · code 94% · 18.4 tok/s · 1.2k/8.2k ctx · 0.42 cr · bal 97.10"
    assert FULL.line(100) == expected


def test_the_status_line_degrades_and_keeps_model_and_balance() -> None:
    narrow = FULL.line(54)
    assert narrow.startswith("auto -> Oak 1B Q4_K_M · ") and narrow.endswith("· bal 97.10")
    assert "ctx" not in narrow and " cr" not in narrow


def test_while_an_answer_grows_its_cost_outlasts_the_context() -> None:
    growing = replace(FULL, tok_s=0.0)
    assert growing.line(60).endswith("· 0.42 cr · bal 97.10")
    assert FULL.line(76).endswith("· 18.4 tok/s · 1.2k/8.2k ctx · bal 97.10")


@pytest.mark.parametrize(
    ("balance", "most", "is_low"),
    [(None, 0, False), (9_999, 0, True), (10_000, 0, False), (14_999, 5_000, True), (15_000, 5_000, False)],
)
def test_a_low_balance_is_said_in_words(balance: int | None, most: int, is_low: bool) -> None:
    status = Status("Oak", balance_micro=balance, most_micro=most)
    assert status.is_low is is_low
    assert ("low bal" in status.line(60)) is is_low


def test_a_quote_says_a_shortage_before_it_names_who_answers() -> None:
    quote = Quote(ROUTE, 4_201, 9_000, 4_200)
    assert lines.quote_line(quote, 80) == "up to 0.0043 cr · more than a budget leaves · Oak 1B Q4_K_M"
    assert lines.quote_line(replace(quote, balance_micro=4_200), 44) == "up to 0.0043 cr · more than the balance · O…"
    assert lines.quote_line(replace(quote, room_micro=4_201), 80) == "up to 0.0043 cr · Oak 1B Q4_K_M"


@given(
    st.builds(
        Status,
        model=st.text(max_size=40),
        why=st.text(max_size=60),
        tok_s=st.floats(0, 500),
        context_used=st.integers(0, 10**6),
        context_total=st.integers(0, 10**6),
        cost_micro=st.integers(0, 10**9),
        balance_micro=st.none() | st.integers(0, 10**12),
        most_micro=st.integers(0, 10**12),
    ),
    st.integers(20, 140),
)
def test_the_status_line_always_fits(status: Status, width: int) -> None:
    line = status.line(width)
    assert cell_len(line) <= width
    assert "\n" not in line


@given(st.integers(30, 120), st.sampled_from(Stopped))
def test_the_receipt_always_fits(width: int, ending: Stopped) -> None:
    receipt = Receipt("some-model-3b:Q4_K_M", "math/word_problem", Usage(10, 0, 312), 18.4, 420_000, ending)
    assert cell_len(receipt.line(width)) <= width


def test_the_receipt_says_how_it_ended() -> None:
    def line(ending: Stopped) -> str:
        return Receipt("oak:Q4", "chat", Usage(1, 0, 312), 18.4, 420_000, ending).line(100)

    assert line(Stopped.END) == "oak:Q4 · chat · 312 tokens · 18.4 tok/s · 0.42 cr"
    assert line(Stopped.USER).endswith(" · stopped, kept")
    assert line(Stopped.CRASH).endswith(" · engine died, kept")


def test_a_rating_stands_last_and_its_note_takes_the_room_there_is() -> None:
    rated = replace(
        Receipt("oak:Q4_K_M", "chat", Usage(1, 0, 64), 18.4, 420, Stopped.END), verdict="bad", note="wrong\nyear " * 9
    )
    assert rated.line(80).startswith("oak:Q4_K_M · chat · 64 tokens · 0.00042 cr · rated bad: wrong year wrong")
    assert rated.line(50).startswith("oak:Q4_K_M · 0.00042 cr · rated bad: wrong")
    assert all(cell_len(rated.line(width)) <= width for width in range(100))
    assert replace(rated, note="").line(80).endswith("18.4 tok/s · 0.00042 cr · rated bad")


def test_a_damaged_file_is_named_as_such() -> None:
    assert lines.token(Attachment("notes.txt", "text/plain", b""), True) == "[notes.txt damaged, cannot be read]"


SNIPPET = "…y reached the quay, and the tide was out. There the old heron, grey heron, stood and waited for its fish."
MARKS = tuple((start, start + 5) for start in range(len(SNIPPET)) if SNIPPET.startswith("heron", start))


@pytest.mark.parametrize("width", [40, 54, 76, 120])
def test_the_first_match_of_a_snippet_is_seen_at_any_width(width: int) -> None:
    row = Row("c1", "Herons", "2026-11-24 18:00", SNIPPET, MARKS, "m1")
    head, snippet = row.content(width).split("\n")
    assert head.plain == "2026-11-24 18:00  Herons"
    assert "old heron" in snippet.plain[:width]
    bold = [snippet.plain[span.start : span.end] for span in snippet.spans if span.style == "bold"]
    assert bold == ["heron", "heron"]
    assert "grey heron, stood" in snippet.plain


def test_the_command_table_is_short_and_unambiguous() -> None:
    names = [command.name for command in commands.COMMANDS]
    keys = [command.key for command in commands.COMMANDS if command.key]
    assert len(names) == len(set(names)) <= 30
    assert len(keys) == len(set(keys))
    assert not {"ctrl+m", "ctrl+i", "ctrl+h", "ctrl+left_square_bracket", "alt+enter"} & set(keys)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("/new", ("new", "")),
        ("/image a red barn ", ("image", "a red barn")),
        ("/etc/hosts is a file", None),
        ("what is /new", None),
        ("/", None),
        ("", None),
    ],
)
def test_only_a_command_is_read_as_one(text: str, parsed: tuple[str, str] | None) -> None:
    assert commands.parse(text) == parsed


@given(st.integers(0, 600), st.lists(st.sampled_from(["earlier", "later", "grown"]), max_size=80))
def test_the_window_stays_small_and_inside(total: int, moves: list[str]) -> None:
    window = Window.newest(total)
    for move in moves:
        window = getattr(window, move)()
        assert 0 <= window.start <= window.end <= window.total
        assert window.end - window.start <= MOST_MOUNTED


@given(st.integers(1, 600), st.data())
def test_the_window_around_a_turn_holds_it(total: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, total - 1))
    window = Window.around(total, index)
    assert window.start <= index < window.end <= total
