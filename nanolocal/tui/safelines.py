"""The last gate before the terminal: whatever a widget draws, nothing of it can act on the terminal."""

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from nanolocal.safetext import safe


class SafeLines(LineFilter):
    """Replaces what ``safe`` would not let through, in as many cells, so that a laid out line stays as it is.

    Widgets get text that is safe already; this catches what they make of it themselves (Markdown decodes ``&#8238;``
    and ``%1b``) and what is typed or pasted into Textual's own boxes.
    """

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The line that may be drawn."""
        return [
            segment
            if segment.control or segment.text.isprintable()
            else Segment(_plain(segment.text), segment.style, segment.control)
            for segment in segments
        ]


def _plain(text: str) -> str:
    return "".join(char if safe(char) == char and char not in "\n\t" else "\ufffd" * cell_len(char) for char in text)
