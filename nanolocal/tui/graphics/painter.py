"""Draws pictures for the app: as cells that scroll with the rest, or as pixels over the cells of a widget."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region

from nanolocal.tui.graphics import iterm2, kitty, pixels, sixel
from nanolocal.tui.graphics.halfblocks import Cells, draw, draw_grey
from nanolocal.tui.graphics.showing import Terminal, Way

if TYPE_CHECKING:
    from PIL.Image import Image

_SAVE, _RESTORE = "\x1b7", "\x1b8"


@dataclass(frozen=True, slots=True)
class Look:
    """What cells are drawn on: the colour behind, whether that is dark, and which colours there are."""

    background: pixels.Colour = (0, 0, 0)
    dark: bool = True
    depth: str = "truecolor"


class Painter:
    """One terminal's pictures. ``write`` sends to it, after what was written before and before the next frame.

    ``owner`` is whoever shows a picture, one at a time; ``forget`` has to be called when it leaves.
    """

    def __init__(self, terminal: Terminal, write: Callable[[str], None]) -> None:
        self.terminal = terminal
        self.generation = 0
        """Grows whenever the terminal has lost all pictures, so that cells drawn before show nothing."""
        self._write = write
        self._numbers: dict[int, int] = {}
        self._uploaded: dict[int, object] = {}
        self._encoded: dict[int, tuple[object, str]] = {}

    def fit(self, size: tuple[int, int], columns: int, rows: int, enlarges: bool = False) -> tuple[int, int]:
        """The cells that a picture of ``size`` pixels takes within ``columns`` x ``rows``."""
        if self.terminal.way is Way.OFF:
            return min(columns, len(_in_words(size))), 1
        most = (min(columns, kitty.MOST_CELLS), min(rows, kitty.MOST_CELLS))
        return pixels.fit(size, *most, self.terminal.aspect, enlarges)

    def cells(self, owner: object, data: bytes, size: tuple[int, int], look: Look) -> Cells:
        """The picture as text in so many columns and rows; raises ``UsageError`` where it cannot be read."""
        if self.terminal.way is Way.OFF:
            return _words(pixels.measure(data), size[0])
        picture = pixels.read(data)
        if self.terminal.has_placeholders and look.depth == "truecolor":  # a colour is the picture's number
            return self._placeholders(owner, picture, hash(data), size)
        if look.depth == "none":
            return draw_grey(picture, size, look.dark)
        return draw(picture, size, look.background, look.depth)

    def paint(self, owner: object, data: bytes, region: Region, look: Look) -> None:
        """Put the picture over the cells of ``region``, where the terminal paints pixels."""
        if not self.terminal.paints or not region.area:
            return
        key = (hash(data), region.size, look)
        if self._encoded.get(id(owner), (None,))[0] != key:
            self._encoded[id(owner)] = (key, self._encode(owner, pixels.read(data), region, look))
        place = f"\x1b[{region.y + 1};{region.x + 1}H"
        self._write(f"{_SAVE}{place}{self._encoded[id(owner)][1]}{_RESTORE}")

    def hide(self, owner: object) -> None:
        """Take painted pixels off that other text would not cover."""
        if self.terminal.way is Way.KITTY and id(owner) in self._numbers:
            self._write(kitty.take_off(self._numbers[id(owner)]))

    def forget(self, owner: object) -> None:
        """It is not shown any more."""
        self._encoded.pop(id(owner), None)
        self._uploaded.pop(id(owner), None)
        number = self._numbers.pop(id(owner), None)
        if number is not None:
            self._write(kitty.forget(number))

    def clear(self) -> str:
        """What takes every picture off the terminal; all have to be drawn anew afterwards."""
        gone = "".join(kitty.forget(number) for number in self._numbers.values())
        self._numbers.clear()
        self._uploaded.clear()
        self._encoded.clear()
        self.generation += 1
        return gone

    def _placeholders(self, owner: object, picture: "Image", content: int, size: tuple[int, int]) -> Cells:
        columns, rows = size
        number = self._upload(owner, picture, content, size)
        self._write(kitty.spread(number, columns, rows))
        style = Style(color=Color.from_rgb(number >> 16, number >> 8 & 255, number & 255))
        lines = tuple(tuple(Segment(kitty.cell(x, y), style) for x in range(columns)) for y in range(rows))
        return Cells(lines, columns, rows, picture.size)

    def _encode(self, owner: object, picture: "Image", region: Region, look: Look) -> str:
        if self.terminal.way is Way.KITTY:
            number = self._upload(owner, picture, hash(picture.tobytes()), region.size)
            return kitty.place(number, *region.size)
        small = pixels.within(picture, self._box(region.size))
        if self.terminal.way is Way.ITERM2:
            return iterm2.show(pixels.as_png(small), *region.size)
        return sixel.show(pixels.flatten(picture, self._filled(picture.size, region.size), look.background))

    def _upload(self, owner: object, picture: "Image", content: int, size: tuple[int, int]) -> int:
        """The number of the picture, which the terminal gets no larger than it can show it."""
        small = pixels.within(picture, self._box(size))
        number = self._numbers.get(id(owner))
        if number is None:
            number = self._numbers[id(owner)] = secrets.randbelow(2**24 - 1) + 1
        if self._uploaded.get(id(owner)) != (content, small.size):
            self._uploaded[id(owner)] = (content, small.size)
            self._write(kitty.upload(pixels.as_png(small), number))
        return number

    def _box(self, size: tuple[int, int]) -> tuple[int, int]:
        return size[0] * self.terminal.cell[0], size[1] * self.terminal.cell[1]

    def _filled(self, picture: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
        """Pixels that fill these cells with the picture's own aspect."""
        box = self._box(size)
        scale = min(box[0] / picture[0], box[1] / picture[1])
        return max(1, round(picture[0] * scale)), max(1, round(picture[1] * scale))


def _in_words(size: tuple[int, int]) -> str:
    return f"[picture, {size[0]} x {size[1]} pixels]"


def _words(size: tuple[int, int], width: int) -> Cells:
    return Cells(((Segment(_in_words(size)[:width].ljust(width)),),), width, 1, size)
