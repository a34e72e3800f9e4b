import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest

from nanolocal.chat.events import CostSoFar, ImageStep, Reading, ReasoningDelta
from nanolocal.chat.messages import Source, TurnRequest, Usage
from nanolocal.cli import output
from nanolocal.cli.turns import answer_as_json, receipt, take_turn, tell_remarks
from tests.fakes.session import ROUTE, TEXT_BUILD, FakeSession, Step

if TYPE_CHECKING:
    from nanolocal.bootstrap import Session


class Shown(output.Progress):
    """Remembers every line of progress."""

    def __init__(self) -> None:
        super().__init__(is_quiet=True)
        self.lines: list[str] = []

    def show(self, text: str) -> None:
        self.lines.append(text)


def progress_of(*script: Step, say: bool = False) -> list[str]:
    session, shown = FakeSession(), Shown()
    session.chat.script = list(script)
    asyncio.run(take_turn(cast("Session", session), TurnRequest("hi"), shown, say))
    return shown.lines


def test_the_progress_line_tells_the_cost_so_far() -> None:
    lines = progress_of(Reading(5, 10), CostSoFar(3), "a", CostSoFar(4), "b")
    assert lines[1:] == [
        "reading 5 of 10 tokens",
        "reading 5 of 10 tokens, 0.000003 credits",
        "writing: 1 token, 0.000003 credits",
        "writing: 1 token, 0.000004 credits",
        "writing: 2 tokens, 0.000004 credits",
    ]
    assert progress_of(ImageStep(3, 12), CostSoFar(9))[-1] == "drawing: step 3 of 12, 0.000009 credits"


def test_what_is_thought_is_progress_and_no_part_of_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    lines = progress_of(ReasoningDelta("hm", 1), ReasoningDelta(", so", 2), "yes", say=True)
    assert lines[1:] == ["thinking: 1 token", "thinking: 3 tokens", "writing: 4 tokens"]
    assert capsys.readouterr().out == "yes"


def test_progress_gives_way_to_a_text_on_the_same_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    lines = progress_of(Reading(5, 10), CostSoFar(3), "a", CostSoFar(4), "b", say=True)
    assert lines[-1] == "reading 5 of 10 tokens, 0.000003 credits"
    assert capsys.readouterr().out == "ab"


def test_a_build_that_gives_way_is_told_and_its_cost_is_not_counted() -> None:
    session, shown = FakeSession(), Shown()
    session.chat.failed = replace(ROUTE, build=replace(TEXT_BUILD, id="oak:Q8_0"))
    session.chat.script = ["a", CostSoFar(4), "b"]
    answer = asyncio.run(take_turn(cast("Session", session), TurnRequest("hi"), shown, False))
    assert [line for line in shown.lines if "chat prompt" in line] == [
        "oak:Q8_0: a short chat prompt",
        "oak:Q4_K_M: a short chat prompt",
    ]
    assert shown.lines[-1] == "writing: 2 tokens, 0.000004 credits"
    assert answer.remarks == ("oak:Q8_0 could not answer, so another build does",)


def test_where_a_picture_may_have_been_meant_it_is_said_how_to_draw_it(capsys: pytest.CaptureFixture[str]) -> None:
    session = FakeSession()
    session.chat.route = replace(ROUTE, may_be_picture=True)
    session.chat.script = ["It is foggy."]
    answer = asyncio.run(take_turn(cast("Session", session), TurnRequest("a foggy harbour"), Shown(), False))
    tell_remarks(answer)
    assert capsys.readouterr().err == 'nanolocal: perhaps a picture was meant: nanolocal image "..." draws it\n'
    tell_remarks(replace(answer, route=ROUTE))
    assert capsys.readouterr().err == ""


def test_sources_are_told_with_their_licence(capsys: pytest.CaptureFixture[str]) -> None:
    session = FakeSession()
    session.chat.script = ["A satellite."]
    answer = asyncio.run(take_turn(cast("Session", session), TurnRequest("hi"), Shown(), False))
    moon = Source("Moon", "It is a satellite.", "CC BY-SA 3.0", "Wikipedia", "[Known: It is a satellite.]")
    told = replace(answer, sources=(moon, Source("Calculator", "2 + 2 = 4")))
    tell_remarks(told)
    assert capsys.readouterr().err.splitlines() == [
        "nanolocal: Source: It is a satellite. [Wikipedia, CC BY-SA 3.0]",
        "nanolocal: Source: Calculator",
    ]
    first, _ = cast("list[dict[str, str]]", answer_as_json(told)["sources"])
    assert (first["title"], first["text"], first["licence"]) == ("Moon", "It is a satellite.", "CC BY-SA 3.0")
    assert first["note"] == "[Known: It is a satellite.]"


def test_the_receipt_names_no_build_where_none_ran() -> None:
    session = FakeSession()
    session.chat.route = replace(ROUTE, is_told=True)
    session.chat.script = ["4"]
    answer = asyncio.run(take_turn(cast("Session", session), TurnRequest("hi"), Shown(), False))
    free = replace(answer, cost_micro=0, usage=Usage())
    assert receipt(free) == "nanolocal itself, no model: 0.000000 credits"
