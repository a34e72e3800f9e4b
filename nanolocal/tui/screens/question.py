"""A question that one key answers, over the prompt box."""

from collections.abc import Mapping, Sequence

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static


class Question(ModalScreen[str]):
    """Closes with the answer of the key that was pressed; Esc with nothing. Its lines have to be safe to draw."""

    def __init__(self, lines: Sequence[str], keys: Mapping[str, str], hint: str) -> None:
        super().__init__()
        self._lines = lines
        self._keys = keys
        self._hint = hint

    def compose(self) -> ComposeResult:
        """What is asked, and which keys answer."""
        with Vertical(classes="question"):
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
