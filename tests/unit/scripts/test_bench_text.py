"""Every part of the text engine's benchmark runs on a small build and tells what it measured."""

import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import bench_text  # noqa: E402
from bench_text import PARTS, Bench, Tally  # noqa: E402
from figures import Row  # noqa: E402


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, rounds=1, is_quick=True)


@pytest.mark.slow
@pytest.mark.parametrize(("part", "count"), [("application", 4), ("returning", 2)])
def test_the_whole_application_is_measured(bench: Bench, part: str, count: int) -> None:
    rows = PARTS[part](bench)
    assert len(rows) == count
    assert all(len(row.values) == 1 and row.median > 0 for row in rows)


@pytest.mark.parametrize(("part", "count"), [("together", 2), ("repeating", 1)])
def test_answers_are_the_same_while_they_are_timed(bench: Bench, part: str, count: int) -> None:
    rows = PARTS[part](bench)
    assert len(rows) == count
    assert all(row.median > 0 and "; 0 of " in row.note for row in rows)


@pytest.mark.slow
def test_tokens_are_those_of_the_bare_loop(bench: Bench) -> None:
    rows = {row.name: row for row in PARTS["alike"](bench)}
    assert len(rows) == len(bench_text._WAYS)
    # Beside others a text lies elsewhere in the cache: its sums have another order, and a last bit can tip a rounding.
    assert rows.pop("beside others").median > 0.8
    assert all(row.median == 1.0 for row in rows.values())
    assert all(" 0 tokens" not in row.note for row in rows.values())


def test_a_difference_counts_unless_both_predictions_were_as_good() -> None:
    tally = Tally(answers=4, tokens=90, differences=[("a", 0.0005), ("b", 0.25)])
    row = tally.row("alike")
    assert (row.median, row.is_met) == (0.75, False)
    assert row.note == "90 tokens, 1 of 4 answers differ, 1 more within 0.001: b (0.250)"
    assert Tally(answers=4, differences=[("a", 0.0005)]).row("alike").is_met


@pytest.mark.parametrize(
    ("row", "met"),
    [
        (Row("a", (0.9, 1.0, 0.99), 0.98), True),
        (Row("a", (0.9, 0.97, 0.99), 0.98), False),
        (Row("a", (0.1, 0.3), 0.2, is_most=True), True),
        (Row("a", (0.21,), 0.2, is_most=True), False),
        (Row("a", (9.0,), None), True),
    ],
)
def test_the_median_of_the_rounds_decides(row: Row, met: bool) -> None:
    assert row.is_met is met
    assert ("missed" in str(row)) is not met
