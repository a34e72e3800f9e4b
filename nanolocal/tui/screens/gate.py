"""What is shown before the vault is open: a calm wait, or the question for the passphrase."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Input, Static

from nanolocal.errors import NanolocalError
from nanolocal.tui.lines import error_text


class Unlock(Message):
    """The user wants the vault opened, with a passphrase or with its key file."""

    def __init__(self, passphrase: str | None) -> None:
        super().__init__()
        self.passphrase = passphrase


class OpeningScreen(Screen[None]):
    """The first thing on the screen; also where an error that stops everything is told."""

    def compose(self) -> ComposeResult:
        """One line in the middle."""
        with Vertical(classes="gate"):
            yield Static("nanolocal", classes="brand", markup=False)
            yield Static("opening the vault", id="message", markup=False)

    def show_error(self, error: NanolocalError) -> None:
        """Say why there is nothing to open."""
        self.query_one("#message", Static).update(f"{error_text(error)}\n\nCtrl+Q quits.")


class UnlockScreen(Screen[None]):
    """Asks for ``secret``, such as the passphrase; where that is empty, a vault with a key file only needs Enter."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "open", show=False, id="unlock.open")]

    def __init__(self, secret: str) -> None:
        super().__init__()
        self.secret = secret

    def compose(self) -> ComposeResult:
        """Brand, question, answer."""
        with Vertical(classes="gate"):
            yield Static("nanolocal is locked", classes="brand", markup=False)
            if self.secret:
                yield Input(password=True, placeholder=self.secret, id="passphrase", compact=True)
                yield Static("Enter unlocks · Ctrl+Q quits", id="message", markup=False)
            else:
                text = "This vault opens with its key file.\nEnter opens it · Ctrl+Q quits"
                yield Static(text, id="message", markup=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Try the passphrase."""
        if event.value and not event.input.disabled:
            event.input.disabled = True
            self._say("unlocking")
            self.post_message(Unlock(event.value))

    def action_open(self) -> None:
        """Open with the key file."""
        if not self.secret:
            self._say("opening")
            self.post_message(Unlock(None))

    def show_error(self, error: NanolocalError) -> None:
        """Say what was wrong, and let the user try again."""
        self._say(error_text(error))
        for box in self.query(Input):
            box.disabled = False
            box.value = ""
            box.focus()

    def _say(self, line: str) -> None:
        self.query_one("#message", Static).update(line)
