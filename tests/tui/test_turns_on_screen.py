import asyncio
from dataclasses import replace
from threading import Event

import pytest
from textual.events import Key
from textual.widgets import Markdown
from textual.widgets._collapsible import CollapsibleTitle
from textual.widgets._markdown import MarkdownBlock

from nanolocal.chat.events import (
    ContextDropped,
    CostSoFar,
    FirstUse,
    ImageStep,
    Loading,
    NotRead,
    Reading,
    ReasoningDelta,
    SourceFound,
)
from nanolocal.chat.messages import Attachment, Message, Role, Source
from nanolocal.chat.ports import StoredMessage
from nanolocal.errors import EngineFailed, OutOfCredit
from nanolocal.tui import attach
from nanolocal.tui.widgets.answer import AnswerView
from nanolocal.tui.widgets.composer import Composer, PromptBox
from nanolocal.tui.widgets.foot import Foot
from nanolocal.tui.widgets.picture import PictureView
from tests.fakes.session import ROUTE, FakeSession
from tests.tui.driving import Stand, drive, picture


def test_an_answer_is_streamed_and_gets_its_receipt() -> None:
    session = FakeSession()
    session.chat.script = ["Hello ", "**there", "**."]

    async def body(stand: Stand) -> None:
        await stand.ask("hi")
        await stand.sees("Hello there.")
        await stand.sees("oak:Q4_K_M · chat · 2 tokens · 18.4 tok/s · 0.00042 cr")
        await stand.sees("auto -> Oak 1B Q4_K_M · chat 90% · 18.4 tok/s · 122/4.1k ctx · bal 0.096")
        assert stand.chat.composer.box.text == ""

    drive(body, session)


def test_a_prompt_that_is_sent_while_the_last_lines_are_drawn_follows_them() -> None:
    session = FakeSession()
    session.chat.script = ["Hello."]
    drawn, path = Event(), session.store.path

    def slow_path(chat_id: str, tip_id: str | None = None) -> list[StoredMessage]:
        assert drawn.wait(10)
        return path(chat_id, tip_id)

    session.store.path = slow_path  # type: ignore[method-assign]

    async def body(stand: Stand) -> None:
        await stand.type("first", "enter")
        await stand.until(lambda: stand.chat.runner.is_ending)
        await stand.type("second", "enter")
        drawn.set()
        await stand.until(lambda: len(session.chat.requests) == 2)
        assert session.chat.requests[1].prompt == "second"
        assert session.chat.requests[1].parent_id is not None

    drive(body, session)


def test_a_second_prompt_is_its_own_though_the_first_was_still_in_the_box(monkeypatch: pytest.MonkeyPatch) -> None:
    session = FakeSession()
    session.chat.script = ["Hello."]
    typed, split, submitted = Event(), attach.split, Composer.on_prompt_box_submitted
    entered: list[str] = []

    def slow_split(text: str) -> attach.Prompt:
        assert typed.wait(10)
        return split(text)

    def noted(composer: Composer, event: PromptBox.Submitted) -> None:
        submitted(composer, event)
        entered.append(event.text)

    monkeypatch.setattr(attach, "split", slow_split)
    monkeypatch.setattr(Composer, "on_prompt_box_submitted", noted)

    async def body(stand: Stand) -> None:
        box = stand.chat.composer.box
        for number, text in enumerate(("first ", "second"), 1):
            box.insert(text)
            box.post_message(Key("enter", "\r"))  # the pilot would wait for the screen
            while len(entered) < number:
                await asyncio.sleep(0.01)
        typed.set()
        await stand.until(lambda: not stand.chat.runner.busy and (len(session.chat.requests) == 2 or box.text))
        if box.text:  # the first was still being answered
            assert box.text == "second"
            await stand.pilot.press("enter")
        await stand.until(lambda: len(session.chat.requests) == 2)

    drive(body, session)
    assert entered[:2] == ["first ", "first second"]
    assert [request.prompt for request in session.chat.requests] == ["first ", "second"]


def test_where_an_answer_is_from_stands_below_it() -> None:
    session = FakeSession()
    session.chat.route = replace(ROUTE, is_told=True)
    session.chat.script = [SourceFound(Source("Moon", "A satellite.", "CC BY-SA 3.0", "Wikipedia")), "A satellite."]

    async def body(stand: Stand) -> None:
        await stand.ask("What is the Moon?")
        await stand.sees("● nanolocal itself")
        await stand.sees("Source: Moon, Wikipedia, CC BY-SA 3.0")
        await stand.sees("nanolocal itself · chat · 18.4 tok/s · 0.00042 cr")

    drive(body, session)


