"""A picture in the transcript or on a screen of its own."""

from rich.segment import Segment
from textual.geometry import Region, Size
from textual.strip import Strip

from nanolocal.errors import UsageError
from nanolocal.tui.graphics import pixels
from nanolocal.tui.graphics.painting import Painted

_MOST_COLUMNS = 96
_LEAST_ROWS = 6


class PictureView(Painted):
    """A picture file as text, never larger than the picture or than the screen leaves room for."""

    def __init__(self, data: bytes, classes: str | None = None) -> None:
        super().__init__(classes=classes)
        self._data = data

    @property
    def data(self) -> bytes:
        """The picture's file content."""
        return self._data

    def replace(self, data: bytes) -> None:
        """Show the next preview in the same place."""
        self._data = data
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
            rows = self.drawn(self._data, self._fit(self.size.width)).rows
        except UsageError as error:
            return Strip([Segment(error.message, self.rich_style)]) if y == 0 else Strip.blank(self.size.width)
        if y >= len(rows):
            return Strip.blank(self.size.width, self.rich_style)
        return self.line(rows[y])

    def _fit(self, columns: int) -> tuple[int, int]:
        try:
            return self.painter.fit(pixels.measure(self._data), *self._room(columns))
        except UsageError:
            return columns, 1

    def _room(self, columns: int) -> tuple[int, int]:
        return max(1, min(columns, _MOST_COLUMNS)), max(_LEAST_ROWS, self.app.size.height - 8)


class LargePicture(Painted):
    """A picture as large as the widget, in its middle: by pixels where the terminal has them."""

    def __init__(self, classes: str = "pixels") -> None:
        super().__init__(classes=classes)
        self._data = b""
        self._message = ""

    def show(self, data: bytes, message: str = "") -> None:
        """Show another picture, or where there is none, a line of text."""
        self.painter.hide(self)
        self._data, self._message = data, message
        self.refresh()

    def paint(self) -> None:
        """Write the pixels."""
        if self._data and self.is_attached and self.region.area:
            place = self._place()
            self.painter.paint(self, self._data, place.translate(self.content_region.offset), self.look)

    def render_line(self, y: int) -> Strip:
        """One row of cells, empty where pixels come over it."""
        width = self.size.width
        if not self._data:
            is_middle = y == self.size.height // 2
            words = self._message.center(width) if is_middle else ""
            return Strip([Segment(words[:width], self.rich_style)]).extend_cell_length(width, self.rich_style)
        place = self._place()
        if self.painter.terminal.paints or not place.y <= y < place.bottom:
            return Strip.blank(width, self.rich_style)
        return self.line(self.drawn(self._data, (place.width, place.height)).rows[y - place.y], place.x)

    def _place(self) -> Region:
        """Where in the widget the picture is."""
        size = self.painter.fit(pixels.measure(self._data), *self.size, enlarges=True)
        return Region((self.size.width - size[0]) // 2, (self.size.height - size[1]) // 2, *size)
