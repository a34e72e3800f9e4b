"""Pictures as text: two pixels a cell in colour, or one character a cell where colour is unwanted."""

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

from rich.color import Color
from rich.segment import Segment
from rich.style import Style

from nanolocal.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

_UPPER_HALF = "\u2580"
_RAMP = " .:-=+*#%@"
_MOST_PIXELS = 64_000_000


@dataclass(frozen=True, slots=True)
class Cells:
    """A picture laid out in ``width`` x ``height`` cells; ``pixels`` are its own width and height."""

    rows: tuple[tuple[Segment, ...], ...]
    width: int
    height: int
    pixels: tuple[int, int]


def fit(pixels: tuple[int, int], columns: int, rows: int) -> tuple[int, int]:
    """The largest size in cells within ``columns`` x ``rows`` that keeps the aspect and never enlarges.

    A cell is as tall as two of its widths, so it holds one pixel across and two down.
    """
    width, height = pixels
    scale = min(1.0, columns / width, 2 * rows / height)
    return max(1, round(width * scale)), max(1, -(-round(height * scale) // 2))


def measure(data: bytes) -> tuple[int, int]:
    """Width and height of a PNG or JPEG in pixels; raises ``UsageError`` where it cannot be read."""
    return _open(data).size


def draw(data: bytes, columns: int, rows: int, background: tuple[int, int, int]) -> Cells:
    """Half-blocks in colour; what is transparent shows ``background``."""
    picture = _open(data)
    width, height = fit(picture.size, columns, rows)
    flat = _flatten(picture, (width, height * 2), background)
    pixels = flat.tobytes()
    lines = []
    for row in range(height):
        upper, lower = row * 2 * width * 3, (row * 2 + 1) * width * 3
        lines.append(tuple(_cell(pixels, upper + x * 3, lower + x * 3) for x in range(width)))
    return Cells(tuple(lines), width, height, picture.size)


def draw_grey(data: bytes, columns: int, rows: int, dark: bool) -> Cells:
    """A ramp of characters without any colour; ``dark`` says whether the text is lighter than the background."""
    picture = _open(data)
    width, height = fit(picture.size, columns, rows)
    backdrop = (0, 0, 0) if dark else (255, 255, 255)
    grey = _flatten(picture, (width, height), backdrop).convert("L").tobytes()
    ramp = _RAMP if dark else _RAMP[::-1]
    text = "".join(ramp[value * (len(ramp) - 1) // 255] for value in grey)
    lines = tuple((Segment(text[row * width : (row + 1) * width]),) for row in range(height))
    return Cells(lines, width, height, picture.size)


def _cell(pixels: bytes, upper: int, lower: int) -> Segment:
    top = Color.from_rgb(*pixels[upper : upper + 3])
    bottom = Color.from_rgb(*pixels[lower : lower + 3])
    return Segment(_UPPER_HALF, Style(color=top, bgcolor=bottom))


def _open(data: bytes) -> "Image":
    from PIL import Image, UnidentifiedImageError

    try:
        picture = Image.open(BytesIO(data), formats=("PNG", "JPEG"))
        if picture.width * picture.height > _MOST_PIXELS:
            raise UsageError(f"the picture is too large to show: {picture.width} x {picture.height} pixels")
        picture.load()
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UsageError("the picture cannot be read", "it may be damaged; /save writes it to a file") from error
    return picture


def _flatten(picture: "Image", pixels: tuple[int, int], background: tuple[int, int, int]) -> "Image":
    from PIL import Image

    small = picture.convert("RGBA").resize(pixels, Image.Resampling.BOX)
    under = Image.new("RGBA", pixels, (*background, 255))
    return Image.alpha_composite(under, small).convert("RGB")
