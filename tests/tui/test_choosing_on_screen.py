"""Who answers: chosen, shown before it runs, compared, explained, and what is learned from that."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from nanolocal.chat.messages import Attachment
from nanolocal.chat.ports import EngineStatus
from nanolocal.chat.routes import RunnerUp
from nanolocal.errors import EngineFailed
from nanolocal.settings import Settings
from nanolocal.tui import clipboard
from nanolocal.tui.screens.compare import CompareScreen
from nanolocal.tui.screens.question import Question
from tests.fakes.session import IMAGE_BUILD, ROUTE, TEXT_BUILD, FakeSession
from tests.tui.driving import Stand, drive, picture

LARGER = replace(TEXT_BUILD, id="oak:Q8_0", quantization="Q8_0", sha256="2" * 64)
LARGER_ROUTE = replace(ROUTE, build=LARGER, reasons=("you asked for this build",), runners_up=())
DRAWN = replace(ROUTE, build=IMAGE_BUILD, task="image_gen", runners_up=())


@pytest.fixture(autouse=True)
def _no_clipboard_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clipboard, "_PROGRAMS", ())


def _session() -> FakeSession:
    session = FakeSession()
    session.library.stored = (TEXT_BUILD, LARGER, IMAGE_BUILD)
    session.chat.routes = {LARGER.id: LARGER_ROUTE, "picture": DRAWN}
    session.chat.script = ["Hello."]
    return session


def test_a_preference_goes_with_every_request_and_stands_in_the_status_line() -> None:
    session = _session()

    async def body(stand: Stand) -> None:
        await stand.type("/auto fast", "enter")
        await stand.sees("auto fast · bal")
        await stand.ask("one")
        await stand.sees("auto fast -> Oak 1B Q4_K_M · chat 90%")
        await stand.pilot.press("ctrl+n")
        await stand.ask("two")
        await stand.type("/auto", "enter")
        await stand.ask("three")
        await stand.type("/auto slowly", "enter")
        await stand.sees("! /auto takes no 'slowly'")

    drive(body, session)
    assert [request.wishes.prefer for request in session.chat.requests] == ["fast", "fast", None]


def test_the_choice_says_what_is_in_memory() -> None:
    session = _session()
    session.engines.resident = (
        EngineStatus(TEXT_BUILD.id, 731_000_000, "idle", False, 300.0),
        EngineStatus(LARGER.id, 1_200_000_000, "answering", True, 0.0),
    )

    async def body(stand: Stand) -> None:
        await stand.type("/model", "enter")
        await stand.sees("731 MB in memory, idle for 5 min")
        await stand.sees("1.2 GB in memory, answering, stays")

    drive(body, session)


def test_off_stays_with_who_answered_last_and_draws_all_the_same() -> None:
    session = _session()

    async def body(stand: Stand) -> None:
        await stand.type("/once Q8", "enter")
        await stand.ask("one")
        await stand.type("/auto off", "enter")
        await stand.sees("auto off -> Oak 1B Q8_0")
        await stand.ask("two")
        session.chat.script = [Attachment("p.png", "image/png", picture())]
        await stand.ask("/image a barn")

    drive(body, session)
    assert [request.wishes.model for request in session.chat.requests] == [LARGER.id, LARGER.id, None]


def test_a_name_with_an_ending_is_checked_at_once_and_handed_over() -> None:
    session = _session()

    async def body(stand: Stand) -> None:
        await stand.type("/model auto:cheap", "enter")
        await stand.sees("auto:cheap · bal")
        await stand.ask("one")
        await stand.type("/once oak:fast:cheap", "enter")
        await stand.sees("contradict each other")
        await stand.pilot.press("ctrl+u")
        await stand.type("/model elm:fast", "enter")
        await stand.sees("! No build is called 'elm'")

    drive(body, session)
    assert [request.wishes.model for request in session.chat.requests] == ["auto:cheap"]


def test_where_it_is_asked_for_the_pick_is_shown_and_changed_with_one_key() -> None:
    session = _session()
    session.settings = Settings(confirm_pick=True)

    async def body(stand: Stand) -> None:
        await stand.type("hello", "enter")
        await stand.sees("Oak 1B Q4_K_M answers (a short chat prompt) · at most 0.0050 cr")
        assert stand.chat.composer.box.text == ""
        await stand.pilot.press("escape")
        await stand.until(lambda: stand.chat.composer.box.text == "hello" and not stand.chat.runner.busy)
        assert session.chat.requests == []
        await stand.pilot.press("enter")
        await stand.sees("Tab other build")
        await stand.pilot.press("tab")
        await stand.sees("Oak 1B Q8_0 answers (you asked for this build)")
        await stand.pilot.press("tab")
        await stand.sees("Oak 1B Q4_K_M answers")
        await stand.pilot.press("tab")
        await stand.sees("Oak 1B Q8_0 answers")
        await stand.pilot.press("enter")
        await stand.until(lambda: session.chat.requests and not stand.chat.runner.busy)
        await stand.sees("once -> Oak 1B Q8_0 · chat 90%")
        await stand.type("/auto ask", "enter")
        await stand.ask("again")

    drive(body, session)
    assert [request.wishes.model for request in session.chat.requests] == [LARGER.id, None]


def test_leaving_with_a_question_open_keeps_the_prompt() -> None:
    session = _session()
    session.settings = Settings(confirm_pick=True)

    async def body(stand: Stand) -> None:
        await stand.type("not lost", "enter")
        await stand.until(lambda: isinstance(stand.app.screen, Question))
        await stand.pilot.press("ctrl+q")
        await stand.until(lambda: session.closed)

    drive(body, session)
    assert session.store.settings == {"draft": "not lost"}


def test_what_may_be_meant_as_a_picture_is_asked_and_d_draws() -> None:
    session = _session()
    session.chat.route = replace(ROUTE, may_be_picture=True)
    session.chat.script = [Attachment("p.png", "image/png", picture())]

    async def body(stand: Stand) -> None:
        await stand.type("foggy harbour, oil on canvas", "enter")
        await stand.sees("Is it to be drawn, or answered in words?")
        await stand.sees("Pine Sketch f16 would draw · at most 0.0050 cr")
        await stand.pilot.press("x", "d")
        await stand.until(lambda: session.chat.requests and not stand.chat.runner.busy)
        session.chat.script = ["It is foggy."]
        await stand.type("a foggy harbour", "enter")
        await stand.sees("Enter answers in words")
        await stand.pilot.press("enter")
        await stand.sees("It is foggy.")
        await stand.pilot.press("ctrl+r")
        await stand.until(lambda: len(session.chat.requests) == 3 and not stand.chat.runner.busy)

    drive(body, session)
    assert [request.wishes.picture for request in session.chat.requests] == [True, False, False]


def test_the_same_picture_is_drawn_again_as_a_picture() -> None:
    session = _session()
    session.chat.script = [Attachment("p.png", "image/png", picture())]

    async def body(stand: Stand) -> None:
        await stand.ask("/image a barn")
        await stand.pilot.press("ctrl+r")
        await stand.until(lambda: len(session.chat.requests) == 2 and not stand.chat.runner.busy)

    drive(body, session)
    assert [request.wishes.picture for request in session.chat.requests] == [True, True]


def test_asking_again_copying_and_saving_teach_and_so_does_another_build(tmp_path: Path) -> None:
    session = _session()

    async def body(stand: Stand) -> None:
        await stand.ask("hello")
        await stand.pilot.press("ctrl+y")
        await stand.until(lambda: session.experience.learned == [("m2", "copied")])
        await stand.pilot.press("ctrl+r")
        await stand.until(lambda: session.experience.learned[1:] == [("m2", "regenerated")])
        await stand.until(lambda: not stand.chat.runner.busy)
        await stand.type("/model Q8", "enter")
        await stand.ask("and now?")
        await stand.until(lambda: session.experience.learned[2:] == [("m3", "left"), ("m5", "chosen")])
        await stand.ask("fine")
        await stand.type(f"/save {tmp_path}/a.md", "enter")
        await stand.until(lambda: session.experience.learned[4:] == [("m7", "copied")])

    drive(body, session)


def test_a_build_that_gives_way_leaves_one_answer_and_a_remark() -> None:
    session = _session()
    session.chat.failed = LARGER_ROUTE
    gate = asyncio.Event()
    session.chat.script = [gate, "Hello."]

    async def body(stand: Stand) -> None:
        await stand.type("hi", "enter")
        await stand.sees("Oak 1B Q8_0 could not be loaded, Oak 1B Q4_K_M takes over")
        gate.set()
        await stand.sees("Hello.")
        await stand.sees("oak:Q8_0 could not answer, so another build does")
        assert stand.shown.count("● ") == 1
        assert "● Oak 1B Q4_K_M" in stand.shown

    drive(body, session)


def _both_route(session: FakeSession) -> None:
    session.chat.route = replace(ROUTE, runners_up=(RunnerUp(LARGER.id, 0.6, "slower"),))
    session.chat.routes[TEXT_BUILD.id] = session.chat.route


@pytest.mark.parametrize(("key", "kinds"), [("a", ["won", "lost"]), ("b", ["lost", "won"]), ("equals_sign", [])])
def test_two_builds_are_compared_blind_and_the_verdict_is_learned(key: str, kinds: list[str]) -> None:
    session = _session()
    _both_route(session)

    async def body(stand: Stand) -> None:
        await stand.ask("hello")
        await stand.type("/compare", "enter")
        await stand.sees("Oak 1B Q4_K_M and Oak 1B Q8_0 answer in turn, as A and B, in random order.")
        await stand.sees("Both are charged: at most 0.010 cr together.")
        await stand.pilot.press("enter")
        await stand.sees("a: A is better")
        assert "Oak" not in stand.shown and "oak" not in stand.shown
        await stand.pilot.press(key)
        await stand.sees("Enter or Esc closes")
        await stand.sees("● A was Oak 1B")
        await stand.pilot.press("enter")
        await stand.until(lambda: stand.app.screen is stand.chat)
        tip = {"a": "m3", "b": "m4", "equals_sign": "m4"}[key]
        assert stand.chat.conversation.path[-1].id == tip
        await stand.sees("/3")

    drive(body, session)
    assert {request.wishes.model for request in session.chat.requests[1:]} == {TEXT_BUILD.id, LARGER.id}
    assert {(request.prompt, request.parent_id) for request in session.chat.requests[1:]} == {(None, "m1")}
    assert sorted(session.experience.learned) == sorted(zip(["m3", "m4"], kinds, strict=False))


def test_the_next_prompt_is_compared_where_there_is_none_yet() -> None:
    session = _session()

    async def body(stand: Stand) -> None:
        await stand.type("/compare Q4 Q8", "enter")
        await stand.sees("The next prompt is answered by two builds")
        await stand.type("which one?", "enter")
        await stand.sees("in random order")
        await stand.pilot.press("escape")
        await stand.until(lambda: stand.chat.composer.box.text == "which one?")
        assert session.chat.requests == []
        stand.chat.composer.put("")
        await stand.type("/compare Q4 Q8", "enter")
        await stand.type("which one?", "enter")
        await stand.sees("in random order")
        await stand.pilot.press("enter")
        await stand.sees("a: A is better")
        await stand.pilot.press("escape")
        await stand.sees("which one?")
        await stand.sees("2/2")

    drive(body, session)
    assert [request.prompt for request in session.chat.requests] == ["which one?", None]
    assert session.experience.learned == []


def test_a_comparison_can_be_stopped_and_is_refused_where_there_is_nothing_to_compare() -> None:
    session = _session()
    _both_route(session)

    async def body(stand: Stand) -> None:
        await stand.ask("hello")
        await stand.type("/compare Q4 oak:Q4_K_M", "enter")
        await stand.sees("! That is the same build twice")
        await stand.type("/compare Q4", "enter")
        await stand.sees("! A comparison takes two builds")
        stand.chat.composer.put("")
        session.chat.script = ["half", asyncio.Event()]
        await stand.type("/compare", "enter")
        await stand.sees("in random order")
        await stand.pilot.press("enter")
        await stand.sees("half")
        await stand.pilot.press("escape")
        await stand.sees("Stopped; what was written is kept")
        await stand.pilot.press("a", "enter")
        await stand.until(lambda: stand.app.screen is stand.chat)
        await stand.sees("2/2")

    drive(body, session)
    assert (len(session.chat.requests), session.experience.learned) == (2, [])


def test_a_comparison_of_which_one_cannot_be_loaded_is_not_judged() -> None:
    session = _session()
    _both_route(session)

    async def body(stand: Stand) -> None:
        await stand.ask("hello")
        session.chat.script = ["half", EngineFailed("the file is damaged", "nanolocal models verify")]
        await stand.type("/compare", "enter")
        await stand.sees("in random order")
        await stand.pilot.press("enter")
        await stand.sees("! The file is damaged")
        await stand.pilot.press("a", "escape")
        await stand.until(lambda: not isinstance(stand.app.screen, CompareScreen))

    drive(body, session)
    assert session.experience.learned == []
