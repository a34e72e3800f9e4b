"""Asks where a file goes, and writes it."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from textual import work
from textual.app import ComposeResult
from textual.widgets import Input, Static

from nanolocal.errors import NanolocalError
from nanolocal.safetext import safe_line
from nanolocal.tui.lines import error_text
from nanolocal.tui.screens.overlay import Overlay

_WHAT = "Anyone who can read the file sees the picture: it is not encrypted."


class FileNameScreen(Overlay[str]):
    """Returns the name of the file that ``write`` has written; nothing where it was left."""

    HINT = "Enter writes it · Esc leaves it"

    def __init__(self, title: str, suggestion: str, write: Callable[[Path], None]) -> None:
        super().__init__(classes="small")
        self.TITLE_TEXT = title
        self._suggestion = suggestion
        self._write = write

    def compose_body(self) -> ComposeResult:
        """What it means, then the name."""
        yield Static(_WHAT, classes="panel-text quiet", markup=False)
        yield Input(self._suggestion, id="file", compact=True)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Write it, or say why not and ask again."""
        if event.value.strip():
            self._try(event.value.strip())

    @work(group="write", exclusive=True)
    async def _try(self, name: str) -> None:
        try:
            await asyncio.to_thread(self._write, Path(name).expanduser())
        except NanolocalError as error:
            self.query_one(".panel-hint", Static).update(error_text(error))
        else:
            self.dismiss(safe_line(name))
