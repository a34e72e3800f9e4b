"""Pictures on the terminal that standard output is."""

import os
import shutil
import sys
from collections.abc import Iterable

from nanolocal.chat.messages import Attachment
from nanolocal.cli import output
from nanolocal.settings import Settings

HELP = "draw it in this terminal"


def can_show() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout.isatty()


def show(pictures: Iterable[Attachment], settings: Settings) -> None:
    """Draw them there; nothing where standard output is no terminal. Raises ``UsageError`` for a damaged one."""
    from nanolocal.tui.graphics import plain, showing  # pictures are seldom shown, and this takes its time

    if not can_show():
        return
    columns, rows = shutil.get_terminal_size()
    terminal = showing.of_this_process(settings.pictures, sys.stdin.fileno(), sys.stdout.fileno())
    depth = showing.depth(os.environ)
    output.exact(plain.lines(each.data, terminal, columns, max(4, rows - 3), depth) for each in pictures)
