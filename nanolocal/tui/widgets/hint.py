"""The one line between transcript and prompt."""

from textual.content import Content
from textual.reactive import reactive
from textual.timer import Timer
from textual.widget import Widget

from nanolocal.chat.turn import Quote
from nanolocal.tui.lines import quote_line

_SECONDS = 5.0
_NEWER = "↓ newer text below · End"


class HintLine(Widget):
    """Says something for some seconds; else, whether newer text is out of view; else what the prompt would cost."""

    quote: reactive[Quote | None] = reactive(None)

    def __init__(self) -> None:
        super().__init__(id="hint")
        self._said = ""
        self._newer_below = False
        self._timer: Timer | None = None

    def say(self, line: str) -> None:
        """Show ``line`` for a moment."""
        if self._timer is not None:
            self._timer.stop()
        self._said = line
        self._timer = self.set_timer(_SECONDS, self._forget)
        self.refresh()

    def show_newer(self, is_below: bool) -> None:
        """Say whether newer text is out of view."""
        if is_below != self._newer_below:
            self._newer_below = is_below
            self.refresh()

    def render(self) -> Content:
        """What there is to say now."""
        said = self._said or (_NEWER if self._newer_below else "")
        if said or self.quote is None:
            return Content(said)
        return Content.styled(
            quote_line(self.quote, self.content_size.width), "$warning" if self.quote.shortage else "$quiet"
        )

    def _forget(self) -> None:
        self._said = ""
        self.refresh()
