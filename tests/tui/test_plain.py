"""Pictures among plain lines: ``--show``, in terminals of every kind."""

import subprocess
import sys

import numpy as np
import pyte
import pytest
from PIL import Image

from nanolocal.tui.graphics import pixels, plain
from nanolocal.tui.graphics.showing import Terminal, Way
from tests.fakes import terminals
from tests.fakes.terminals import FakeTerminal, Kind
from tests.tui.driving import colour_card

_SHOW = """
import io
from nanolocal.chat.messages import Attachment
from nanolocal.cli.showing import show
from nanolocal.settings import Settings
from tests.tui.driving import colour_card
file = io.BytesIO()
colour_card(40).save(file, "PNG")
print("before", flush=True)
show([Attachment("p.png", "image/png", file.getvalue())], Settings())
print("after", flush=True)
"""


def _shown_in(kind: Kind) -> bytes:
    with FakeTerminal(kind, _SHOW) as terminal:
        assert terminal.end() == 0
        return terminal.written


def _rows(written: bytes) -> list[str]:
    screen = pyte.Screen(80, 24)
    screen.set_mode(pyte.modes.LNM)
    pyte.ByteStream(screen).feed(terminals.without_strings(written))
    return [row.rstrip() for row in screen.display]


def test_kitty_gets_the_picture_in_its_own_place_between_the_lines() -> None:
    written = _shown_in(terminals.KITTY)
    given, placed = [each for each in terminals.kitty_commands(written) if each.keys["a"] != "q"]
    assert given.picture.convert("RGB").tobytes() == colour_card(40).tobytes()
    assert (placed.keys["c"], placed.keys["r"]) == ("40", "20")
    assert _rows(written)[0] == "before" and _rows(written)[21] == "after"


def test_foot_gets_sixel_as_large_as_its_cells() -> None:
    written = _shown_in(terminals.FOOT)
    start = written.index(b"\x1bP0;1;0q")
    drawn = terminals.sixel_pixels(written[start : written.index(b"\x1b\\", start) + 2])
    assert drawn.shape == (400, 400, 3)
    small = np.asarray(Image.fromarray(drawn).resize((40, 40), Image.Resampling.BOX), dtype=float)
    assert np.abs(small - np.asarray(colour_card(40), dtype=float)).mean() < 10
    assert _rows(written)[21] == "after"


def test_wezterm_gets_the_file() -> None:
    written = _shown_in(terminals.WEZTERM)
    assert written.count(b"\x1b]1337;File=inline=1") == 1
    assert _rows(written)[21] == "after"


@pytest.mark.parametrize("kind", [terminals.XTERM, terminals.TMUX], ids=["xterm", "tmux"])
def test_others_get_half_blocks(kind: Kind) -> None:
    rows = _rows(_shown_in(kind))
    assert rows[0] == "before" and rows[1:21] == ["\u2580" * 40] * 20 and rows[21] == "after"


def test_without_colour_it_is_drawn_with_characters() -> None:
    written = _shown_in(terminals.DUMB)
    rows = _rows(written)
    assert b"\x1b" not in written
    assert set("".join(rows[1:21])) <= set(" .:-=+*#%@") and len(set("".join(rows[1:21]))) > 5
    assert rows[21] == "after"


def test_nothing_is_drawn_where_standard_output_is_no_terminal() -> None:
    done = subprocess.run([sys.executable, "-c", _SHOW], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["before", "after"]


def test_switched_off_it_is_named() -> None:
    said = plain.lines(pixels.as_png(colour_card(40)), Terminal(Way.OFF), 80, 24, "truecolor")
    assert said == "[picture, 40 x 40 pixels]\n"
