"""The app in terminals of every kind: what they are sent, and that nothing of it is left."""

import json
import os
import pty
import re
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyte
import pytest
from PIL import Image

from nanolocal.errors import UsageError
from nanolocal.tui.graphics import iterm2, kitty, pixels, sixel
from nanolocal.tui.graphics.asking import ask, understand
from nanolocal.tui.graphics.showing import Replies, Terminal, Way, choose
from tests.fakes import terminals
from tests.fakes.terminals import FakeTerminal, Kind
from tests.tui.driving import colour_card

_APP = """
import io, json, sys
from nanolocal.paths import Paths
from nanolocal.tui import app
from tests.fakes.session import FakeSession, FakeVaultState
from tests.tui.driving import colour_card
session = FakeSession()
session.store.add_turns("c1", [("Weather in Oslo?", "Cool.")])
file = io.BytesIO()
colour_card(64).save(file, "PNG")
session.gallery.add("a colour card", file.getvalue())
app._open_session = lambda paths, given: session
app._vault_state = lambda paths: FakeVaultState.KEYFILE
code = app.run(Paths.choose({home!r}), None)
open({report!r}, "w").write(json.dumps(session.store.settings))
sys.exit(code)
"""
_F3, _ENTER, _ESCAPE, _QUIT = b"\x1bOR", b"\r", b"\x1b", b"\x11"


@contextmanager
def _app_in(kind: Kind, tmp_path: Path) -> Iterator[FakeTerminal]:
    """The app with a test card in its gallery, which it shows."""
    report = tmp_path / "report.json"
    with FakeTerminal(kind, _APP.format(home=str(tmp_path), report=str(report))) as terminal:
        terminal.until(lambda it: it.shows("Weather in Oslo?"))
        terminal.press(_F3)
        terminal.until(lambda it: it.shows("1 of 1"))
        yield terminal
        assert terminal.end() == 0
    assert json.loads(report.read_text()) == {}, "a reply was taken for typed text"


def _look(terminal: FakeTerminal, is_shown: Callable[[bytes], object]) -> int:
    """Open the viewer and wait for its picture; where in what was written it was opened."""
    before = terminal.press(_ENTER)
    terminal.until(lambda it: is_shown(it.written[before:]))
    terminal.until(lambda it: it.shows("others"))
    return before


def _go_back(terminal: FakeTerminal) -> int:
    """Close the viewer; where in what was written that was."""
    before = terminal.press(_ESCAPE)
    terminal.until(lambda it: b"searches the prompts" in it.written[before:])
    terminal.settle()
    return before


def _leave(terminal: FakeTerminal) -> None:
    terminal.press(_QUIT)
    terminal.end()


def _same(shown: Image.Image, card: Image.Image) -> bool:
    return shown.size == card.size and shown.convert("RGB").tobytes() == card.tobytes()


def _uncovered(written: bytes, at: tuple[int, int], size: tuple[int, int]) -> int:
    """How many cells of a painted picture nothing was written over."""
    screen = pyte.Screen(80, 24)
    stream = pyte.ByteStream(screen)
    for row in range(at[1], at[1] + size[1]):
        stream.feed(f"\x1b[{row + 1};{at[0] + 1}H{'@' * size[0]}".encode())
    stream.feed(terminals.without_strings(written))
    return sum(row.count("@") for row in screen.display)


