"""A picture in the transcript, drawn with half-blocks."""

from rich.segment import Segment
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

from nanolocal.errors import UsageError
from nanolocal.tui import halfblocks

_MOST_COLUMNS = 96


class PictureView(Widget):
    """PNG or JPEG bytes as text, never larger than the picture or than the screen leaves room for."""

    def __init__(self, data: bytes, classes: str | None = None) -> None:
        super().__init__(classes=classes)
        self._data = data
        self._drawn: tuple[tuple[object, ...], halfblocks.Cells] | None = None

    @property
    def data(self) -> bytes:
        """The picture's file content."""
        return self._data

    def replace(self, data: bytes) -> None:
        """Show the next preview in the same place."""
        self._data = data
        self._drawn = None
        self.refresh(layout=True)

    def get_content_width(self, container: Size, viewport: Size) -> int:
        """As wide as the picture gets."""
        return self._fit(container.width)[0]

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """As high as the picture gets at this width."""
        return self._fit(width)[1]

    def render_line(self, y: int) -> Strip:
        """One row of cells."""
        try:
            rows = self._cells().rows
        except UsageError as error:
            return Strip([Segment(error.message, self.rich_style)]) if y == 0 else Strip.blank(self.size.width)
        if y >= len(rows):
            return Strip.blank(self.size.width, self.rich_style)
        strip = Strip(list(rows[y])).apply_style(self.rich_style) if self.app.no_color else Strip(list(rows[y]))
        return strip.extend_cell_length(self.size.width, self.rich_style)

    def caption(self) -> str:
        """The picture's own size."""
        try:
            width, height = halfblocks.measure(self._data)
        except UsageError as error:
            return error.message
        return f"{width} x {height} pixels"

    def _fit(self, columns: int) -> tuple[int, int]:
        try:
            return halfblocks.fit(halfblocks.measure(self._data), *self._room(columns))
        except UsageError:
            return columns, 1

    def _room(self, columns: int) -> tuple[int, int]:
        return max(1, min(columns, _MOST_COLUMNS)), max(6, self.app.size.height - 8)

    def _cells(self) -> halfblocks.Cells:
        key = (self._room(self.size.width), self.app.theme)
        if self._drawn is None or self._drawn[0] != key:
            self._drawn = (key, self._draw(*key[0]))
        return self._drawn[1]

    def _draw(self, columns: int, rows: int) -> halfblocks.Cells:
        if self.app.no_color:
            return halfblocks.draw_grey(self._data, columns, rows, self.app.current_theme.dark)
        return halfblocks.draw(self._data, columns, rows, self.background_colors[1].rgb)