def test_a_stored_answer_tells_where_it_is_from() -> None:
    session = FakeSession()
    source = Source("Moon", "A satellite.", "CC0", "Wikipedia", "[Known: A satellite.]")
    prompt = session.store.add("c1", None, Message(Role.USER, "What is the Moon?"))
    session.store.add("c1", prompt, Message(Role.ASSISTANT, "It is ours."), build_id="oak:Q4_K_M", sources=(source,))

    async def body(stand: Stand) -> None:
        await stand.pilot.press("ctrl+o")
        await stand.pilot.press("enter")
        await stand.sees("It is ours.")
        await stand.sees("Source: A satellite. [Wikipedia, CC0]")

    drive(body, session)


def test_every_phase_is_named() -> None:
    session = FakeSession()
    gates = [asyncio.Event() for _ in range(4)]
    session.chat.script = [
        *(Loading("oak:Q4_K_M", 0.42), gates[0], Reading(30, 120, 10), gates[1]),
        *(ContextDropped(12, 900), "word", gates[2]),
    ]

    async def body(stand: Stand) -> None:
        await stand.type("hi", "enter")
        await stand.sees("loading 42% · Esc stops")
        gates[0].set()
        await stand.sees("reading 25% of 120 tokens, 10 still in memory")
        gates[1].set()
        await stand.sees("The oldest 12 messages (900 tokens) did not fit and were left out; they")
        await stand.sees("stay in the conversation.")
        await stand.sees("writing · 1 token")
        gates[2].set()
        await stand.sees("oak:Q4_K_M · chat")

    drive(body, session)


def test_what_is_thought_is_folded_and_no_part_of_the_answer() -> None:
    session = FakeSession()
    gate = asyncio.Event()
    session.chat.script = [ReasoningDelta("Two and\x1b[2J two", 3), gate, "Four."]

    async def body(stand: Stand) -> None:
        await stand.type("2 + 2", "enter")
        await stand.sees("▶ thinking")
        await stand.sees("thinking · 3 tokens")
        await stand.misses("Two and")
        await stand.pilot.click(CollapsibleTitle)
        await stand.sees("Two and␛[2J two")
        gate.set()
        await stand.sees("▼ thought; it is not kept")
        await stand.sees("Four.")
        assert stand.app.screen.query_one(AnswerView).text == "Four."

    drive(body, session)


STREAMED = {
    "every kind of block": (
        "# Title\n\n- a\n- b\n\n```python\nx = 1\n\ny = 2\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n> said\n\nEnd."
    ),
    "a fence left open": "Look:\n\n```python\nx = 1\n\ny = 2",
    "a list that grows loose": "1. a\n2. b\n\n   more of b\n3. c\n\nafter",
    "a link defined at the end": "See [the page][p] and [more][p].\n\nText.\n\n[p]: https://example.org\n",
    "a heading underlined": "Title\n=====\n\ntext\n\n---\n\n<b>html</b>\n\nlast",
}


@pytest.mark.parametrize("text", STREAMED.values(), ids=STREAMED)
def test_the_end_state_of_a_stream_equals_one_render(text: str) -> None:
    session = FakeSession()
    session.chat.script = [text[place : place + 3] for place in range(0, len(text), 3)]

    def blocks(markdown: Markdown) -> list[str]:
        return [
            f"{type(block).__name__} {block.visual if isinstance(block, MarkdownBlock) else ''}"
            for block in markdown.walk_children()
        ]

    async def body(stand: Stand) -> None:
        await stand.ask("show me")
        streamed = stand.chat.query_one(Markdown)
        once = Markdown()
        await stand.chat.mount(once)
        await once.update(text)
        assert streamed.source == text
        assert blocks(streamed) == blocks(once)

    drive(body, session)


def test_stop_keeps_the_partial_answer() -> None:
    session = FakeSession()
    session.chat.script = ["Once upon a time", asyncio.Event(), " never said"]

    async def body(stand: Stand) -> None:
        await stand.type("tell", "enter")
        await stand.sees("Once upon a time")
        await stand.pilot.press("escape")
        await stand.sees("stopped, kept")
        await stand.sees("Once upon a time")
        assert not stand.chat.runner.busy

    drive(body, session)
    assert [stored.message.text for stored in session.store.messages["c1"]] == ["tell", "Once upon a time"]
    assert session.engines.killed == []


