"""What a terminal can show pictures with: asked of its environment, and where that is safe, of itself."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from nanolocal.errors import UsageError

VARIABLE = "NANOLOCAL_PICTURES"
USUAL_CELL = (10, 20)
_NEVER_ASKED = ("screen", "tmux", "dumb", "linux", "vt", "cons")
_MULTIPLEXERS = ("TMUX", "STY", "ZELLIJ")
_OWN_WAY = re.compile(r"iterm2|wezterm|mintty", re.IGNORECASE)
_PLACEHOLDERS = re.compile(r"kitty\(0\.(?:2[89]|[3-9]\d|\d{3,})|kitty\([1-9]|xterm-kitty$|ghostty", re.IGNORECASE)
"""Kitty since 0.28."""


class Way(StrEnum):
    """How pictures are shown: by a protocol, as half-blocks, or not at all."""

    KITTY = "kitty"
    ITERM2 = "iterm2"
    SIXEL = "sixel"
    BLOCKS = "blocks"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Replies:
    """What a terminal said of itself. ``cell`` is the width and height of a character in pixels."""

    answers: bool = False
    kitty: bool = False
    sixel: bool = False
    name: str = ""
    cell: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Terminal:
    """``cell`` as in ``Replies``. ``has_placeholders``: Kitty's pictures may be text that scrolls, else none may."""

    way: Way = Way.BLOCKS
    cell: tuple[int, int] = USUAL_CELL
    has_placeholders: bool = False

    @property
    def aspect(self) -> float:
        """How much taller than wide a cell is; what no font looks like is not believed."""
        aspect = self.cell[1] / self.cell[0]
        return aspect if 1.2 <= aspect <= 3.5 else 2.0

    @property
    def paints(self) -> bool:
        """Whether pictures are pixels over the cells, which nothing erases that does not write there."""
        return self.way in (Way.ITERM2, Way.SIXEL) or (self.way is Way.KITTY and not self.has_placeholders)


def choose(setting: str, environment: Mapping[str, str], ask: Callable[[], Replies]) -> Terminal:
    """How to show pictures, by the setting ``pictures`` or the variable that goes before it.

    ``ask`` is called where the terminal may be asked. Raises ``UsageError`` for a variable that says nothing known.
    """
    wanted = environment.get(VARIABLE) or setting
    if wanted not in ("auto", *Way):
        raise UsageError(f"{VARIABLE} cannot be {wanted!r}", f"one of auto, {', '.join(Way)}")
    if wanted in (Way.OFF, Way.BLOCKS):
        return Terminal(Way(wanted))
    if wanted == "auto" and not _may_be_asked(environment):
        return Terminal()
    replies = ask()
    way = _best(replies, environment) if wanted == "auto" else Way(wanted)
    known = replies.name or environment.get("TERM", "")
    return Terminal(way, replies.cell or USUAL_CELL, way is Way.KITTY and bool(_PLACEHOLDERS.search(known)))


def depth(environment: Mapping[str, str]) -> str:
    """Colours that plain output may use: ``truecolor``, ``256``, ``standard`` or ``none``."""
    term = environment.get("TERM", "")
    if environment.get("NO_COLOR") or term in ("", "dumb"):
        return "none"
    if environment.get("COLORTERM", "").lower() in ("truecolor", "24bit") or term.endswith("-direct"):
        return "truecolor"
    return "256" if "256color" in term or "kitty" in term or "ghostty" in term else "standard"


def _may_be_asked(environment: Mapping[str, str]) -> bool:
    """Multiplexers answer for themselves, and some terminals print what they do not understand."""
    term = environment.get("TERM", "")
    is_plain = not term or term.startswith(_NEVER_ASKED) or environment.get("TERM_PROGRAM") == "Apple_Terminal"
    return not is_plain and "NO_COLOR" not in environment and not any(name in environment for name in _MULTIPLEXERS)


def _best(replies: Replies, environment: Mapping[str, str]) -> Way:
    if not replies.answers:
        return Way.BLOCKS
    names = (replies.name, "" if replies.name else environment.get("LC_TERMINAL", ""))
    if any(_OWN_WAY.search(name) for name in names):
        return Way.ITERM2
    if replies.kitty:
        return Way.KITTY
    return Way.SIXEL if replies.sixel else Way.BLOCKS


def of_this_process(setting: str, source: int, sink: int) -> Terminal:
    """The terminal whose keys come from the descriptor ``source`` and whose screen is ``sink``."""
    from nanolocal.tui.graphics import asking  # termios is not everywhere

    return choose(setting, os.environ, lambda: asking.ask(source, sink, _patience(os.environ)))


def _patience(environment: Mapping[str, str]) -> float:
    """Seconds that the first reply may take: a slow line needs longer."""
    return 2.0 if "SSH_CONNECTION" in environment or "SSH_TTY" in environment else 0.7
