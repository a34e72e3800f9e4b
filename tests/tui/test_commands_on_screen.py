import asyncio
from pathlib import Path

import pytest
from textual.binding import Binding
from textual.events import Key
from textual.widgets import Input

from nanolocal.chat.commands import COMMANDS
from nanolocal.chat.messages import Attachment, Message, Role
from nanolocal.tui import clipboard
from nanolocal.tui.screens.chat import ChatScreen
from nanolocal.tui.screens.chats import ChatsScreen
from nanolocal.tui.widgets.answer import AnswerView
from tests.fakes.homes import home
from tests.fakes.session import FakeProblem, FakeSession
from tests.tui.driving import Stand, drive, picture


@pytest.fixture(autouse=True)
def _no_clipboard_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clipboard, "_PROGRAMS", ())


def _talked() -> FakeSession:
    session = FakeSession()
    session.store.add_turns("c1", [("first question", "first answer"), ("second question", "second answer")])
    return session


def test_enter_sends_and_the_other_keys_start_a_new_line() -> None:
    session = FakeSession()

    async def body(stand: Stand) -> None:
        box = stand.chat.composer.box
        await stand.pilot.press("a", "ctrl+j", "b", "shift+enter", "c", "backslash", "enter", "d")
        assert box.text == "a\nb\nc\nd"
        assert box.size.height == 4
        assert session.chat.requests == []
        await stand.pilot.press("enter")
        await stand.until(lambda: session.chat.requests)
        assert session.chat.requests[0].prompt == "a\nb\nc\nd"

    drive(body, session)


def test_the_box_grows_to_ten_lines() -> None:
    async def body(stand: Stand) -> None:
        await stand.type("\n".join("line" for _ in range(30)))
        await stand.until(lambda: stand.chat.composer.box.size.height == 10)

    drive(body)


def test_the_menu_shows_the_table_while_a_command_is_typed() -> None:
    async def body(stand: Stand) -> None:
        await stand.pilot.press("slash")
        await stand.until(lambda: stand.chat.composer.menu.option_count == len(COMMANDS))
        await stand.pilot.press("c", "r")
        await stand.until(lambda: stand.chat.composer.menu.option_count == 1)
        await stand.sees("balance, budgets and the last")
        await stand.pilot.press("escape")
        await stand.misses("balance, budgets and the last")
        assert stand.chat.composer.box.text == "/cr"

    drive(body)


def test_the_menu_runs_the_row_that_is_marked() -> None:
    async def body(stand: Stand) -> None:
        await stand.pilot.press("slash", "h", "enter")
        await stand.sees("Keys")
        await stand.pilot.press("escape")
        await stand.misses("Esc closes")
        await stand.pilot.press("slash", "down", "down", "down", "down", "tab")
        assert stand.chat.composer.box.text == "/once "

    drive(body)


def test_keys_that_come_faster_than_the_list_are_not_lost() -> None:
    async def body(stand: Stand) -> None:
        await stand.pilot.press("slash", "a")
        await stand.until(lambda: stand.chat.composer.menu.display)
        box = stand.chat.composer.box
        box.insert("ttach /nowhere.png")
        box.post_message(Key("enter", None))
        box.post_message(Key("x", "x"))
        await stand.sees("No such file: /nowhere.png")
        assert box.text == "x"

    drive(body)


def test_help_and_palette_know_every_command() -> None:
    async def body(stand: Stand) -> None:
        await stand.pilot.press("f1")
        for command in COMMANDS:
            await stand.sees(command.usage)
        await stand.pilot.press("escape")
        offered = {each.title for each in stand.app.get_system_commands(stand.chat)}
        assert offered == {command.name for command in COMMANDS}

    drive(body, size=(100, 60))


def test_every_binding_has_an_id() -> None:
    async def body(stand: Stand) -> None:
        assert ChatScreen.BINDINGS
        assert all(isinstance(binding, Binding) and binding.id for binding in ChatScreen.BINDINGS)
        stand.app.set_keymap({"new": "f9"})
        await stand.chat.open_chat("c1")
        await stand.sees("first answer")
        await stand.pilot.press("f9")
        await stand.misses("first answer")

    drive(body, _talked())