def test_a_second_escape_kills_the_engine() -> None:
    session = FakeSession()
    session.chat.ignores_stop = True
    session.chat.script = ["Once", asyncio.Event()]

    async def body(stand: Stand) -> None:
        await stand.type("tell", "enter")
        await stand.sees("Once")
        await stand.pilot.press("escape")
        await stand.sees("stopping · Esc again ends the engine")
        assert stand.session.engines.killed == []
        await stand.pilot.press("escape")
        await stand.sees("engine died, kept")

    drive(body, session)
    assert session.engines.killed == ["oak:Q4_K_M"]


def test_a_stop_before_the_first_word_says_that_nothing_was_charged() -> None:
    session = FakeSession()
    session.chat.script = [Loading("oak:Q4_K_M", 0.1), asyncio.Event()]

    async def body(stand: Stand) -> None:
        await stand.type("tell", "enter")
        await stand.sees("loading 10%")
        await stand.pilot.press("escape")
        await stand.sees("stopped before the first word, nothing charged")

    drive(body, session)


def test_a_refusal_is_one_calm_line_and_gives_the_prompt_back() -> None:
    session = FakeSession()
    session.chat.script = [OutOfCredit("the balance does not cover this", "top up: nanolocal credits topup")]

    async def body(stand: Stand) -> None:
        await stand.ask("tell me everything")
        await stand.sees("! The balance does not cover this · /topup AMOUNT adds credit")
        assert stand.chat.composer.box.text == "tell me everything"
        assert stand.chat.transcript.views == []
        assert "Traceback" not in stand.shown
        stand.session.chat.script = ["Now it works."]
        await stand.pilot.press("enter")
        await stand.sees("Now it works.")
        await stand.misses("does not cover")

    drive(body, session)
    assert "c1" in session.store.messages


def test_an_engine_that_fails_after_the_prompt_was_stored_leaves_it_there() -> None:
    session = FakeSession()
    session.chat.script = [Loading("oak:Q4_K_M", 0.5), EngineFailed("the engine ended", "nanolocal doctor")]

    async def body(stand: Stand) -> None:
        await stand.ask("hi")
        await stand.sees("! The engine ended · nanolocal doctor · Ctrl+R tries again")
        assert stand.chat.composer.box.text == ""
        stand.session.chat.script = ["Hello."]
        await stand.pilot.press("ctrl+r")
        await stand.sees("Hello.")
        assert len(stand.chat.transcript.views) == 1

    drive(body, session)
    assert [request.prompt for request in session.chat.requests] == ["hi", None]


def test_a_licence_is_told_above_the_first_answer() -> None:
    session = FakeSession()
    session.chat.script = [FirstUse("oak:Q4_K_M", "Oak answers for the first time. Licence: MIT\x1b[2J"), "Hello."]

    async def body(stand: Stand) -> None:
        await stand.ask("hi")
        await stand.sees("Hello.")
        await stand.sees("Oak answers for the first time. Licence: MIT␛[2J")

    drive(body, session)


def test_a_fault_in_a_turn_shows_its_kind_and_no_value() -> None:
    session = FakeSession()

    def fail(limit: object) -> None:
        raise KeyError("private text")

    session.chat.turn = fail  # type: ignore[assignment, method-assign]

    async def body(stand: Stand) -> None:
        await stand.type("secret question", "enter")
        await stand.sees("An unexpected fault ended the answer")
        assert "private text" not in stand.shown

    drive(body, session)


def test_scrolling_up_stays_while_text_arrives_and_the_end_follows_again() -> None:
    session = FakeSession()
    gate = asyncio.Event()
    session.chat.script = ["line\n\n" * 60, gate, "more\n\n" * 60, "the end"]

    async def body(stand: Stand) -> None:
        transcript = stand.chat.transcript
        await stand.type("long", "enter")
        await stand.until(lambda: transcript.max_scroll_y > 60 and transcript.follows)
        await stand.pilot.press("pageup", "pageup")
        await stand.until(lambda: not transcript.follows and transcript.scroll_y == transcript.scroll_target_y)
        place, height = transcript.scroll_y, transcript.max_scroll_y
        gate.set()
        await stand.until(lambda: transcript.max_scroll_y > height + 30)
        assert transcript.scroll_y == place
        await stand.pilot.press("end")
        await stand.sees("the end")
        assert transcript.follows

    drive(body, session)


