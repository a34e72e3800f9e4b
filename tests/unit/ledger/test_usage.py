"""Usage adds up exactly, whatever it is grouped by, and is read from its index alone."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations

import pytest

from nanolocal.chat.messages import Usage
from nanolocal.cli.usage import table
from nanolocal.errors import UsageError
from nanolocal.ledger.chart import Chart, chart, svg, terminal
from nanolocal.ledger.usage import GROUPS, UsageRow, parse_day, parse_groups, statement, total, usage
from tests.fakes.homes import BUILD
from tests.fakes.ledgers import DAY, HOSTILE, Ledger, a_ledger, fill

PERIODS = {"day", "week", "month"}
GROUPINGS = [groups for count in (1, 2, 3) for groups in permutations(GROUPS, count) if len(set(groups) & PERIODS) <= 1]


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    with a_ledger(tmp_path_factory.mktemp("ledger")) as made:
        fill(made)
        made.clock[0] += 40 * DAY
        made.ask(Usage(7, 3, 9), replace(BUILD, id="other"), chat_id="chat 2", key="anna")
        yield made


@pytest.mark.parametrize("groups", GROUPINGS, ids=",".join)
def test_the_rows_add_up_to_the_accounts_in_every_grouping(ledger: Ledger, groups: tuple[str, ...]) -> None:
    rows = usage(ledger.database, groups)
    summed = total(rows, groups)
    spent = ledger.database.execute("SELECT debits_posted FROM account WHERE id = 'wallet'")[0][0]
    asked = ledger.database.execute("SELECT count(*) FROM entry WHERE kind = 'settle'")[0][0]
    assert (summed.cost_micro, summed.requests) == (spent, asked)
    assert summed.numbers == total(usage(ledger.database), ("day",)).numbers
    assert [row.group for row in rows] == sorted({row.group for row in rows})


@pytest.mark.parametrize("groups", GROUPINGS, ids=",".join)
def test_the_index_alone_answers(ledger: Ledger, groups: tuple[str, ...]) -> None:
    program = ledger.database.execute(f"EXPLAIN {statement(groups)}", ("", "9"))
    entry = ledger.database.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'entry'")[0][0]
    tables = {row[2] for row in program if row[1] == "OpenRead" and row[3] == entry}
    assert not [row for row in program if row[1] == "Column" and row[2] in tables]


def test_days_weeks_and_months_are_those_of_the_calendar(ledger: Ledger) -> None:
    assert [row.group[0] for row in usage(ledger.database, ("day",))] == [
        "2026-11-27", "2026-11-28", "2026-11-29", "2027-01-08",
    ]  # fmt: skip
    assert [row.group[0] for row in usage(ledger.database, ("week",))] == ["2026-W48", "2027-W01"]
    assert [row.group[0] for row in usage(ledger.database, ("month",))] == ["2026-11", "2027-01"]


def test_a_period_counts_both_its_ends(ledger: Ledger) -> None:
    def asked(since: str | None, until: str | None) -> int:
        return total(usage(ledger.database, ("model",), since, until), ("model",)).requests

    assert asked("2026-11-28", "2026-11-29") == 3
    assert asked("2026-11-28", "2026-11-28") == 1
    assert asked("2026-11-30", None) == 1
    assert asked(None, "2026-11-26") == 0
    assert asked(None, "2026-11-27") == len(HOSTILE)


def test_a_key_and_a_model_have_rows_of_their_own(ledger: Ledger) -> None:
    rows = {row.group: row for row in usage(ledger.database, ("key", "model"))}
    assert rows["anna", "other"].numbers[:5] == (1, 7, 3, 9, 0)
    assert rows["anna", BUILD.id].numbers[4:6] == (40_000_000, 2)
    assert rows["", BUILD.id].requests == 2


@pytest.mark.parametrize("text", ["", "year", "day,day", "day,week", "day;model", "1"])
def test_unknown_groupings_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_groups(text)


@pytest.mark.parametrize("text", ["", "today", "2026-13-01", "2026-02-30", "27.11.2026", "2026"])
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_day(text, "--since")


def test_the_table_fits_eighty_columns_and_cuts_no_number() -> None:
    for digits in (1, 6, 9, 12, 18):
        number = 10**digits - 1
        row = UsageRow(("2026-11-27", "モデル" * 20, "a very long key " * 9), *[number] * 7)
        lines = table([("DAY", "MODEL", "KEY"), row.group], [["HEAD"] * 6, [str(n) for n in row.numbers[:6]]])
        assert max(map(len, lines)) <= 80 or digits > 9
        assert "".join(lines).count(str(number)) == 6


def days(count: int) -> dict[str, int]:
    return {f"2026-{1 + n // 28:02d}-{1 + n % 28:02d}": 1000 * n for n in range(count)}


@pytest.mark.parametrize("count", [1, 2, 7, 30, 62, 63, 300])
def test_the_chart_fits_a_small_terminal(count: int) -> None:
    drawn = chart(days(count), None, None)
    assert drawn is not None
    lines = terminal(drawn)
    assert len(lines) <= 23
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if "\x1b" in line]
    assert sum(amount for _, amount in drawn.bars) == sum(days(count).values())


def test_the_highest_bar_reaches_the_mark_that_is_its_amount() -> None:
    lines = terminal(Chart("day", (("2026-11-27", 1_000_000), ("2026-11-28", 500_000), ("2026-11-29", 0))))
    assert lines[2].split("┤") == ["          1.00 ", "██████"]
    assert lines[10] == "          0.50 ┤██████ ▄▄▄▄▄▄"
    assert [line.count("█") for line in lines[2:19]] == [6] * 8 + [6] + [12] * 8


def test_days_without_an_answer_are_drawn_too() -> None:
    drawn = chart({"2026-11-27": 5, "2026-11-30": 7}, "2026-11-26", "2026-12-01")
    assert drawn is not None
    assert [amount for _, amount in drawn.bars] == [0, 5, 0, 0, 7, 0]
    assert chart({}, None, None) is None
    assert chart({"": 5}, None, None) is None


@pytest.mark.parametrize("count", [1, 7, 300])
def test_the_picture_is_svg_with_a_title_labels_and_every_value(count: int) -> None:
    drawn = chart(days(count), None, None)
    assert drawn is not None
    root = ET.fromstring(svg(drawn))
    space = "{http://www.w3.org/2000/svg}"
    texts = [text.text for text in root.iter(f"{space}text")]
    assert root.findtext(f"{space}title") == drawn.title
    assert {"credits", drawn.unit, drawn.title} <= set(texts)
    bars = list(root.iter(f"{space}rect"))
    assert len(bars) == len(drawn.bars)
    assert all(bar.findtext(f"{space}title") for bar in bars)
    assert all(0 <= float(bar.get("y", "-1")) <= 400 for bar in bars)


def contrast(colour: str, other: str) -> float:
    """WCAG 2.1: from 1 to 21."""

    def light(text: str) -> float:
        parts = [int(text[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((light(colour), light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_picture_is_readable_on_white_and_on_black() -> None:
    picture = svg(Chart("day", (("2026-11-27", 5),)))
    text, bar = "#767676", "#2f81c7"
    assert text in picture
    assert bar in picture
    assert min(contrast(text, page) for page in ("#ffffff", "#000000")) >= 4.5
    assert min(contrast(bar, page) for page in ("#ffffff", "#000000")) >= 3
