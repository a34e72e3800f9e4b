"""The texts of the read-only pages: help and why. Pure functions."""

from collections.abc import Mapping, Sequence

from textual.content import Content

from nanolocal.chat.commands import COMMANDS
from nanolocal.chat.decisions import Line, Reckon, explained
from nanolocal.safetext import safe_line

_KEYS = (
    ("Enter", "send"),
    ("Ctrl+J", "new line; also Shift+Enter, or \\ before Enter"),
    ("Esc", "stop and keep the text; again: end the engine"),
    ("Ctrl+C", "copy the selection, else stop"),
    ("Ctrl+P", "every command by name"),
    ("@file", "attach a file"),
    ("Alt+Left Right", "the other versions of an answer or prompt"),
    ("PgUp PgDn", "scroll; End in an empty box follows again"),
    ("Delete", "in the list of conversations: erase one"),
)
_KEY_NAMES = {"ctrl": "Ctrl", "alt": "Alt", "shift": "Shift"}


def key_name(key: str) -> str:
    """``Ctrl+N`` for ``ctrl+n``."""
    return "+".join(_KEY_NAMES.get(part, part.capitalize()) for part in key.split("+"))


def help_page() -> Content:
    """Keys, then commands, from the one table."""
    rows = [_row(key, what) for key, what in _KEYS]
    commands = [
        _row(command.usage, f"{command.help}{f' ({key_name(command.key)})' if command.key else ''}")
        for command in COMMANDS
    ]
    note = Content.styled("Hold Shift (Option on a Mac) while dragging to select with the terminal itself.", "$quiet")
    return _lines([_heading("Keys"), *rows, Content(""), _heading("Commands"), *commands, Content(""), note])


def why_page(record: Mapping[str, object] | None, reckon: Reckon) -> Content:
    """A recorded decision, worked out anew by ``reckon``."""
    if record is None:
        return Content("No answer here yet, so there is nothing to explain.")
    lines: list[Content] = []
    for section in explained(record, reckon):
        lines += [Content(""), _heading(safe_line(section.title)), *(_explanation(line) for line in section.lines)]
    return _lines(lines[1:])


def _explanation(line: Line) -> Content:
    name, figure = (f"{safe_line(part)}  " if part else "" for part in (line.name, line.figure))
    indent, style = ("    ", "$quiet") if line.is_detail else ("  ", "$quiet" if name else "")
    return Content.assemble(f"{indent}{name}", (figure, "$accent"), (safe_line(line.text), style))


def _heading(text: str) -> Content:
    return Content.styled(text, "bold $primary")


def _row(left: str, right: str) -> Content:
    return Content.assemble((f"{left:<20} ", "bold"), (right, "$quiet"))


def _lines(lines: Sequence[Content]) -> Content:
    return Content("\n").join(lines)