def test_a_picture_is_drawn_step_by_step_and_then_shown() -> None:
    session = FakeSession()
    gate = asyncio.Event()
    session.chat.script = [
        ImageStep(4, 12, picture(8, 8, (0, 0, 255))),
        gate,
        Attachment("p.png", "image/png", picture()),
    ]

    async def body(stand: Stand) -> None:
        await stand.type("/image a red barn", "enter")
        await stand.sees("drawing, step 4 of 12")
        drawn = stand.chat.query_one(PictureView)
        assert (drawn.size.width, drawn.size.height) == (8, 4)
        gate.set()
        await stand.sees("0.00042 cr")
        shown = stand.chat.query_one(PictureView)
        assert (shown.size.width, shown.size.height) == (24, 8)
        assert "▀" * 24 in stand.shown

    drive(body, session)
    assert session.chat.requests[0].wishes.picture
    assert session.chat.requests[0].prompt == "a red barn"


def test_while_a_picture_is_drawn_the_line_tells_the_time_left_and_the_cost_so_far() -> None:
    session = FakeSession()
    gates = [asyncio.Event(), asyncio.Event(), asyncio.Event()]
    session.chat.script = [
        ImageStep(1, 9, picture(8, 8, (0, 0, 255))),
        gates[0],
        ImageStep(3, 9, picture(8, 8, (0, 255, 0))),
        CostSoFar(310),
        gates[1],
        ImageStep(1, 9),
        gates[2],
        Attachment("p.png", "image/png", picture()),
    ]
    now = 0.0

    async def body(stand: Stand) -> None:
        nonlocal now
        stand.chat.runner._clock = lambda: now
        await stand.type("/image a red barn", "enter")
        await stand.sees("drawing, step 1 of 9 · Esc stops")
        preview = stand.chat.query_one(PictureView)
        now = 5.0
        gates[0].set()
        await stand.sees("drawing, step 3 of 9 · 15 s left · 0.00031 cr so far")
        assert stand.chat.query_one(PictureView) is preview
        assert preview.data == picture(8, 8, (0, 255, 0))
        gates[1].set()
        await stand.sees("drawing, step 1 of 9 · 0.00031 cr so far")
        gates[2].set()
        await stand.sees("0.00042 cr")

    drive(body, session)


@pytest.mark.parametrize(("width", "rows"), [(120, 1), (80, 2), (40, 4)])
def test_several_pictures_are_beside_one_another_where_there_is_room(width: int, rows: int) -> None:
    session = FakeSession()
    session.chat.script = [
        Attachment(f"{n}.png", "image/png", picture(20, 16, (n * 60, 0, 0))) for n in range(3 if rows == 1 else 4)
    ]

    async def body(stand: Stand) -> None:
        await stand.ask("/image a red barn")
        await stand.until(lambda: len(stand.chat.query(PictureView)) == len(session.chat.script))
        await stand.pilot.pause()
        views = list(stand.chat.query(PictureView))
        assert len({view.region.y for view in views}) == rows
        assert all(view.size.width >= 20 and view.size.height == 8 and view.region.right <= width for view in views), [
            view.region for view in views
        ]
        assert len({(view.region.x, view.region.y) for view in views}) == len(views)
        await stand.chat.open_chat(stand.chat.conversation.chat_id)
        await stand.until(lambda: len(stand.chat.query(PictureView)) == len(session.chat.script))

    drive(body, session, (width, 60))


def test_esc_stops_a_picture_and_leaves_nothing_of_it() -> None:
    session = FakeSession()
    session.chat.script = [ImageStep(1, 9, picture(8, 8, (0, 0, 255))), asyncio.Event()]

    async def body(stand: Stand) -> None:
        await stand.type("/image a red barn", "enter")
        await stand.until(lambda: stand.chat.query(PictureView))
        await stand.pilot.press("escape")
        await stand.until(lambda: not stand.chat.runner.busy)
        await stand.sees("nothing charged")
        await stand.until(lambda: not stand.chat.query(PictureView))

    drive(body, session)


def test_a_picture_that_cannot_be_read_is_a_line_of_text() -> None:
    session = FakeSession()
    session.chat.script = [Attachment("p.png", "image/png", b"\x89PNG broken")]

    async def body(stand: Stand) -> None:
        await stand.ask("/image x")
        await stand.sees("the picture cannot be read")

    drive(body, session)


