"""The texts of the read-only pages: help and why. Pure functions."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

from textual.content import Content

from nanolocal.chat.commands import COMMANDS
from nanolocal.chat.routes import Route
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


def why_page(route: Route | None, route_json: str | None) -> Content:
    """The recorded decision: the live one, or the stored one."""
    record = _record(route, route_json)
    if record is None:
        return Content("No answer here yet, so there is nothing to explain.")
    chosen = _name(record.get("build") or record.get("build_id"))
    lines = [_heading(f"{chosen} answered as {safe_line(str(record.get('task', '')))}")]
    lines += [Content(f"  {safe_line(str(reason))}") for reason in _listed(record.get("reasons"))]
    for title, key, second in (("Runners-up", "runners_up", "score"), ("Rejected", "rejected", "gate")):
        rows = [_candidate(item, second) for item in _listed(record.get(key))]
        if rows:
            lines += [Content(""), _heading(title), *rows]
    return _lines(lines)


def _record(route: Route | None, route_json: str | None) -> Mapping[str, object] | None:
    if route is not None:
        return asdict(route)
    if not route_json:
        return None
    try:
        stored = json.loads(route_json)
    except ValueError:
        return None
    return stored if isinstance(stored, dict) else None


def _candidate(item: object, second: str) -> Content:
    if not isinstance(item, Mapping):
        return Content(f"  {safe_line(str(item))}")
    value = item.get(second, "")
    shown = f"{value:.2f}" if isinstance(value, float) else safe_line(str(value))
    reason = safe_line(str(item.get("reason", "")))
    return Content.assemble(f"  {_name(item.get('build_id'))}  ", (f"{shown}  ", "$accent"), (reason, "$quiet"))


def _name(build: object) -> str:
    if isinstance(build, Mapping):
        return safe_line(str(build.get("name") or build.get("id") or "?"))
    return safe_line(str(build or "?"))


def _listed(value: object) -> Iterable[object]:
    return value if isinstance(value, list | tuple) else ()


def _heading(text: str) -> Content:
    return Content.styled(text, "bold $primary")


def _row(left: str, right: str) -> Content:
    return Content.assemble((f"{left:<20} ", "bold"), (right, "$quiet"))


def _lines(lines: Sequence[Content]) -> Content:
    return Content("\n").join(lines)