def test_kitty_gets_pictures_as_text_that_scrolls_and_forgets_them_at_the_end(tmp_path: Path) -> None:
    with _app_in(terminals.KITTY, tmp_path) as terminal:
        terminal.until(lambda it: kitty.PLACEHOLDER.encode() in it.written)
        before = _look(terminal, lambda said: kitty.PLACEHOLDER.encode() in said)
        _go_back(terminal)
        _leave(terminal)
        commands = terminals.kitty_commands(terminal.written)
        seen = terminals.kitty_commands(terminal.written[before:])
        large = next(each for each in seen if each.keys["a"] == "t")
        assert _same(large.picture, colour_card(64))
        spread = next(each for each in seen if each.keys["a"] == "p" and each.keys["i"] == large.keys["i"])
        assert (spread.keys["U"], spread.keys["c"], spread.keys["r"]) == ("1", "42", "21")
        number = int(large.keys["i"])
        cell = re.escape(f"\x1b[38;2;{number >> 16};{number >> 8 & 255};{number & 255}".encode())
        cells = re.findall(cell + rb"[\d;]*m(\xf4\x8e\xbb\xae[^\x1b]+)", terminal.written[before:])
        assert {text.decode() for text in cells} == {kitty.cell(x, y) for x in range(42) for y in range(21)}
        given = {each.keys["i"] for each in commands if each.keys["a"] == "t"}
        forgotten = {each.keys["i"] for each in commands if each.keys.get("d") == "I"}
        assert given == forgotten
        last = max(each.end for each in commands)
        assert last < terminal.written.rindex(b"\x1b[?1049l")
        assert all(each.keys.get("q") == "2" for each in commands if each.keys["a"] != "q")


def test_konsole_gets_pixels_on_the_picture_s_own_screen_only(tmp_path: Path) -> None:
    with _app_in(terminals.KONSOLE, tmp_path) as terminal:
        assert not [each for each in terminals.kitty_commands(terminal.written) if each.keys["a"] != "q"]
        before = _look(terminal, lambda said: b"a=p," in said)
        placed = next(each for each in terminals.kitty_commands(terminal.written[before:]) if each.keys["a"] == "p")
        assert {name: placed.keys[name] for name in ("c", "r", "C")} == {"c": "42", "r": "21", "C": "1"}
        assert _same(terminals.kitty_commands(terminal.written[before:])[0].picture, colour_card(64))
        back = _go_back(terminal)
        assert terminals.kitty_commands(terminal.written[back:])[0].keys["a"] == "d"
        _leave(terminal)
        commands = terminals.kitty_commands(terminal.written)
        given = {each.keys["i"] for each in commands if each.keys["a"] == "t"}
        assert given == {each.keys["i"] for each in commands if each.keys.get("d") == "I"}
        assert commands[-1].keys["a"] == "d"


@pytest.mark.parametrize("kind", [terminals.WEZTERM, terminals.ITERM2], ids=["wezterm", "iterm2"])
def test_iterm2_s_pictures_are_covered_when_they_are_left(kind: Kind, tmp_path: Path) -> None:
    with _app_in(kind, tmp_path) as terminal:
        before = _look(terminal, terminals.inline_pictures)
        shown = terminals.inline_pictures(terminal.written[before:])[-1]
        assert _same(shown.picture, colour_card(64))
        assert (shown.keys["width"], shown.keys["height"], shown.at) == ("42", "21", (19, 0))
        back = _go_back(terminal)
        assert not terminals.inline_pictures(terminal.written[back:])
        assert _uncovered(terminal.written[back:], shown.at, (42, 21)) == 0
        _leave(terminal)
        assert not terminals.inline_pictures(terminal.written[back:])


