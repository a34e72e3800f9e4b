"""What the app has to tell until the user has seen it, between transcript and prompt."""

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static


class Notice(VerticalScroll, can_focus=False):
    """Nothing, or some sentences that stay until Esc or a click; they scroll where they are very long."""

    class Dismissed(Message):
        """The user has seen something important."""

    def __init__(self) -> None:
        super().__init__(id="notice")
        self.display = False

    def compose(self) -> ComposeResult:
        """The sentences."""
        yield Static(markup=False)

    def tell(self, text: str, important: bool = False) -> None:
        """Show ``text``, safe to draw, or with none nothing; ``important`` makes it stand out."""
        self.query_one(Static).update(Content.assemble(text, ("  Esc hides this", "$quiet")))
        self.set_class(important, "important")
        self.display = bool(text)

    def dismiss(self) -> bool:
        """Take it off; ``False`` where there was none."""
        was_shown = bool(self.display)
        self.display = False
        if was_shown and self.has_class("important"):
            self.post_message(self.Dismissed())
        return was_shown

    def on_click(self) -> None:
        """Take it off."""
        self.dismiss()