def test_an_unknown_command_is_refused_calmly() -> None:
    async def body(stand: Stand) -> None:
        await stand.type("/nonsense", "enter")
        await stand.sees("! There is no command /nonsense · /help lists them all.")
        assert stand.chat.composer.box.text == "/nonsense"

    assert drive(body).chat.requests == []


def test_regenerate_keeps_both_answers_as_branches() -> None:
    session = FakeSession()

    async def body(stand: Stand) -> None:
        session.chat.script = ["the first try"]
        await stand.ask("tell")
        session.chat.script = ["the second try"]
        await stand.pilot.press("ctrl+r")
        await stand.sees("the second try")
        await stand.sees("2/2")
        await stand.misses("the first try")
        await stand.pilot.press("alt+left")
        await stand.sees("the first try")
        await stand.sees("1/2")
        await stand.pilot.press("alt+right")
        await stand.sees("the second try")
        await stand.ask("and on")
        assert session.chat.requests[-1].parent_id == session.store.messages["c1"][2].id

    drive(body, session)
    assert len(session.store.messages["c1"]) == 5


def test_edit_makes_a_branch_beside_the_last_prompt() -> None:
    session = _talked()

    async def body(stand: Stand) -> None:
        await stand.chat.open_chat("c1")
        await stand.pilot.press("ctrl+e")
        box = stand.chat.composer.box
        assert box.text == "second question"
        session.chat.script = ["another answer"]
        await stand.type(", changed", "enter")
        await stand.sees("second question, changed")
        await stand.sees("You  2/2")
        await stand.misses("second answer")
        assert not stand.chat.runner.busy
        await stand.pilot.press("alt+left")
        await stand.sees("second answer")
        await stand.pilot.press("alt+right")
        await stand.sees("another answer")

    drive(body, session)
    prompts = [stored for stored in session.store.messages["c1"] if stored.message.text.startswith("second question")]
    assert prompts[0].parent_id == prompts[1].parent_id


def test_editing_the_first_prompt_starts_at_the_beginning() -> None:
    session = FakeSession()
    session.store.add_turns("c1", [("only question", "answer")])

    async def body(stand: Stand) -> None:
        await stand.chat.open_chat("c1")
        await stand.pilot.press("ctrl+e")
        await stand.pilot.press("x", "enter")
        await stand.until(lambda: session.chat.requests and not stand.chat.runner.busy)
        assert session.chat.requests[0].parent_id == ""
        await stand.sees("2/2")

    drive(body, session)


def test_escape_leaves_editing() -> None:
    async def body(stand: Stand) -> None:
        await stand.chat.open_chat("c1")
        await stand.pilot.press("ctrl+e")
        assert stand.chat.composer.box.text == "second question"
        await stand.pilot.press("escape")
        await stand.misses("Change the prompt")
        assert stand.chat.composer.box.text == ""

    drive(body, _talked())


def test_the_list_shows_titles_then_what_a_search_finds() -> None:
    session = _talked()
    session.store.add_turns("c2", [("Weather in Oslo", "Cool and wet")], title="Oslo")

    async def body(stand: Stand) -> None:
        await stand.pilot.press("ctrl+o")
        await stand.sees("Oslo")
        await stand.sees("first question")
        await stand.pilot.press(*"wet")
        await stand.sees("Cool and wet")
        await stand.misses("first question")
        await stand.pilot.press("enter")
        await stand.until(lambda: stand.app.screen is stand.chat)
        await stand.sees("Weather in Oslo")
        assert stand.chat.conversation.chat_id == "c2"

    drive(body, session)


def test_a_hit_opens_its_conversation_at_the_message() -> None:
    session = FakeSession()
    session.store.add_turns("c1", [(f"question {n}", f"answer number {n}.") for n in range(60)])

    async def body(stand: Stand) -> None:
        await stand.pilot.press("ctrl+o")
        await stand.pilot.press(*"number 20.")
        await stand.sees("answer number 20.")
        await stand.pilot.press("enter")
        await stand.until(lambda: stand.app.screen is stand.chat)
        await stand.sees("question 20")
        await stand.misses("question 59")
        assert len(stand.chat.transcript.views) <= 20

    drive(body, session)


