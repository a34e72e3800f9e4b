"""The only place that writes to stdout and stderr."""

import json
import logging
import os
import sys
import textwrap
import threading
import warnings
from collections.abc import Iterable, Sequence

from nanolocal.errors import NanolocalError, place_of
from nanolocal.safetext import safe, safe_line

_COLUMNS, _INDENT, _FACT = 80, 9, 15


def hush() -> None:
    """Keep what Python and libraries print by themselves off the terminal: it may quote private or hostile text."""
    warnings.simplefilter("ignore")
    logging.getLogger().addHandler(logging.NullHandler())
    threading.excepthook = sys.unraisablehook = _tell_fault


def line(text: str = "") -> None:
    """One safe line on stdout."""
    sys.stdout.write(safe(text) + "\n")


def marked(mark: str, colour: int, text: str) -> None:
    """A line below a mark such as ``ok``; ``colour`` is an ANSI number, used on a terminal that wants colour."""
    word = f"{safe_line(mark):5}"
    if _wants_colour():
        word = f"\x1b[{colour}m{word}\x1b[0m"
    lines = textwrap.wrap(safe_line(text), _COLUMNS - _INDENT, break_on_hyphens=False, break_long_words=False) or [""]
    sys.stdout.write(f"  {word}  {lines[0]}\n" + "".join(f"{'':{_INDENT}}{more}\n" for more in lines[1:]))


def fact(name: str, text: str) -> None:
    """A name and what is to be said of it, indented and folded to the width of a terminal."""
    lines = textwrap.wrap(safe_line(text), _COLUMNS - _FACT - 1, break_on_hyphens=False) or [""]
    for number, one in enumerate(lines):
        label = "" if number else f"  {safe_line(name)}"
        sys.stdout.write(f"{label:{_FACT}}{one}".rstrip() + "\n")


def blocks(lines: Iterable[str]) -> None:
    """Half blocks of light modules; black on white for certain where the terminal wants colour."""
    before, after = ("\x1b[38;5;231;48;5;16m", "\x1b[0m") if _wants_colour() else ("", "")
    for one in lines:
        sys.stdout.write(f"{before}{safe(one)}{after}\n")


def piece(text: str) -> None:
    """A piece of an answer on stdout, visible at once."""
    sys.stdout.write(safe(text))
    sys.stdout.flush()


def as_json(value: object) -> None:
    """One JSON value on one line of stdout, flushed; in ASCII, so that it is exact and no terminal acts on it."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def exact(lines: Iterable[str]) -> None:
    """Lines as they are, each with its own end; what wrote them has made foreign text harmless."""
    sys.stdout.flush()
    for each in lines:
        sys.stdout.buffer.write(each.encode())
    sys.stdout.buffer.flush()


def binary(data: bytes) -> None:
    """Bytes on stdout, for a program to read; visible at once."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def table(rows: Iterable[Sequence[str]], header: Sequence[str]) -> None:
    """Columns as wide as their widest cell; the last one runs free."""
    safe_rows = [[safe_line(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[n]) for row in safe_rows) for n in range(len(header))]
    for row in safe_rows:
        line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def error(problem: NanolocalError) -> None:
    """One error line and, where there is one, one hint line on stderr."""
    _to_stderr(f"nanolocal: error: {safe_line(problem.message)}\n")
    if problem.hint:
        _to_stderr(f"hint: {safe_line(problem.hint)}\n")


def note(text: str) -> None:
    """One remark on stderr."""
    _to_stderr(f"nanolocal: {safe_line(text)}\n")


class Progress:
    """One line on stderr that rewrites itself; silent unless stderr is a terminal and the user wants to hear."""

    def __init__(self, is_quiet: bool) -> None:
        self._is_shown = not is_quiet and _is_terminal(sys.stderr.fileno()) and os.environ.get("TERM") != "dumb"
        self._width = 0

    def show(self, text: str) -> None:
        """Replace the line."""
        if self._is_shown:
            plain = safe_line(text)[:78]
            _to_stderr("\r" + plain.ljust(self._width))
            self._width = len(plain)

    def clear(self) -> None:
        """Leave the line empty and the cursor at its start."""
        if self._is_shown and self._width:
            _to_stderr("\r" + " " * self._width + "\r")
            self._width = 0

    def say(self, text: str) -> None:
        """Leave a remark behind, where progress is shown at all."""
        self.clear()
        if self._is_shown:
            _to_stderr(safe_line(text) + "\n")


def _tell_fault(fault: "threading.ExceptHookArgs | sys.UnraisableHookArgs") -> None:
    if fault.exc_value is not None:
        note(f"a fault in the background ({place_of(fault.exc_value)})")


def _wants_colour() -> bool:
    is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return _is_terminal(sys.stdout.fileno()) and not is_plain


def _is_terminal(descriptor: int) -> bool:
    try:
        return os.isatty(descriptor)
    except OSError:
        return False


def _to_stderr(text: str) -> None:
    """Write where the user looks; a closed stderr must not end the program."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError):
        return
