"""Asking a terminal what it is, before anything is drawn, without leaving a byte of its replies in the input."""

import os
import re
import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from nanolocal.tui.graphics.showing import Replies

_ATTRIBUTES = b"\x1b[c"
_MORE = b"\x1b[>0q" + b"\x1b[16t" + b"\x1b[14t" + b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\" + _ATTRIBUTES
_MOST_BYTES = 4096
_DONE = re.compile(rb"\x1b\[\?([\d;]*)c")
_NAME = re.compile(rb"\x1bP>\|([^\x1b\x07]{1,100})(?:\x1b\\|\x07)")
_CELL = re.compile(rb"\x1b\[6;(\d{1,4});(\d{1,4})t")
_WINDOW = re.compile(rb"\x1b\[4;(\d{1,6});(\d{1,6})t")
_SIXEL = b"4"


def ask(source: int, sink: int, wait_s: float) -> Replies:
    """Ask and wait until the last question is answered; at most ``wait_s`` for each of the two rounds.

    The first question is one that every terminal knows; the others follow only where it was answered. All of them end
    with that question again, whose answer then says that no more will come.
    """
    if sys.platform == "win32" or not (os.isatty(source) and os.isatty(sink)):
        return Replies()
    with _quiet(source):
        first = _exchange(source, sink, _ATTRIBUTES, wait_s)
        if not _DONE.search(first):
            return Replies(cell=_cell_of_system(sink))
        rest = _exchange(source, sink, _MORE, wait_s)
    return understand(first + rest, _cells(sink)) if rest else Replies(True, cell=_cell_of_system(sink))


def understand(said: bytes, cells: tuple[int, int]) -> Replies:
    """The replies in ``said``, of a terminal with so many columns and rows."""
    attributes = {part for match in _DONE.finditer(said) for part in match[1].split(b";")[1:]}
    name = match[1].decode(errors="replace") if (match := _NAME.search(said)) else ""
    return Replies(
        answers=bool(_DONE.search(said)),
        kitty=b"\x1b_Gi=31;OK\x1b\\" in said,
        sixel=_SIXEL in attributes,
        name=name,
        cell=_cell(said, cells),
    )


def _cell(said: bytes, cells: tuple[int, int]) -> tuple[int, int] | None:
    if match := _CELL.search(said):
        height, width = int(match[1]), int(match[2])
    elif (match := _WINDOW.search(said)) and all(cells):
        height, width = int(match[1]) // cells[1], int(match[2]) // cells[0]
    else:
        return None
    return (width, height) if width and height else None


def _cells(sink: int) -> tuple[int, int]:
    try:
        return os.get_terminal_size(sink)
    except OSError:
        return 0, 0


def _cell_of_system(sink: int) -> tuple[int, int] | None:
    """What the system knows of the window, where the terminal told it."""
    import fcntl
    import struct
    import termios

    try:
        packed = fcntl.ioctl(sink, termios.TIOCGWINSZ, bytes(8))
    except OSError:
        return None
    rows, columns, width, height = struct.unpack("4H", packed)
    return (width // columns, height // rows) if all((rows, columns, width, height)) else None


@contextmanager
def _quiet(source: int) -> Iterator[None]:
    """No echo, no lines; what has come and was not read is thrown away at the end."""
    import termios

    before = termios.tcgetattr(source)
    quiet = termios.tcgetattr(source)
    quiet[3] &= ~(termios.ECHO | termios.ICANON)
    quiet[6][termios.VMIN], quiet[6][termios.VTIME] = 1, 0
    termios.tcsetattr(source, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        termios.tcflush(source, termios.TCIFLUSH)
        termios.tcsetattr(source, termios.TCSANOW, before)


def _exchange(source: int, sink: int, question: bytes, wait_s: float) -> bytes:
    os.write(sink, question)
    said, deadline = b"", time.monotonic() + wait_s
    while not _DONE.search(said) and len(said) < _MOST_BYTES:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([source], [], [], left)[0]:
            break
        piece = os.read(source, 1024)
        if not piece:
            break
        said += piece
    return said
