"""The one dim line under an answer."""

from collections.abc import Callable

from textual.content import Content
from textual.widget import Widget


class Foot(Widget):
    """Tells the phase while the answer is made, the receipt afterwards; ``line`` is asked for the width there is."""

    def __init__(self, line: Callable[[int], str]) -> None:
        super().__init__(classes="foot")
        self._line = line

    def show(self, line: Callable[[int], str] | str) -> None:
        """Replace the line."""
        self._line = (lambda width: line) if isinstance(line, str) else line
        self.refresh()

    @property
    def text(self) -> str:
        """The line as it is drawn now."""
        return self._line(self.content_size.width)

    def render(self) -> Content:
        """The line for this width."""
        return Content(self.text)