def test_a_hit_on_another_branch_opens_that_branch_to_its_end_and_marks_the_message() -> None:
    session = _talked()
    first, hidden, *_ = session.store.path("c1")
    other = session.store.add("c1", first.id, Message(Role.ASSISTANT, "the heron's answer"), build_id="oak:Q4_K_M")
    end = session.store.add("c1", other, Message(Role.USER, "where the heron went"))
    newest = session.store.add("c1", hidden.id, Message(Role.USER, "elsewhere"))

    async def body(stand: Stand) -> None:
        await stand.chat.open_chat("c1")
        assert stand.chat.conversation.path[-1].id == newest
        await stand.pilot.press("ctrl+o", *"heron's")
        await stand.sees("the heron's answer")
        await stand.pilot.press("enter")
        await stand.sees("where the heron went")
        assert stand.chat.conversation.path[-1].id == end
        await stand.until(lambda: [view.text for view in stand.chat.query(AnswerView) if view.has_class("found")])
        (marked,) = (view for view in stand.chat.query(AnswerView) if view.has_class("found"))
        assert marked.text == "the heron's answer"
        await stand.until(lambda: not marked.has_class("found"))

    drive(body, session)


def test_a_long_answer_that_was_found_begins_on_the_screen() -> None:
    session = FakeSession()
    session.store.add_turns("c1", [(f"question {n}\n\n" * 15, f"answer number {n}. " * 90) for n in range(9)])

    async def body(stand: Stand) -> None:
        answer = session.store.path("c1")[7]
        await stand.chat.open_chat("c1", answer.id)
        await stand.sees("answer number 3.")
        lines = stand.shown.splitlines()
        assert any(line.startswith("  ● Oak 1B") for line in lines[:4])

    drive(body, session, (60, 16))


def test_a_filter_that_is_only_begun_says_what_it_takes_and_hides_nothing(tmp_path: Path) -> None:
    session = _talked()
    with home(tmp_path / "home") as here:
        session.store.search = here.store.search  # type: ignore[assignment]
        here.turn("Weather in Oslo?", "Cool, and often wet.", title="Oslo")

        async def body(stand: Stand) -> None:
            await stand.pilot.press("ctrl+o")
            await stand.sees("first question")
            for typed, hint in (
                ("since:", "since: takes 2026-11-24, today, yesterday or 7d"),
                ("since:2", "since: takes 2026-11-24, today, yesterday or 7d"),
                ("has:", "has: takes picture"),
                ("from:m", "from: takes me or model"),
            ):
                stand.app.screen.query_one(Input).value = typed
                await stand.sees(hint)
                await stand.sees("first question")
                assert "!" not in stand.shown
            stand.app.screen.query_one(Input).value = "since:2 wet"
            await stand.sees("2 is no day: write 2026-11-24, today, yesterday or 7d")
            stand.app.screen.query_one(Input).value = "wet from:"
            await stand.sees("Cool, and often wet.")
            stand.app.screen.query_one(Input).value = "wet from:model"
            await stand.sees("Cool, and often wet.")
            stand.app.screen.query_one(Input).value = "wet from:me "
            await stand.sees("Fewer words find more; the last may be unfinished.")
            await stand.sees("Enter opens")

        drive(body, session, (60, 16))


def test_delete_asks_first() -> None:
    session = _talked()
    session.store.add_turns("c2", [("keep me", "yes")], title="Kept")

    async def body(stand: Stand) -> None:
        await stand.chat.open_chat("c1")
        await stand.pilot.press("ctrl+o")
        await stand.sees("Kept")
        await stand.pilot.press("down", "delete")
        await stand.sees("Erase this conversation?")
        await stand.pilot.press("n")
        await stand.until(lambda: isinstance(stand.app.screen, ChatsScreen))
        assert set(session.store.messages) == {"c1", "c2"}
        await stand.pilot.press("delete")
        await stand.sees("Erase this conversation?")
        await stand.pilot.press("y")
        await stand.until(lambda: set(session.store.messages) == {"c2"})
        await stand.misses("first question")
        await stand.pilot.press("escape")
        await stand.sees("Ask anything")
        assert stand.chat.conversation.chat_id is None

    drive(body, session)


def test_the_list_fills_a_narrow_screen() -> None:
    async def body(stand: Stand) -> None:
        await stand.pilot.press("ctrl+o")
        await stand.until(lambda: isinstance(stand.app.screen, ChatsScreen))
        panel = stand.app.screen.query_one(".panel")
        await stand.until(lambda: panel.size.width > 0)
        assert panel.region.width == (stand.app.size.width if stand.app.size.width < 90 else 84)

    drive(body, size=(80, 24))
    drive(body, size=(120, 40))


