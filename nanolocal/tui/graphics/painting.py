"""The app's side of drawing pictures: when the painter writes, and what widgets ask it for."""

import sys
from collections.abc import Sequence

from rich.segment import Segment
from textual.app import App
from textual.strip import Strip
from textual.widget import Widget

from nanolocal.tui.graphics.halfblocks import Cells
from nanolocal.tui.graphics.painter import Look, Painter
from nanolocal.tui.graphics.showing import Terminal


class PaintingApp(App[str]):
    """An app whose widgets show pictures by ``painter``."""

    painter: Painter

    def paint_on(self, terminal: Terminal) -> None:
        """Draw pictures as ``terminal`` shows them."""
        self.painter = Painter(terminal, self._send)

    def post_display_hook(self) -> None:
        """Put the pixels back that the frame may have erased."""
        if not self.painter.terminal.paints or not self._screen_stack:
            return
        for view in self.screen.query(".pixels"):
            if isinstance(view, Painted):
                view.paint()
        if self._driver is not None:
            self._driver.flush()

    def _send(self, text: str) -> None:
        if self._driver is not None and not self.is_headless and sys.platform != "win32":
            self._driver.write(text)


class Painted(Widget):
    """A widget with a picture; its cells are what ``painter`` draws."""

    _last: tuple[object, Cells] | None = None

    @property
    def painter(self) -> Painter:
        """Who draws pictures here."""
        app = self.app
        if not isinstance(app, PaintingApp):
            raise TypeError("pictures need an app that paints")
        return app.painter

    @property
    def look(self) -> Look:
        """What pictures are drawn on here."""
        app = self.app
        known = None if app.is_headless else app.console.color_system
        depth = "none" if app.no_color else known if known in ("256", "standard") else "truecolor"
        return Look(self.background_colors[1].rgb, app.current_theme.dark, depth)

    def drawn(self, data: bytes, size: tuple[int, int]) -> Cells:
        """The picture in so many columns and rows; raises ``UsageError`` where it cannot be read."""
        key = (hash(data), size, self.look, self.painter.generation)
        if self._last is None or self._last[0] != key:
            self._last = (key, self.painter.cells(self, data, size, self.look))
        return self._last[1]

    def line(self, row: Sequence[Segment], indent: int = 0) -> Strip:
        """A row of the picture as wide as the widget."""
        strip = Strip([Segment(" " * indent, self.rich_style), *row] if indent else list(row))
        strip = strip.apply_style(self.rich_style) if self.app.no_color else strip
        return strip.extend_cell_length(self.size.width, self.rich_style)

    def paint(self) -> None:
        """Write pixels over the cells, where that is how the terminal shows pictures."""

    def on_unmount(self) -> None:
        """The terminal need not keep it."""
        self.painter.forget(self)
