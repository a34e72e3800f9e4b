"""How something goes that takes its time beside the conversation, in one line above the prompt."""

from collections.abc import Callable

from textual.content import Content
from textual.timer import Timer
from textual.widget import Widget

from nanolocal.safetext import safe_line
from nanolocal.tui.lines import cut
from nanolocal.tui.ports import BackgroundPort

_EVERY_S = 0.5


class PullLine(Widget):
    """Nothing, or one dim line behind ``mark`` that is looked up twice a second while a model is being fetched."""

    def __init__(self, name: str = "pulling", mark: str = "↓") -> None:
        super().__init__(id=name, classes="background-line")
        self._mark = mark
        self.display = False
        self._line = ""
        self._timer: Timer | None = None

    def follow(self, pulls: BackgroundPort, ended: Callable[[str], None]) -> None:
        """Show how ``pulls`` goes until it has ended; ``ended`` hears how, once, in text that is safe to draw."""
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_interval(_EVERY_S, lambda: self._look(pulls, ended))
        self._look(pulls, ended)

    def render(self) -> Content:
        """The line for this width."""
        return Content.styled(cut(f"{self._mark} {self._line}", self.content_size.width), "$quiet")

    def _look(self, pulls: BackgroundPort, ended: Callable[[str], None]) -> None:
        self.display = pulls.is_running
        self._line = safe_line(pulls.line)
        self.refresh()
        if not self.display and self._timer is not None:
            self._timer.stop()
            self._timer = None
            ended(safe_line(pulls.news()))
