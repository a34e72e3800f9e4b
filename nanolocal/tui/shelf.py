"""The pictures of the gallery in pages of rows, and the lines that tell of one. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from nanolocal.chat.amounts import format_bytes
from nanolocal.chat.drawing import StoredPicture
from nanolocal.chat.picturefacts import settings
from nanolocal.safetext import safe_line
from nanolocal.tui.lines import day

BATCH = 60


@dataclass(slots=True)
class Shelf:
    """``at`` is the picture with the cursor; ``more`` says whether older ones may follow what is loaded."""

    pictures: list[StoredPicture] = field(default_factory=list)
    at: int = 0
    columns: int = 1
    rows: int = 1
    more: bool = False

    @property
    def picked(self) -> StoredPicture | None:
        """The picture with the cursor."""
        return self.pictures[self.at] if self.at < len(self.pictures) else None

    @property
    def start(self) -> int:
        """The first one of the page."""
        return self.at - self.at % self._size

    @property
    def page(self) -> list[StoredPicture]:
        """Those on the page."""
        return self.pictures[self.start : self.start + self._size]

    @property
    def wants_more(self) -> bool:
        """Whether the next page is not loaded yet and there may be one."""
        return self.more and len(self.pictures) < self.start + 2 * self._size

    @property
    def place(self) -> str:
        """Which one of how many: ``3 of 41``, ``3 of 60+`` where more are not loaded yet."""
        return f"{self.at + 1} of {len(self.pictures)}{'+' if self.more else ''}"

    def fill(self, pictures: Sequence[StoredPicture]) -> None:
        """Begin with these."""
        self.pictures, self.at = list(pictures), 0
        self.more = len(pictures) >= BATCH

    def extend(self, older: Sequence[StoredPicture]) -> None:
        """Older ones follow."""
        self.pictures += older
        self.more = len(older) >= BATCH

    def move(self, step: int) -> bool:
        """Take the cursor on by ``step`` pictures; whether it moved."""
        before = self.at
        self.at = max(0, min(len(self.pictures) - 1, self.at + step))
        return self.at != before

    def remove(self, picture: StoredPicture) -> None:
        """It is gone."""
        self.pictures = [each for each in self.pictures if each.id != picture.id]
        self.move(0)

    @property
    def _size(self) -> int:
        return self.columns * self.rows


def about(picture: StoredPicture) -> str:
    """What was asked for, in one line."""
    return safe_line(picture.prompt) or "no words"


def facts(picture: StoredPicture, pixels: tuple[int, int] | None = None) -> str:
    """How it was drawn, when and by whom: ``512 x 512 · 20 steps · seed 7 · 310 kB · 2026-11-27 20:15 · tiny:f16``."""
    receipt = picture.receipt
    origin = picture.build_id if picture.made_here or picture.build_id else "came with a prompt"
    size = (receipt.width, receipt.height) if receipt is not None and pixels is None else pixels
    parts = [
        f"{size[0]} x {size[1]}" if size else "",
        f"{receipt.steps} steps" if receipt else "",
        f"seed {receipt.seed}" if receipt else "",
        format_bytes(picture.size),
        day(picture.created_at),
        safe_line(origin),
    ]
    return " · ".join(part for part in parts if part)


def details(picture: StoredPicture) -> list[tuple[str, str]]:
    """Everything that is known of how it was drawn, as names and values."""
    rows = [("Prompt", about(picture)), ("From", safe_line(picture.build_id) or "a file of yours")]
    rows += [("Date", day(picture.created_at)), ("File", format_bytes(picture.size))]
    drawn = () if picture.receipt is None else settings(picture.receipt)
    return rows + [(f"{name[:1].upper()}{name[1:]}", safe_line(value)) for name, value in drawn]
