"""A question that one key answers, over the prompt box."""

from collections.abc import Mapping, Sequence

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from nanolocal.safetext import safe_line

_MARK = "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"


class Question(ModalScreen[str]):
    """Closes with the answer of the key that was pressed; Esc with nothing. Its lines have to be safe to draw.

    ``about`` is the prompt, which is taken out of the box.
    """

    def __init__(self, lines: Sequence[str], keys: Mapping[str, str], hint: str, about: str = "") -> None:
        super().__init__()
        self._about = safe_line(about)
        self._lines = lines
        self._keys = keys
        self._hint = hint

    def compose(self) -> ComposeResult:
        """What is asked, and which keys answer."""
        with Vertical(classes="question"):
            if self._about:
                yield Static(f"{_MARK} {self._about}", classes="about", markup=False)
            for line in self._lines:
                yield Static(line, markup=False)
            yield Static(self._hint, classes="quiet", markup=False)

    def on_key(self, event: events.Key) -> None:
        """Answer."""
        if event.key == "escape":
            self.dismiss(None)
        elif event.key in self._keys:
            self.dismiss(self._keys[event.key])
        else:
            return
        event.stop()
        event.prevent_default()