def test_a_pinned_model_goes_with_every_request_and_once_with_one() -> None:
    session = FakeSession()
    session.library.unusable = (FakeProblem(Path("bad.gguf"), "not a GGUF file"),)

    async def body(stand: Stand) -> None:
        await stand.pilot.press("ctrl+t")
        await stand.sees("812 MB")
        await stand.sees("bad.gguf: not a GGUF file")
        await stand.pilot.press("down", "enter")
        await stand.sees("pinned -> Oak 1B Q4_K_M")
        await stand.ask("one")
        await stand.type("/once pine", "enter")
        await stand.sees("once -> Pine Sketch f16")
        await stand.ask("two")
        await stand.ask("three")
        await stand.type("/auto", "enter")
        await stand.ask("four")

    drive(body, session)
    assert [request.wishes.model for request in session.chat.requests] == ["oak:Q4_K_M", "pine:f16", "oak:Q4_K_M", None]


def test_why_shows_reasons_runners_up_and_rejected_ones() -> None:
    session = FakeSession()
    session.chat.script = ["Hello."]

    async def body(stand: Stand) -> None:
        await stand.ask("hi")
        await stand.type("/why", "enter")
        for text in ("Oak 1B answered as chat", "best quality that fits", "oak:Q8_0  0.66", "elm:Q4_K_M  memory"):
            await stand.sees(text)
        await stand.pilot.press("escape")
        await stand.until(lambda: stand.app.screen is stand.chat)

    drive(body, session)


def test_why_explains_an_answer_that_is_still_written() -> None:
    session = FakeSession()
    session.chat.script = ["half", asyncio.Event()]

    async def body(stand: Stand) -> None:
        await stand.type("hi", "enter")
        await stand.sees("half")
        await stand.type("/why", "enter")
        await stand.sees("Oak 1B answered as chat")
        await stand.pilot.press("escape", "escape")

    drive(body, session)


def test_copy_says_honestly_where_the_text_went() -> None:
    async def body(stand: Stand) -> None:
        await stand.chat.open_chat("c1")
        await stand.pilot.press("ctrl+y")
        await stand.sees("Handed to the terminal to copy")
        assert stand.app.clipboard == "second answer"

    drive(body, _talked())


def test_control_c_copies_then_stops_then_says_how_to_quit() -> None:
    session = _talked()
    session.chat.script = ["half", asyncio.Event()]

    async def body(stand: Stand) -> None:
        await stand.pilot.press("ctrl+c")
        await stand.sees("Press Ctrl+Q to quit.")
        stand.chat.composer.put("copy this")
        stand.chat.composer.box.select_all()
        await stand.pilot.press("ctrl+c")
        await stand.until(lambda: stand.app.clipboard == "copy this")
        stand.chat.composer.put("go")
        await stand.pilot.press("enter")
        await stand.sees("half")
        await stand.pilot.press("ctrl+c")
        await stand.sees("stopped, kept")

    drive(body, session)


def test_save_writes_a_private_new_file_and_says_unencrypted(tmp_path: Path) -> None:
    out = tmp_path / "answer.md"

    async def body(stand: Stand) -> None:
        await stand.chat.open_chat("c1")
        await stand.type("/save", "enter")
        assert stand.chat.composer.box.text == "/save answer.md"
        stand.chat.composer.put(f"/save {out}")
        await stand.pilot.press("enter")
        await stand.sees("unencrypted")
        assert out.read_text() == "second answer"
        assert out.stat().st_mode & 0o777 == 0o600
        stand.chat.composer.put(f"/save {out}")
        await stand.pilot.press("enter")
        await stand.sees("is already there")

    drive(body, _talked(), size=(120, 40))


def test_save_writes_a_picture(tmp_path: Path) -> None:
    session = FakeSession()
    session.chat.script = [Attachment("p.png", "image/png", picture())]
    out = tmp_path / "barn.png"

    async def body(stand: Stand) -> None:
        await stand.ask("/image barn")
        await stand.type(f"/save {out}", "enter")
        await stand.until(out.exists)

    drive(body, session)
    assert out.read_bytes() == picture()


