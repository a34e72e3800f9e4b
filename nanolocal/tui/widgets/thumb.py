"""A small picture with the words it was drawn from."""

from rich.segment import Segment
from textual.message import Message
from textual.strip import Strip

from nanolocal.tui.graphics import pixels
from nanolocal.tui.graphics.painting import Painted
from nanolocal.tui.lines import cut

_UNREADABLE = "damaged"


class Thumb(Painted):
    """The last row is the caption. A click asks for the picture."""

    class Clicked(Message):
        """``place`` is which one on the page."""

        def __init__(self, place: int) -> None:
            super().__init__()
            self.place = place

    def __init__(self, place: int) -> None:
        super().__init__(classes="thumb")
        self._place = place
        self._caption = ""
        self._data: bytes | None = None

    def put(self, caption: str, data: bytes | None, is_at: bool) -> None:
        """Show another picture: ``None`` while it is being read, empty where it cannot be."""
        self._caption, self._data = caption, data
        self.set_class(is_at, "at")
        self.refresh()

    def on_click(self) -> None:
        """Ask for it."""
        if self._caption:
            self.post_message(self.Clicked(self._place))

    def render_line(self, y: int) -> Strip:
        """A row of the picture, or the caption."""
        width, height = self.size
        if y == height - 1:
            return Strip([Segment(cut(self._caption, width), self.rich_style)]).extend_cell_length(
                width, self.rich_style
            )
        if not self._data:
            words = _UNREADABLE if self._data == b"" and y == (height - 1) // 2 else ""
            return Strip([Segment(words.center(width), self.rich_style)])
        size = self.painter.fit(pixels.measure(self._data), width - 2, height - 1)
        top = (height - 1 - size[1]) // 2
        if not top <= y < top + size[1]:
            return Strip.blank(width, self.rich_style)
        return self.line(self.drawn(self._data, size).rows[y - top], (width - size[0]) // 2)
