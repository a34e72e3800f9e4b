"""The gallery and the screen of one picture, on the app with fakes."""

import asyncio
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from textual.widgets import Input

from nanolocal.chat.drawing import Drawing, PictureReceipt, StoredPicture
from nanolocal.chat.messages import Attachment
from nanolocal.tui import clipboard, privatefiles
from nanolocal.tui.graphics.showing import Terminal, Way
from nanolocal.tui.screens.gallery import GalleryScreen
from nanolocal.tui.screens.viewer import ViewerScreen
from nanolocal.tui.shelf import BATCH
from nanolocal.tui.widgets.thumb import Thumb
from tests.fakes.session import IMAGE_BUILD, NOW, FakeSession
from tests.tui.driving import Stand, drive, picture

RECEIPT = PictureReceipt(IMAGE_BUILD.id, "1" * 64, "a red barn", 64, 48, 12, 3.5, 7, negative="fog")


def _session(count: int = 9) -> FakeSession:
    session = FakeSession()
    session.store.add_turns("c1", [("Weather in Oslo?", "Cool.")])
    for number in range(count):
        colour = (number * 20 % 256, 90, 200)
        session.gallery.add(f"barn number {number}", picture(32, 24, colour), RECEIPT)
    return session


async def _open(stand: Stand) -> GalleryScreen:
    await stand.pilot.press("f3")
    await stand.until(lambda: isinstance(stand.app.screen, GalleryScreen) and stand.app.screen.picked)
    screen = stand.app.screen
    assert isinstance(screen, GalleryScreen)
    return screen


async def _view(stand: Stand) -> ViewerScreen:
    await _open(stand)
    await stand.pilot.press("enter")
    await stand.sees("32 x 24")
    screen = stand.app.screen
    assert isinstance(screen, ViewerScreen)
    return screen


@pytest.mark.parametrize(("size", "per_page"), [((60, 16), 3), ((80, 24), 8), ((120, 40), 18)])
def test_a_page_holds_what_fits_and_only_that_is_decrypted(size: tuple[int, int], per_page: int) -> None:
    session = _session(30)

    async def body(stand: Stand) -> None:
        screen = await _open(stand)
        await stand.until(lambda: len(session.gallery.read) == per_page)
        thumbs = list(screen.query(Thumb))
        assert len(thumbs) == per_page
        assert all(each.region.height > 5 and each.region.right <= size[0] for each in thumbs)
        assert max(each.region.bottom for each in thumbs) <= size[1] - 2
        await stand.pilot.press("pagedown")
        await stand.sees(f"{per_page + 1} of 30")
        await stand.until(lambda: len(session.gallery.read) == min(30, 2 * per_page))
        await stand.pilot.press("pageup")
        await stand.sees("1 of 30")
        assert len(set(session.gallery.read)) == len(session.gallery.read)

    drive(body, session, size)


def test_the_keys_move_and_older_pictures_are_loaded_before_the_last_page() -> None:
    session = _session(BATCH + 5)

    async def body(stand: Stand) -> None:
        screen = await _open(stand)
        await stand.sees(f"1 of {BATCH}+")
        await stand.pilot.press("right", "down")
        assert screen.picked is session.gallery.stored[5]
        await stand.pilot.press("up", "left", "left")
        assert screen.picked is session.gallery.stored[0]
        await stand.pilot.press("end")
        await stand.sees(f"of {BATCH + 5}")
        await stand.pilot.press("end")
        assert screen.picked is session.gallery.stored[-1]

    drive(body, session)
    assert session.gallery.asked[-1] == ("", session.gallery.stored[BATCH - 1].created_at)


def test_typing_after_a_slash_searches_the_prompts_and_letters_are_keys_again_afterwards() -> None:
    session = _session(12)

    async def body(stand: Stand) -> None:
        screen = await _open(stand)
        await stand.pilot.press("slash", *"number 11")
        await stand.sees("1 of 1 ")
        assert screen.query_one(Input).value == "number 11"
        await stand.pilot.press("escape")
        await stand.pilot.press("i")
        await stand.sees("How it was drawn")
        await stand.sees("barn number 11")
        await stand.pilot.press("escape", "slash", *"zzz", "enter")
        await stand.sees("Nothing found.")
        await stand.pilot.press("escape")
        assert not isinstance(stand.app.screen, GalleryScreen)

    drive(body, session)