def test_save_writes_every_picture_of_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    session = FakeSession()
    session.chat.script = [Attachment("p.png", "image/png", picture(8, 8, (n, 0, 0))) for n in (10, 20, 30)]

    async def body(stand: Stand) -> None:
        await stand.ask("/image barn")
        await stand.type("/save barn.png", "enter")
        await stand.sees("Saved barn.png and 2 more, unencrypted")

    drive(body, session, (120, 40))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "barn.png": picture(8, 8, (10, 0, 0)),
        "barn-2.png": picture(8, 8, (20, 0, 0)),
        "barn-3.png": picture(8, 8, (30, 0, 0)),
    }


def test_files_are_attached_as_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("x" * 2000)
    (tmp_path / "cat.png").write_bytes(picture())
    session = FakeSession()

    async def body(stand: Stand) -> None:
        await stand.type("/attach notes.txt", "enter")
        await stand.sees("[notes.txt 2 kB]")
        await stand.pilot.press(*"see @ca")
        await stand.sees("cat.png")
        await stand.pilot.press("tab")
        assert stand.chat.composer.box.text == "see @cat.png"
        await stand.type("", "enter")
        await stand.until(lambda: session.chat.requests)
        await stand.sees("[notes.txt 2 kB] [cat.png")
        await stand.type("/attach notes.txt", "enter")
        await stand.until(lambda: stand.chat.composer.attachments)
        await stand.pilot.press("backspace")
        assert stand.chat.composer.attachments == ()

    drive(body, session)
    request = session.chat.requests[0]
    assert request.prompt == "see cat.png"
    assert [item.media_type for item in request.attachments] == ["text/plain", "image/png"]


def test_an_absolute_path_is_completed(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")

    async def body(stand: Stand) -> None:
        await stand.type(f"@{tmp_path}/no")
        await stand.until(lambda: stand.chat.composer.menu.display)
        await stand.pilot.press("tab")
        assert stand.chat.composer.box.text == f"@{tmp_path}/notes.txt"

    drive(body)


def test_a_missing_file_is_refused_and_the_prompt_stays() -> None:
    async def body(stand: Stand) -> None:
        await stand.type("read @./nowhere.txt please", "enter")
        await stand.sees("! No such file: nowhere.txt")
        assert stand.chat.composer.box.text == "read @./nowhere.txt please"

    assert drive(body).chat.requests == []


def test_while_an_answer_is_written_other_prompts_wait() -> None:
    session = FakeSession()
    session.chat.script = ["half", asyncio.Event()]

    async def body(stand: Stand) -> None:
        await stand.type("one", "enter")
        await stand.sees("half")
        await stand.type("two", "enter")
        await stand.sees("Esc stops it and keeps the text.")
        assert stand.chat.composer.box.text == "two"
        await stand.pilot.press("ctrl+n")
        await stand.sees("! An answer is being written")
        await stand.pilot.press("escape")
        await stand.sees("stopped, kept")

    assert len(drive(body, session).chat.requests) == 1


def test_theme_switches() -> None:
    async def body(stand: Stand) -> None:
        await stand.type("/theme", "enter")
        await stand.until(lambda: stand.app.theme == "nanolocal-light")

    drive(body)


def test_links_are_shown_and_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    session = FakeSession()
    session.store.add_turns("c1", [("q", "[look](https://example.org/x)")])
    opened: list[str] = []

    async def body(stand: Stand) -> None:
        monkeypatch.setattr(stand.app, "open_url", lambda url, **_: opened.append(url))
        await stand.chat.open_chat("c1")
        await stand.sees("look")
        row = next(n for n, line in enumerate(stand.shown.splitlines()) if "look" in line)
        await stand.pilot.click(offset=(5, row))
        await stand.sees("Not opened: https://example.org/x")

    drive(body, session)
    assert opened == []


def test_a_long_paste_is_folded() -> None:
    session = FakeSession()

    async def body(stand: Stand) -> None:
        await stand.ask("\n".join(f"row {n}" for n in range(100)))
        await stand.sees("[88 more lines; click to unfold]")

    drive(body, session, size=(80, 40))
    assert session.chat.requests[0].prompt is not None
    assert session.chat.requests[0].prompt.count("\n") == 99
