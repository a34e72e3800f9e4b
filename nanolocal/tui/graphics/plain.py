"""Pictures among plain lines of output, without an app."""

import secrets

from rich.color import ColorSystem

from nanolocal.tui.graphics import halfblocks, iterm2, kitty, pixels, sixel
from nanolocal.tui.graphics.showing import Terminal, Way

_BLACK = (0, 0, 0)
_SYSTEMS = {"truecolor": ColorSystem.TRUECOLOR, "256": ColorSystem.EIGHT_BIT, "standard": ColorSystem.STANDARD}


def lines(data: bytes, terminal: Terminal, columns: int, rows: int, depth: str) -> str:
    """What shows a picture within so many columns and rows; it ends with the cursor on a new line.

    ``depth`` is as ``showing.depth`` tells. Raises ``UsageError`` for what is no picture.
    """
    picture = pixels.read(data)
    if terminal.way is Way.OFF:
        return f"[picture, {picture.width} x {picture.height} pixels]\n"
    size = pixels.fit(picture.size, columns, rows, terminal.aspect)
    box = (size[0] * terminal.cell[0], size[1] * terminal.cell[1])
    if terminal.way is Way.BLOCKS:
        is_grey = depth == "none"
        cells = halfblocks.draw_grey(picture, size, True) if is_grey else halfblocks.draw(picture, size, _BLACK, depth)
        return _text(cells, depth)
    room = "\n" * size[1] + f"\x1b[{size[1]}A"  # scrolls first, so that the cursor can go below the picture afterwards
    if terminal.way is Way.SIXEL:
        shown = sixel.show(pixels.flatten(picture, box, _BLACK))
    elif terminal.way is Way.ITERM2:
        shown = iterm2.show(pixels.as_png(pixels.within(picture, box)), *size)
    else:
        number = secrets.randbelow(2**24 - 1) + 1
        shown = kitty.upload(pixels.as_png(pixels.within(picture, box)), number) + kitty.place(number, *size)
    return f"{room}\x1b7{shown}\x1b8\x1b[{size[1]}B\r"


def _text(cells: halfblocks.Cells, depth: str) -> str:
    system = _SYSTEMS.get(depth)
    rows = [
        "".join(cell.style.render(cell.text, color_system=system) if cell.style else cell.text for cell in row)
        for row in cells.rows
    ]
    return "".join(f"{row}\n" for row in rows)