def test_foot_gets_sixel_which_a_question_covers_and_which_comes_back(tmp_path: Path) -> None:
    with _app_in(terminals.FOOT, tmp_path) as terminal:
        before = _look(terminal, terminals.sixel_pictures)
        drawn, at, _ = terminals.sixel_pictures(terminal.written[before:])[-1]
        assert (drawn.shape, at) == ((420, 420, 3), (19, 0))
        small = np.asarray(Image.fromarray(drawn).resize((64, 64), Image.Resampling.BOX), dtype=float)
        assert np.abs(small - np.asarray(colour_card(64), dtype=float)).mean() < 8
        asking = terminal.press(b"\x1b[3~")
        terminal.until(lambda it: it.shows("Erase this picture?"))
        terminal.settle()
        assert _uncovered(terminal.written[asking:], at, (42, 21)) == 0
        assert not terminals.sixel_pictures(terminal.written[asking:])
        terminal.press(b"n")
        terminal.until(lambda it: terminals.sixel_pictures(it.written[asking:]))
        back = _go_back(terminal)
        assert _uncovered(terminal.written[back:], at, (42, 21)) == 0
        assert not terminals.sixel_pictures(terminal.written[back:])
        _leave(terminal)


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        pytest.param(terminals.XTERM, 2, id="xterm"),
        pytest.param(terminals.SILENT, 1, id="silent"),
        pytest.param(terminals.TMUX, 0, id="tmux"),
        pytest.param(terminals.DUMB, 0, id="dumb"),
    ],
)
def test_others_get_half_blocks_and_no_questions_that_they_might_print(kind: Kind, asked: int, tmp_path: Path) -> None:
    with _app_in(kind, tmp_path) as terminal:
        _look(terminal, lambda said: "\u2580".encode() in said)
        terminal.until(lambda it: sum("\u2580" * 42 in row for row in it.screen()) == 21)
        _leave(terminal)
        assert terminal.written.count(b"\x1b[c") == asked
        assert terminal.written.count(b"\x1b_G") == (1 if asked == 2 else 0)
        assert not terminals.inline_pictures(terminal.written)
        assert not terminals.sixel_pictures(terminal.written)


def test_no_byte_of_a_reply_is_left_and_the_terminal_is_as_it_was() -> None:
    parent, child = pty.openpty()
    before = termios.tcgetattr(child)

    def answer() -> None:
        asked = b""
        while asked.count(b"\x1b[c") < 2:
            piece = os.read(parent, 1000)
            asked += piece
            os.write(parent, terminals.KITTY.replies(piece) + (b"and more" if b"16t" in asked else b""))

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        assert ask(child, child, 30.0) == Replies(True, True, False, "kitty(0.35.2)", (10, 20))
        thread.join()
        os.write(parent, b"typed\n")
        assert os.read(child, 100) == b"typed\n"
        assert termios.tcgetattr(child) == before
    finally:
        os.close(parent)
        os.close(child)


def test_without_a_terminal_nothing_is_asked() -> None:
    reading, writing = os.pipe()
    assert ask(reading, writing, 30.0) == Replies()
    os.close(writing)
    assert os.read(reading, 10) == b""
    os.close(reading)


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (b"\x1b[?62;4c", Replies(True, sixel=True)),
        (b"\x1b[?4c", Replies(True)),
        (b"\x1b[?62;1c\x1bP>|kitty(0.35)\x1b\\\x1b_Gi=31;OK\x1b\\", Replies(True, True, name="kitty(0.35)")),
        (b"\x1b[?62c\x1b_Gi=31;EINVAL:no\x1b\\", Replies(True)),
        (b"\x1b[?62c\x1b[6;22;11t", Replies(True, cell=(11, 22))),
        (b"\x1b[?62c\x1b[4;480;800t", Replies(True, cell=(10, 20))),
        (b"\x1b[?62c\x1b[6;0;0t", Replies(True)),
        (b"typed\x1b[", Replies()),
    ],
)
def test_replies_are_understood(said: bytes, wanted: Replies) -> None:
    assert understand(said, (80, 24)) == wanted


_PLAIN = {"TERM": "xterm-256color"}