def test_control_characters_never_reach_the_screen() -> None:
    evil = "a\x1b[31mred\x1b]0;title\x07 \x9b2J b\u202ec"
    session = FakeSession()
    session.store.add_turns("c1", [(evil, evil)], title=evil)
    session.library.stored = tuple(session.library.stored)

    async def body(stand: Stand) -> None:
        await stand.chat.open_chat("c1")
        await stand.sees("␛[31mred")
        pages = [stand.shown]
        await stand.pilot.press("ctrl+o")
        await stand.sees("Conversations")
        await stand.sees("␛[31mred")
        pages.append(stand.shown)
        await stand.pilot.press("r", "e", "d")
        await stand.pilot.pause(0.3)
        await stand.sees("␛[31mred")
        pages.append(stand.shown)
        for page in pages:
            assert not [character for character in page if character != "\n" and ord(character) < 32]
            assert "\x9b" not in page and "\u202e" not in page

    drive(body, session)


def test_a_long_conversation_mounts_at_most_twenty_turns() -> None:
    session = FakeSession()
    session.store.add_turns("c1", [(f"question {n}", f"answer {n}") for n in range(500)])

    async def body(stand: Stand) -> None:
        transcript = stand.chat.transcript
        await stand.chat.open_chat("c1")
        await stand.sees("answer 499")
        assert 0 < len(transcript.views) <= 20
        for _ in range(6):
            await transcript.load_earlier()
            assert len(transcript.views) <= 20
        await stand.until(lambda: transcript.views[0].query(AnswerView).first().text == "answer 458")
        for _ in range(9):
            await transcript.load_later()
            assert len(transcript.views) <= 20
        assert transcript.views[-1].query(AnswerView).first().text == "answer 499"
        stand.session.chat.script = ["fresh"]
        await stand.ask("one more")
        assert len(transcript.views) <= 20
        assert len(stand.chat.conversation.turns) == 501

    drive(body, session)


def test_loading_earlier_turns_keeps_the_reader_in_place() -> None:
    session = FakeSession()
    session.store.add_turns("c1", [(f"question {n}", f"answer {n}") for n in range(40)])

    async def body(stand: Stand) -> None:
        transcript = stand.chat.transcript
        await stand.chat.open_chat("c1")
        await stand.sees("answer 39")
        transcript.scroll_to(y=0, animate=False)
        await stand.sees("34 earlier turns")
        await stand.sees("question 34")
        await stand.pilot.press("pageup")
        await stand.until(lambda: len(transcript.views) == 12)
        await stand.sees("question 34")
        assert transcript.scroll_offset.y > 0

    drive(body, session)


def test_the_receipt_fits_a_narrow_screen() -> None:
    session = FakeSession()
    session.chat.script = ["Hello."]

    async def body(stand: Stand) -> None:
        await stand.ask("hi")
        await stand.until(lambda: stand.chat.query_one(Foot).text.startswith("oak"))
        foot = stand.chat.query_one(Foot)
        assert foot.text == "oak:Q4_K_M · chat · 1 token · 0.00042 cr"
        assert max(len(line) for line in stand.shown.splitlines()) <= 48

    drive(body, session, size=(48, 16))


def test_what_was_left_out_of_an_answer_is_said_again_when_it_is_read_back() -> None:
    session = FakeSession()
    prompt = session.store.add("c1", None, Message(Role.USER, "and on"))
    session.store.add("c1", prompt, Message(Role.ASSISTANT, "It went on."), dropped_tokens=1240)
    drawn = session.store.add("c1", session.store.path("c1")[-1].id, Message(Role.USER, "draw it"))
    image = (Attachment("picture.png", "image/png", picture()),)
    session.store.add("c1", drawn, Message(Role.ASSISTANT, "", image), dropped_tokens=7)

    async def body(stand: Stand) -> None:
        await stand.chat.open_chat("c1")
        await stand.sees("The oldest messages (1,240 tokens) did not fit and were left out; they stay in")
        await stand.sees("The end of the prompt (7 tokens) did not fit and was not drawn;")

    drive(body, session, (100, 40))


def test_what_the_model_does_not_read_is_said_at_the_answer() -> None:
    session = FakeSession()
    session.chat.script = [NotRead("notes.txt was not read."), "word"]

    async def body(stand: Stand) -> None:
        await stand.ask("hi")
        await stand.sees("notes.txt was not read.")

    drive(body, session)
