"""Sixel: pictures of at most 256 colours, six rows of pixels at a time.

https://vt100.net/docs/vt3xx-gp/chapter14.html
"""

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

_COLOURS = 256
_BAND = 6
_SHORTEST_RUN = 4


def show(picture: "Image") -> str:
    """Show the pixels of an RGB picture from the cursor on, which moves."""
    import numpy as np  # takes longer to import than the rest, and few terminals need it
    from PIL import Image

    few = picture.quantize(_COLOURS, method=Image.Quantize.MEDIANCUT)
    numbered = picture.quantize(palette=few, dither=Image.Dither.FLOYDSTEINBERG)
    palette = numbered.getpalette() or []
    numbers = np.asarray(numbered, dtype=np.uint8)
    height, width = numbers.shape
    used: list[int] = np.unique(numbers).tolist()
    parts = [f'\x1bP0;1;0q"1;1;{width};{height}']
    parts += [_colour(number, palette[3 * number : 3 * number + 3]) for number in used]
    weights = np.left_shift(1, np.arange(_BAND))[:, None]
    for top in range(0, height, _BAND):
        band = numbers[top : top + _BAND]
        lines = []
        for number in np.unique(band):
            bits = ((band == number) * weights[: len(band)]).sum(axis=0)
            lines.append(f"#{number}{_runs(bits.astype(np.uint8).tobytes())}")
        parts += ["$".join(lines), "-"]
    parts[-1] = "\x1b\\"
    return "".join(parts)


def _colour(number: int, rgb: list[int]) -> str:
    red, green, blue = (round(value * 100 / 255) for value in rgb)
    return f"#{number};2;{red};{green};{blue}"


def _runs(bits: bytes) -> str:
    """The characters of one colour in one band, repeated ones counted; what is empty at the end is left out."""
    bits = bits.rstrip(b"\0")
    borders = [place for place in range(1, len(bits)) if bits[place] != bits[place - 1]]
    parts = []
    for start, end in pairwise([0, *borders, len(bits)]):
        character, count = chr(63 + bits[start]) if bits else "", end - start
        parts.append(character * count if count < _SHORTEST_RUN else f"!{count}{character}")
    return "".join(parts)