def test_words_after_the_command_are_searched_for() -> None:
    session = _session(12)

    async def body(stand: Stand) -> None:
        await stand.type("/pictures number 3", "enter")
        await stand.sees("Pictures  1 of 1 ")
        await stand.sees("number 3")

    drive(body, session)


def test_an_empty_gallery_says_what_to_do() -> None:
    async def body(stand: Stand) -> None:
        await stand.pilot.press("f3")
        await stand.sees("/image a red barn in the snow")
        await stand.pilot.press("enter", "o", "delete", "right")
        assert isinstance(stand.app.screen, GalleryScreen)

    drive(body, _session(0))


def test_a_damaged_picture_is_shown_as_such_and_the_others_too() -> None:
    session = _session(2)
    del session.gallery.files["b2"]

    async def body(stand: Stand) -> None:
        await _open(stand)
        await stand.sees("damaged")
        await stand.pilot.press("enter")
        await stand.sees("The picture cannot be read")
        await stand.pilot.press("right")
        await stand.sees("32 x 24")

    drive(body, session)


def test_the_viewer_shows_the_facts_and_goes_to_the_others() -> None:
    async def body(stand: Stand) -> None:
        await _view(stand)
        await stand.sees("1 of 9 · 32 x 24 · 12 steps · seed 7")
        await stand.sees(IMAGE_BUILD.id)
        assert sum("\u2580" * 30 in line for line in stand.shown.splitlines()) >= 18
        await stand.pilot.press("right")
        await stand.sees("barn number 7")
        await stand.pilot.press("left", "left")
        await stand.sees("1 of 9")
        await stand.pilot.press("escape")
        assert isinstance(stand.app.screen, GalleryScreen)

    drive(body, _session())


def test_a_click_picks_and_another_shows() -> None:
    async def body(stand: Stand) -> None:
        screen = await _open(stand)
        thumb = list(screen.query(Thumb))[2]
        await stand.pilot.click(thumb)
        await stand.sees("3 of 9")
        await stand.pilot.click(thumb)
        await stand.until(lambda: isinstance(stand.app.screen, ViewerScreen))

    drive(body, _session())


def test_again_draws_with_the_same_settings_from_another_seed() -> None:
    session = _session()
    session.chat.script = [Attachment("p.png", "image/png", picture(8, 8))]

    async def body(stand: Stand) -> None:
        await _open(stand)
        await stand.pilot.press("a")
        await stand.until(lambda: session.chat.requests and not stand.chat.runner.busy)

    drive(body, session)
    request = session.chat.requests[-1]
    wishes = request.wishes
    assert (request.prompt, request.chat_id, request.attachments) == ("a red barn", "c1", ())
    assert (wishes.picture, wishes.width, wishes.height, wishes.steps) == (True, 64, 48, 12)
    assert (wishes.drawing.negative, wishes.drawing.guidance, wishes.drawing.strength) == ("fog", 3.5, None)
    assert wishes.model == IMAGE_BUILD.id
    assert wishes.seed is not None and wishes.seed != 7


def test_again_of_a_varied_picture_takes_what_went_in() -> None:
    session = _session(0)
    source = picture(8, 8, (1, 2, 3))
    session.gallery.add("what is this?", source, None, made_here=False, build_id="")
    went_in = sha256(source).hexdigest()
    varied = PictureReceipt(IMAGE_BUILD.id, "1" * 64, "a blue barn", 8, 8, 4, 1.0, 9, source=went_in, strength=0.3)
    session.gallery.add("a blue barn", picture(8, 8), varied)

    async def body(stand: Stand) -> None:
        await _open(stand)
        await stand.pilot.press("a")
        await stand.until(lambda: session.chat.requests and not stand.chat.runner.busy)

    drive(body, session)
    assert [file.data for file in session.chat.requests[-1].attachments] == [source]
    assert session.chat.requests[-1].wishes.drawing.strength == 0.3


