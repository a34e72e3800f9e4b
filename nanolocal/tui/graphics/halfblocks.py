"""Pictures as text: two pixels a cell in colour, or one character a cell where colour is unwanted."""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from rich.color import Color
from rich.segment import Segment
from rich.style import Style

from nanolocal.tui.graphics import pixels

if TYPE_CHECKING:
    from PIL.Image import Image

_UPPER_HALF = "\u2580"
_RAMP = " .:-=+*#%@"
_CUBE = (0, 95, 135, 175, 215, 255)
_BASIC = (
    (0, 0, 0), (170, 0, 0), (0, 170, 0), (170, 85, 0), (0, 0, 170), (170, 0, 170), (0, 170, 170), (170, 170, 170),
    (85, 85, 85), (255, 85, 85), (85, 255, 85), (255, 255, 85), (85, 85, 255), (255, 85, 255), (85, 255, 255),
    (255, 255, 255),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cells:
    """A picture laid out in ``width`` x ``height`` cells; ``pixels`` are its own width and height."""

    rows: tuple[tuple[Segment, ...], ...]
    width: int
    height: int
    pixels: tuple[int, int]


def draw(picture: "Image", size: tuple[int, int], background: pixels.Colour, depth: str = "truecolor") -> Cells:
    """Half-blocks in so many columns and rows; what is transparent shows ``background``.

    ``depth`` is ``truecolor``, or ``256`` or ``standard`` (16): only those that the terminal has too, the others mixed.
    """
    width, height = size
    flat = pixels.flatten(picture, (width, height * 2), background)
    colours = _colours(flat, depth)
    lines = []
    for row in range(height):
        upper, lower = row * 2 * width, (row * 2 + 1) * width
        pairs = zip(colours[upper : upper + width], colours[lower : lower + width], strict=True)
        lines.append(tuple(Segment(_UPPER_HALF, Style(color=top, bgcolor=bottom)) for top, bottom in pairs))
    return Cells(tuple(lines), width, height, picture.size)


def draw_grey(picture: "Image", size: tuple[int, int], dark: bool) -> Cells:
    """A ramp of characters without any colour; ``dark`` says whether the text is lighter than the background."""
    width, height = size
    backdrop = (0, 0, 0) if dark else (255, 255, 255)
    grey = pixels.flatten(picture, size, backdrop).convert("L").tobytes()
    ramp = _RAMP if dark else _RAMP[::-1]
    text = "".join(ramp[value * (len(ramp) - 1) // 255] for value in grey)
    lines = tuple((Segment(text[row * width : (row + 1) * width]),) for row in range(height))
    return Cells(lines, width, height, picture.size)


def _colours(flat: "Image", depth: str) -> list[Color]:
    from PIL import Image

    if depth != "truecolor":
        palette = Image.new("P", (1, 1))
        palette.putpalette([value for rgb in (_many() if depth == "256" else _BASIC) for value in rgb])
        flat = flat.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).convert("RGB")
    raw = flat.tobytes()
    return [Color.from_rgb(*raw[place : place + 3]) for place in range(0, len(raw), 3)]


@cache
def _many() -> tuple[pixels.Colour, ...]:
    """The colours that 16 to 255 mean in every terminal with 256 of them."""
    cube = [(red, green, blue) for red in _CUBE for green in _CUBE for blue in _CUBE]
    return (*cube, *((8 + 10 * step,) * 3 for step in range(24)))
