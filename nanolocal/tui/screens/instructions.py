"""What every new conversation begins with."""

from textual.app import ComposeResult
from textual.widgets import Static

from nanolocal.tui.screens.overlay import Overlay
from nanolocal.tui.widgets.composer import PromptBox

_WHAT = (
    "Every new conversation begins with these words, unseen, here and in nanolocal ask and chat. They are encrypted "
    "like everything else and count as tokens of each prompt. Empty means none."
)


class InstructionsScreen(Overlay[str]):
    """Returns the new instructions, empty for none; nothing where it was left."""

    TITLE_TEXT = "Instructions"
    HINT = "Enter keeps them · Ctrl+J new line · Esc leaves them as they were"

    def __init__(self, present: str) -> None:
        super().__init__()
        self._present = present

    def compose_body(self) -> ComposeResult:
        """What they do, then the box."""
        yield Static(_WHAT, classes="panel-text quiet", markup=False)
        yield PromptBox(lambda key: False)

    def on_mount(self) -> None:
        """Begin with the present ones."""
        box = self.query_one(PromptBox)
        box.placeholder = "For example: Answer in short sentences."
        box.load_text(self._present)
        box.move_cursor(box.document.end)
        box.focus()

    def on_prompt_box_submitted(self) -> None:
        """Close with what was typed."""
        self.dismiss(self.query_one(PromptBox).text.strip())