def test_vary_draws_from_the_picture_itself() -> None:
    session = _session()

    async def body(stand: Stand) -> None:
        await _view(stand)
        await stand.pilot.press("v")
        await stand.until(lambda: session.chat.requests and not stand.chat.runner.busy)

    drive(body, session)
    request = session.chat.requests[-1]
    assert request.attachments[0].data == session.gallery.files["b9"].data
    assert (request.prompt, request.wishes.steps) == ("a red barn", 12)
    assert request.wishes.picture and request.wishes.drawing.strength == 0.5


def test_a_picture_of_the_user_s_is_varied_by_new_words_and_not_drawn_again() -> None:
    session = _session(0)
    session.gallery.add("what is this?", picture(), None, made_here=False, build_id="")

    async def body(stand: Stand) -> None:
        await _open(stand)
        await stand.sees("came with a prompt")
        await stand.pilot.press("a")
        await stand.sees("This picture was not drawn here")
        await _open(stand)
        await stand.pilot.press("v")
        await stand.until(lambda: stand.chat.composer.attachments)
        assert stand.chat.composer.box.text == "/image "

    drive(body, session)
    assert not session.chat.requests


def test_enlarge_draws_from_the_picture_with_a_build_that_does_so() -> None:
    session = _session()
    session.library.stored += (replace(IMAGE_BUILD, id="larch:f16", sha256="2" * 64, defaults={"upscales": 4}),)

    async def body(stand: Stand) -> None:
        await _view(stand)
        await stand.pilot.press("e")
        await stand.until(lambda: session.chat.requests and not stand.chat.runner.busy)

    drive(body, session)
    request = session.chat.requests[-1]
    assert request.attachments[0].data == session.gallery.files["b9"].data
    assert (request.prompt, request.wishes.model, request.wishes.steps) == ("a red barn", None, None)
    assert request.wishes.picture and request.wishes.drawing == Drawing(upscales=True)


def test_where_no_build_enlarges_it_says_so() -> None:
    session = _session()

    async def body(stand: Stand) -> None:
        await _open(stand)
        await stand.pilot.press("e")
        await stand.sees("No stored build can enlarge a picture")
        assert stand.chat.composer.box.text == ""

    drive(body, session)
    assert not session.chat.requests


def test_use_attaches_it_to_the_prompt_that_is_being_written() -> None:
    session = _session()

    async def body(stand: Stand) -> None:
        await stand.type("What is")
        await _open(stand)
        await stand.pilot.press("u")
        await stand.until(lambda: stand.chat.composer.attachments)
        assert stand.chat.composer.box.text == "What is"
        assert stand.chat.composer.attachments[0].data == session.gallery.files["b9"].data

    drive(body, session)


def test_its_conversation_opens_at_its_message() -> None:
    session = _session(1)
    session.store.add_turns("c2", [("A barn, please", "Here.")])
    session.store.titles["c2"] = "Barns"
    first = session.store.path("c1")[-1].id
    session.gallery.stored[0] = StoredPicture("b1", "c1", first, "barn", "", NOW, 1, None, True)

    async def body(stand: Stand) -> None:
        await stand.sees("A barn, please")
        await _open(stand)
        await stand.pilot.press("g")
        await stand.sees("Weather in Oslo?")
        assert stand.chat.conversation.chat_id == "c1"

    drive(body, session)


def test_while_an_answer_is_written_nothing_is_drawn_but_pictures_can_be_looked_at() -> None:
    session = _session()
    done = asyncio.Event()
    session.chat.script = ["Once", done]

    async def body(stand: Stand) -> None:
        await stand.type("Tell me a story", "enter")
        await stand.sees("Once")
        await _open(stand)
        await stand.pilot.press("a")
        await stand.sees("An answer is being written")
        done.set()
        await stand.until(lambda: not stand.chat.runner.busy)

    drive(body, session)
    assert len(session.chat.requests) == 1


