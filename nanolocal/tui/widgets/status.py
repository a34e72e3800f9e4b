"""The one status line."""

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from nanolocal.tui.lines import Status


class StatusLine(Widget):
    """``model > why | 18.4 tok/s | ctx | cost | balance`` in the width there is."""

    status: reactive[Status] = reactive(Status())

    def __init__(self) -> None:
        super().__init__(id="status")

    def render(self) -> Content:
        """The line for this width."""
        return Content(self.status.line(self.size.width))