@pytest.mark.parametrize(
    ("setting", "environment", "replies", "way", "scrolls"),
    [
        ("auto", {}, Replies(True, kitty=True, name="ghostty 1.1"), Way.KITTY, True),
        ("auto", {}, Replies(True, kitty=True, name="Konsole 24"), Way.KITTY, False),
        ("auto", {}, Replies(True, kitty=True, name="kitty(0.27.1)"), Way.KITTY, False),
        ("auto", {}, Replies(True, kitty=True, name="kitty(0.28.0)"), Way.KITTY, True),
        ("auto", {}, Replies(True, kitty=True, name="kitty(1.0.0)"), Way.KITTY, True),
        ("auto", {}, Replies(True, True, True, "iTerm2 3.6"), Way.ITERM2, False),
        ("auto", {"LC_TERMINAL": "iTerm2"}, Replies(True), Way.ITERM2, False),
        ("auto", {"LC_TERMINAL": "iTerm2"}, Replies(), Way.BLOCKS, False),
        ("auto", {}, Replies(True, sixel=True), Way.SIXEL, False),
        ("auto", {"NO_COLOR": "1"}, Replies(True, sixel=True), Way.BLOCKS, False),
        ("auto", {"STY": "1.pts"}, Replies(True, sixel=True), Way.BLOCKS, False),
        ("auto", {"TERM_PROGRAM": "Apple_Terminal"}, Replies(True, sixel=True), Way.BLOCKS, False),
        ("sixel", {}, Replies(), Way.SIXEL, False),
        ("kitty", {"TERM": "xterm-kitty"}, Replies(), Way.KITTY, True),
        ("sixel", {"NANOLOCAL_PICTURES": "blocks"}, Replies(True, sixel=True), Way.BLOCKS, False),
        ("auto", {"NANOLOCAL_PICTURES": "off"}, Replies(True, sixel=True), Way.OFF, False),
    ],
)
def test_the_way_is_chosen_by_setting_environment_and_replies(
    setting: str, environment: dict[str, str], replies: Replies, way: Way, scrolls: bool
) -> None:
    terminal = choose(setting, _PLAIN | environment, lambda: replies)
    assert (terminal.way, terminal.has_placeholders) == (way, scrolls)


def test_a_way_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match="NANOLOCAL_PICTURES cannot be 'crt'"):
        choose("auto", {"NANOLOCAL_PICTURES": "crt"}, Replies)


def test_an_odd_cell_is_not_believed() -> None:
    assert Terminal(cell=(11, 22)).aspect == 2.0
    assert Terminal(cell=(9, 20)).aspect == pytest.approx(2.22, abs=0.01)
    assert Terminal(cell=(1, 300)).aspect == 2.0


def test_kitty_s_pieces_join_to_the_file() -> None:
    noise = Image.frombytes("RGB", (96, 96), np.random.default_rng(1).bytes(96 * 96 * 3))
    said = kitty.upload(pixels.as_png(noise), 77).encode()
    assert said.count(b"\x1b_G") > 5
    (command,) = terminals.kitty_commands(said)
    assert command.keys | {"m": ""} == {"a": "t", "f": "100", "t": "d", "i": "77", "q": "2", "m": ""}
    assert _same(command.picture, noise)


def test_every_row_and_column_has_a_mark_of_its_own() -> None:
    cells = {kitty.cell(number, 0) for number in range(kitty.MOST_CELLS)}
    assert len(cells) == kitty.MOST_CELLS == 297
    assert kitty.cell(0, 1) == "\U0010eeee\u030d\u0305"
    assert kitty.cell(296, 0)[2] == "\U0001d244"


def test_iterm2_gets_the_file_and_its_size() -> None:
    said = f"\x1b7\x1b[3;5H{iterm2.show(pixels.as_png(colour_card(20)), 20, 10)}\x1b8".encode()
    (shown,) = terminals.inline_pictures(said)
    assert _same(shown.picture, colour_card(20))
    assert shown.at == (4, 2)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (7, 6), (40, 13), (64, 64)])
def test_sixel_draws_every_pixel_in_its_colour(width: int, height: int) -> None:
    few = colour_card(64).resize((width, height)).quantize(16, dither=Image.Dither.NONE).convert("RGB")
    drawn = terminals.sixel_pixels(sixel.show(few).encode())
    assert np.abs(drawn.astype(int) - np.asarray(few, dtype=int)).max() <= 2
