"""Small screens over the chat: a page to read, a question, and the frame that all overlays share."""

from typing import ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

Result = TypeVar("Result")


class Overlay(ModalScreen[Result]):
    """A calm panel in the middle; below 90 columns it is the whole screen."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Close", id="overlay.close", show=False)]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (90, "-wide")]  # noqa: RUF012 - not a ClassVar in Textual
    TITLE_TEXT = ""
    HINT = "Esc closes"

    def compose(self) -> ComposeResult:
        """Title, body, hint."""
        with Vertical(classes="panel"):
            yield Static(self.TITLE_TEXT, classes="panel-title", markup=False)
            yield from self.compose_body()
            yield Static(self.HINT, classes="panel-hint", markup=False)

    def compose_body(self) -> ComposeResult:
        """What the panel holds."""
        yield from ()

    def action_leave(self) -> None:
        """Close without a result."""
        self.dismiss(None)


class Page(Overlay[None]):
    """Text to read."""

    def __init__(self, title: str, content: Content) -> None:
        super().__init__()
        self.TITLE_TEXT = title
        self._content = content

    def compose_body(self) -> ComposeResult:
        """The text in a scroll."""
        with VerticalScroll(classes="page"):
            yield Static(self._content, markup=False)


class Confirm(Overlay[bool]):
    """A question that only ``y`` agrees to."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", show=False, id="confirm.yes"),
        Binding("n,enter", "answer(False)", show=False, id="confirm.no"),
    ]
    HINT = "y yes · n or Esc no"

    def __init__(self, question: str, detail: str) -> None:
        super().__init__(classes="small")
        self.TITLE_TEXT = question
        self._detail = detail

    def compose_body(self) -> ComposeResult:
        """What the answer leads to."""
        yield Static(self._detail, classes="panel-text", markup=False)

    def action_answer(self, agreed: bool) -> None:
        """Close with the answer."""
        self.dismiss(agreed)