def test_erasing_asks_and_then_shows_what_is_left() -> None:
    session = _session(2)

    async def body(stand: Stand) -> None:
        await _view(stand)
        await stand.pilot.press("delete")
        await stand.sees("Erase this picture?")
        await stand.pilot.press("n")
        await stand.pilot.press("delete", "y")
        await stand.sees("1 of 1 ")
        await stand.pilot.press("delete", "y")
        await stand.sees("No pictures yet.")

    drive(body, session)
    assert not session.gallery.files


def test_saving_writes_a_private_file_and_never_over_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    session = _session(1)
    (tmp_path / "taken.png").write_bytes(b"mine")

    async def body(stand: Stand) -> None:
        await _open(stand)
        await stand.pilot.press("s")
        await stand.sees("Save the picture")
        await stand.sees("picture-7.png")
        box = stand.app.screen.query_one(Input)
        box.value = "taken.png"
        await stand.pilot.press("enter")
        await stand.sees("is already there")
        box.value = "picture-7.png"
        await stand.pilot.press("enter")
        await stand.sees("Saved picture-7.png, unencrypted.")

    drive(body, session)
    saved = tmp_path / "picture-7.png"
    assert saved.read_bytes() == session.gallery.files["b1"].data
    assert saved.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "taken.png").read_bytes() == b"mine"


def test_the_viewer_of_the_system_gets_a_file_that_is_gone_when_the_app_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = tmp_path / "shown"
    runtime = tmp_path / "run"
    runtime.mkdir()
    _program(
        tmp_path / "bin" / "xdg-open",
        f'stat -c "%a %U" "$1" "$(dirname "$1")" > {shown}.tmp; cat "$1" > {shown}.png; mv {shown}.tmp {shown}',
    )
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("DISPLAY", ":0")
    session = _session(1)

    async def body(stand: Stand) -> None:
        await _open(stand)
        await stand.pilot.press("o")
        await stand.sees("Handed to the viewer")
        await stand.until(shown.exists)
        assert list(runtime.glob("*/picture.png"))
        await stand.pilot.press("ctrl+q")
        await stand.until(lambda: not list(runtime.iterdir()))

    drive(body, session)
    assert [line.split()[0] for line in shown.read_text().splitlines()] == ["600", "700"]
    assert Path(f"{shown}.png").read_bytes() == session.gallery.files["b1"].data


def test_without_a_viewer_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privatefiles, "viewer", lambda environment: None)

    async def body(stand: Stand) -> None:
        await _open(stand)
        await stand.pilot.press("o")
        await stand.sees("There is no picture viewer here")

    drive(body, _session(1))


def test_the_picture_and_its_prompt_can_be_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = tmp_path / "taken"
    _program(tmp_path / "xclip", f'echo "$@" > {taken}.args; cat > {taken}')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    session = _session(1)

    async def body(stand: Stand) -> None:
        await _open(stand)
        await stand.pilot.press("c")
        await stand.sees("Copied the prompt.")
        assert taken.read_text() == "barn number 0"
        await stand.pilot.press("p")
        await stand.sees("Copied the picture.")

    drive(body, session)
    assert taken.read_bytes().startswith(b"\x89PNG")
    assert "image/png" in Path(f"{taken}.args").read_text()


def test_without_a_program_for_it_no_picture_is_said_to_be_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clipboard, "copy_picture", lambda png: False)

    async def body(stand: Stand) -> None:
        await _open(stand)
        await stand.pilot.press("p")
        await stand.sees("No program here copies pictures")

    drive(body, _session(1))


def test_with_pictures_switched_off_they_are_named_in_words() -> None:
    session = _session(1)
    session.chat.script = [Attachment("p.png", "image/png", picture(24, 16))]

    async def body(stand: Stand) -> None:
        stand.app.paint_on(Terminal(Way.OFF))
        await stand.ask("/image a red barn")
        await stand.sees("[picture, 24 x 16 pixels]")
        assert "\u2580" not in stand.shown
        await _view(stand)
        await stand.sees("[picture, 32 x 24 pixels]")

    drive(body, session)


def test_the_question_mark_shows_every_key() -> None:
    async def body(stand: Stand) -> None:
        await _open(stand)
        await stand.pilot.press("question_mark")
        await stand.sees("go to its conversation")

    drive(body, _session(1), (120, 40))


def _program(path: Path, script: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
