"""The first run: what is encrypted and how, then what this machine has. Every page can be skipped."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.events import Key
from textual.screen import Screen
from textual.widgets import Input, Static

from nanolocal.chat.amounts import format_bytes
from nanolocal.chat.routes import Build
from nanolocal.errors import NanolocalError
from nanolocal.safetext import safe_line
from nanolocal.tui.lines import build_row, cut, error_text
from nanolocal.tui.ports import MachinePort
from nanolocal.tui.screens.gate import Unlock
from nanolocal.tui.strength import strength

FIRST_PROMPT = "Tell me a short story about a fox and a lantern."
RECOVERY_OFFER = "/recovery makes a code for lost keys."

_PRIVATE = (
    "Conversations, files, pictures, search and credits are kept on this device in one encrypted vault. "
    "Nothing leaves it unless you ask for a download or a server of your own."
)
_KEY_FILE = (
    "Leave it empty to use a key file beside the vault: it protects a copied vault, "
    "not against someone who can read your home directory."
)


class WelcomeScreen(Screen[None]):
    """Chooses the vault's key."""

    AUTO_FOCUS = "#passphrase"

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "skip", show=False, priority=True, id="welcome.skip")]

    def compose(self) -> ComposeResult:
        """What is encrypted, then the passphrase twice."""
        with VerticalScroll(classes="gate"):
            yield Static("Welcome to nanolocal", classes="brand", markup=False)
            yield Static(_PRIVATE, classes="panel-text", markup=False)
            yield Input(password=True, placeholder="passphrase", id="passphrase", compact=True)
            yield Input(password=True, placeholder="the same again", id="again", compact=True)
            yield Static(_KEY_FILE, classes="panel-text quiet", markup=False)
            yield Static("Enter goes on · Esc skips, with a key file", id="message", markup=False)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Say how good it is."""
        if event.value and event.input.id == "passphrase":
            self._say(strength(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Check that both are the same; nothing in both means a key file."""
        first, again = self.query_one("#passphrase", Input), self.query_one("#again", Input)
        if event.input is first and first.value:
            again.focus()
        elif first.value != again.value:
            self._say("The two are not the same. Try again.")
            again.value = ""
            again.focus()
        else:
            self._open(first.value or None)

    def action_skip(self) -> None:
        """Go on with a key file."""
        self._open(None)

    def show_error(self, error: NanolocalError) -> None:
        """Say why the vault could not be made."""
        self._say(error_text(error))
        self._let_type(True)

    def _open(self, passphrase: str | None) -> None:
        if self.query_one("#passphrase", Input).disabled:
            return
        self._let_type(False)
        self._say("making the vault")
        self.post_message(Unlock(passphrase))

    def _let_type(self, allowed: bool) -> None:
        for box in self.query(Input):
            box.disabled = not allowed
        if allowed:
            self.query_one("#passphrase", Input).focus()

    def _say(self, line: str) -> None:
        self.query_one("#message", Static).update(line)


class MachineScreen(Screen[None]):
    """Tells what this machine has, which builds were found, and what credits are.

    ``begin`` takes the first letter of who begins to type a prompt here already.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,escape,space", "go_on", show=False, priority=True, id="machine.go")
    ]

    def __init__(self, machine: MachinePort, builds: Sequence[Build], begin: Callable[[str], None]) -> None:
        super().__init__()
        self._machine = machine
        self._builds = builds
        self._begin = begin

    def compose(self) -> ComposeResult:
        """Machine, builds, credits."""
        with Vertical(classes="gate"):
            yield Static("This machine", classes="brand", markup=False)
            yield Static(self._machine_line(), classes="panel-text", markup=False)
            yield Static(self._build_lines(), classes="panel-text builds", markup=False)
            yield Static(
                "Credits are a meter on this device, not money: each answer says what it cost. "
                "You start with 0.10 credit and can top up any time.",
                classes="panel-text quiet",
                markup=False,
            )
            yield Static("Enter starts, with a first prompt filled in", id="message", markup=False)

    def action_go_on(self) -> None:
        """Start."""
        self.dismiss(None)

    def on_key(self, event: Key) -> None:
        """Start with a prompt."""
        if event.is_printable and event.character:
            self._begin(event.character)
            self.dismiss(None)

    def _machine_line(self) -> str:
        machine = self._machine
        parts = [machine.processor, f"{machine.cores} cores", f"{format_bytes(machine.memory_total)} memory"]
        return " · ".join(safe_line(part) for part in [*parts, *machine.accelerators])

    def _build_lines(self) -> str:
        if not self._builds:
            return "No models found. Put a .gguf file into the folder that nanolocal doctor names."
        shown = [cut(f"  {safe_line(build.name)}  {build_row(build)}", 72) for build in self._builds[:4]]
        rest = len(self._builds) - len(shown)
        more = [f"  and {rest} more"] if rest else []
        return "\n".join([f"{len(self._builds)} builds found", *shown, *more])
