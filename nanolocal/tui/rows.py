"""The lines of the list of conversations, and what its search box says while a filter is typed. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from textual.content import Content

from nanolocal.safetext import safe, safe_line
from nanolocal.tui.lines import day
from nanolocal.tui.ports import ChatRow, Hit

_FILTERS = {
    "model": "a part of the build's name",
    "task": "chat, code, math, image_gen and the like",
    "since": "2026-11-24, today, yesterday or 7d",
    "until": "2026-11-24, today, yesterday or 7d",
    "has": "picture",
    "from": "me or model",
}
_INDENT = "  "

NOTHING_FOUND = (
    "Nothing found.\n"
    "Fewer words find more; the last may be unfinished.\n"
    "Quotes keep words together. Filters only narrow."
)


def filter_hint(typed: str) -> str:
    """What the filter takes that ``typed`` ends in; nothing where it ends in none."""
    name, colon, _ = typed.rpartition(" ")[2].partition(":")
    takes = _FILTERS.get(name.lower(), "")
    return f"{name}: takes {takes}" if colon and takes else ""


def without_filter(typed: str) -> str:
    """What comes before the filter that ``typed`` ends in; all of it where it ends in none."""
    return typed.rpartition(" ")[0].strip() if filter_hint(typed) else typed.strip()


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the list: what it opens and what it shows; ``marks`` are the places in the snippet that match."""

    chat_id: str
    title: str
    when: str
    snippet: str | None = None
    marks: Sequence[tuple[int, int]] = ()
    message_id: str | None = None

    @classmethod
    def of_chat(cls, chat: ChatRow) -> "Row":
        """A conversation."""
        return cls(chat.id, safe_line(chat.title) or "untitled", day(chat.updated_at))

    @classmethod
    def of_hit(cls, hit: Hit) -> "Row":
        """A found message."""
        title = safe_line(hit.title) or "untitled"
        return cls(hit.chat_id, title, day(hit.created_at), hit.snippet, hit.marks, hit.message_id)

    def content(self, width: int) -> Content:
        """How it is drawn in ``width`` cells: the snippet begins late enough for its first match to be seen."""
        head = Content.assemble((f"{self.when}  ", "$quiet"), self.title)
        if self.snippet is None:
            return head
        start = _start(self.snippet, self.marks, width - len(_INDENT))
        return Content.assemble(head, "\n", _INDENT, *_pieces(self.snippet, self.marks, start))


def _start(snippet: str, marks: Sequence[tuple[int, int]], width: int) -> int:
    if not marks or cell_len(snippet[: marks[0][1]]) < width:
        return 0
    return max(0, marks[0][0] - width // 4)


def _pieces(snippet: str, marks: Sequence[tuple[int, int]], start: int) -> list[tuple[str, str]]:
    """What follows ``start`` with its matches standing out; each piece made safe by itself."""
    pieces = [("…", "$quiet")] if start else []
    for first, last in (*marks, (len(snippet), len(snippet))):
        pieces += [(_safe_piece(snippet[start:first]), "$quiet"), (_safe_piece(snippet[first:last]), "bold")]
        start = last
    return pieces


def _safe_piece(text: str) -> str:
    return safe(text).replace("\n", " ")
