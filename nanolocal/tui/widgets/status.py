"""The one status line."""

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from nanolocal.tui.lines import Status


class StatusLine(Widget):
    """``model > why | 18.4 tok/s | ctx | cost | balance`` in the width there is; a low balance stands out."""

    status: reactive[Status] = reactive(Status())

    def __init__(self) -> None:
        super().__init__(id="status")

    def render(self) -> Content:
        """The line for this width."""
        line = self.status.line(self.size.width)
        content = Content(line)
        if not self.status.is_low:
            return content
        return content.stylize("$warning", max(0, len(line) - len(self.status.balance)))
