"""What the commands may do with the chat screen."""

from typing import Protocol

from textual.app import App

from nanolocal.tui.conversation import Conversation
from nanolocal.tui.ports import SessionPort
from nanolocal.tui.runner import Asked, TurnRunner
from nanolocal.tui.widgets.composer import Composer
from nanolocal.tui.widgets.transcript import Transcript


class ChatStage(Protocol):
    """The chat screen, as its commands see it."""

    session: SessionPort
    conversation: Conversation
    runner: TurnRunner

    @property
    def app(self) -> App[object]:
        """The running app."""
        ...

    @property
    def transcript(self) -> Transcript:
        """The column of turns."""
        ...

    @property
    def composer(self) -> Composer:
        """The prompt box."""
        ...

    async def open_chat(self, chat_id: str | None, message_id: str | None = None) -> None:
        """Show a conversation, at a message if one is named; ``None`` begins a new one."""
        ...

    async def send(self, text: str, wants_picture: bool = False) -> None:
        """Ask; raises ``UsageError`` where an attached file cannot be read."""
        ...

    def start(self, asked: Asked) -> None:
        """Run a turn."""
        ...

    def last_text(self) -> str:
        """The newest answer's text."""
        ...

    def show_choice(self) -> None:
        """Say on the status line who answers."""
        ...

    def show_balance(self, micro: int) -> None:
        """Show what can be spent after it was changed, and quote anew."""
        ...

    def say(self, line: str) -> None:
        """Show a line for a moment."""
        ...

    def tell(self, text: str, important: bool = False) -> None:
        """Show sentences until the user has seen them, in place of what was told before."""
        ...

    def watch_pull(self) -> None:
        """Show how the download goes until it has ended."""
        ...

    def watch_lab(self) -> None:
        """Show how a build is made smaller until that has ended."""
        ...

    def switch_theme(self) -> None:
        """Dark to light, or back."""
        ...

    def leave(self, how: str) -> None:
        """Close the session and the app; ``lock`` starts it again locked."""
        ...
