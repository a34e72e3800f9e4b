"""Sets, changes or removes the passphrase."""

import asyncio
from collections.abc import Sequence

from textual import work
from textual.app import ComposeResult
from textual.widgets import Input, Static

from nanolocal.errors import NanolocalError, VaultLocked
from nanolocal.tui.lines import error_text
from nanolocal.tui.ports import VaultPort
from nanolocal.tui.screens.overlay import Confirm, Overlay
from nanolocal.tui.strength import strength

_OPENED_BY = {"passphrase": "a passphrase", "keyring": "a key in this system's keyring", "keyfile": "a key file"}
_REMOVAL = (
    "A key file beside the vault opens it from then on. It protects a copied vault, "
    "not against someone who can read your home directory."
)


class PassphraseScreen(Overlay[str]):
    """Returns a line on what opens the vault from now on; ``slots`` are what opens it now."""

    TITLE_TEXT = "Passphrase"
    HINT = "Enter goes on · Esc leaves it as it was"

    def __init__(self, vault: VaultPort, slots: Sequence[str]) -> None:
        super().__init__()
        self._vault = vault
        self._opener = next((name for name in _OPENED_BY if name in slots), "keyfile")
        self._is_working = False

    def compose_body(self) -> ComposeResult:
        """What opens the vault now, the old passphrase, the new one twice."""
        how = " Leave both new ones empty to remove it." if self._has_one else ""
        text = f"The vault is opened by {_OPENED_BY[self._opener]}.{how} A recovery code stays as it is."
        yield Static(text, classes="panel-text quiet", markup=False)
        if self._has_one:
            yield Input(password=True, placeholder="the present passphrase", id="old", compact=True)
        yield Input(password=True, placeholder="a new passphrase", id="new", compact=True)
        yield Input(password=True, placeholder="the same again", id="again", compact=True)
        yield Static("", id="strength", markup=False)

    @property
    def _has_one(self) -> bool:
        return self._opener == "passphrase"

    def on_input_changed(self, event: Input.Changed) -> None:
        """Say how good the new one is."""
        if event.input.id == "new":
            self._say(strength(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go on to the next box; from the last, change it."""
        boxes = list(self.query(Input))
        if event.input is not boxes[-1]:
            boxes[boxes.index(event.input) + 1].focus()
            return
        new, again = self.query_one("#new", Input).value, event.input
        if new != again.value:
            again.value = ""
            self._say("The two are not the same. Try again.")
        elif new:
            self._change(new)
        elif self._has_one:
            self.app.push_screen(Confirm("Remove the passphrase?", _REMOVAL), self._remove)
        else:
            self._say("Type a new passphrase, or leave with Esc.")

    def action_leave(self) -> None:
        """Close, but not in the middle of the change."""
        if not self._is_working:
            self.dismiss(None)

    def _remove(self, agreed: bool | None) -> None:
        if agreed:
            self._change(None)

    @work(group="change", exclusive=True)
    async def _change(self, new: str | None) -> None:
        self._let_type(False)
        self._say("working, for a second or two")
        try:
            if self._has_one:
                await asyncio.to_thread(self._vault.check_passphrase, self.query_one("#old", Input).value)
            await asyncio.to_thread(self._vault.change_passphrase, new)
        except VaultLocked:
            self._refuse("! Not the present passphrase; nothing was changed.", "#old")
        except NanolocalError as error:
            self._refuse(error_text(error), "#new")
        else:
            self.dismiss(f"{'The new passphrase' if new else 'A key file'} opens the vault from now on.")

    def _refuse(self, line: str, wrong: str) -> None:
        self._let_type(True)
        box = self.query_one(wrong, Input)
        with self.prevent(Input.Changed):
            box.value = ""
        box.focus()
        self._say(line)

    def _let_type(self, allowed: bool) -> None:
        self._is_working = not allowed
        for box in self.query(Input):
            box.disabled = not allowed

    def _say(self, line: str) -> None:
        self.query_one("#strength", Static).update(line)
