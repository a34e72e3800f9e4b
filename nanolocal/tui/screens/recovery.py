"""The recovery code: a question, the code to write down, and two of its groups typed back."""

import asyncio
import random
from collections.abc import Sequence
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Static

from nanolocal.errors import NanolocalError
from nanolocal.tui.lines import error_text
from nanolocal.tui.ports import VaultPort
from nanolocal.tui.screens.overlay import Overlay

_WHAT = (
    "A code to write on paper. It opens this vault, typed where the passphrase is asked for, when passphrase, key file "
    "or keyring are lost. Nothing else does then: nobody can send you another.\n\n"
    "Whoever has the paper and a copy of the vault can read all of it."
)
_AGAIN = "\n\nThere is a code already. A new one takes its place: the earlier one opens nothing any more."
_WRITE = "Write all of it on paper. It is not shown again."
_DONE = "Done: the code on your paper opens this vault.\n\nKeep the paper where this machine is not."
_AS_READ = str.maketrans("OIL", "011", " -")
_COLUMNS = 4
_HIGH = 20
"""Screens with so many rows have room between those of the code."""


def drawn(groups: Sequence[str], wrong: int | None = None, gap: str = "\n") -> Content:
    """The groups with their numbers and with space between the letters; the one numbered ``wrong`` stands out."""
    cells = [
        Content.assemble((f"{n:>2}  ", "$quiet"), (" ".join(group), "bold $warning" if n == wrong else "bold"), "   ")
        for n, group in enumerate(groups, 1)
    ]
    rows = [Content("").join(cells[start : start + _COLUMNS]) for start in range(0, len(cells), _COLUMNS)]
    return Content(gap).join(rows)


class RecoveryScreen(Overlay[bool]):
    """Returns whether the new code was checked, nothing where none was made.

    ``is_another`` says that there is a code already.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "make", show=False, id="recovery.yes"),
        Binding("n", "leave", show=False, id="recovery.no"),
        Binding("enter", "leave", show=False, id="recovery.close"),
    ]
    TITLE_TEXT = "Recovery code"
    HINT = "y makes a code · n or Esc leaves"

    def __init__(self, vault: VaultPort, is_another: bool) -> None:
        super().__init__()
        self._vault = vault
        self._is_another = is_another
        self._groups: list[str] = []
        self._asked: list[int] = []
        self._is_checked: bool | None = None

    def compose_body(self) -> ComposeResult:
        """What it is for."""
        with Vertical(id="step"):
            yield Static(_WHAT + (_AGAIN if self._is_another else ""), classes="panel-text", markup=False)

    def on_unmount(self) -> None:
        """Forget the code."""
        self._groups = []

    def action_leave(self) -> None:
        """Close; a code that was made stays in force."""
        self.dismiss(self._is_checked)

    @work(group="code", exclusive=True)
    async def action_make(self) -> None:
        """Make the code and show it."""
        if self._is_checked is not None:
            return
        try:
            code = await asyncio.to_thread(self._vault.make_recovery_code)
        except NanolocalError as error:
            self._hint(error_text(error))
            return
        self._groups, self._is_checked = code.split("-"), False
        self._asked = sorted(random.sample(range(1, len(self._groups) + 1), 2))
        await self._show(
            Static(_WRITE, classes="panel-text quiet", markup=False),
            Static(self._code(), id="code", classes="panel-text", markup=False),
            *(Input(placeholder=f"group {n} from your paper", id=f"group-{n}", compact=True) for n in self._asked),
        )
        self.query(Input).first().focus()
        self._hint("Type two groups back to check them · Enter goes on")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Check the groups that were typed."""
        for number in self._asked:
            box = self.query_one(f"#group-{number}", Input)
            typed = box.value.upper().translate(_AS_READ)
            if not typed and box is not event.input:
                box.focus()
                return
            if typed != self._groups[number - 1]:
                box.focus()
                self.query_one("#code", Static).update(self._code(number))
                self._hint(f"Group {number} is another one: compare it with your paper.")
                return
        self._finish()

    @work(group="code", exclusive=True)
    async def _finish(self) -> None:
        self._groups, self._is_checked = [], True
        await self._show(Static(_DONE, classes="panel-text", markup=False))
        self._hint("Enter or Esc closes")

    def _code(self, wrong: int | None = None) -> Content:
        return drawn(self._groups, wrong, "\n\n" if self.app.size.height >= _HIGH else "\n")

    async def _show(self, *widgets: Static | Input) -> None:
        step = self.query_one("#step", Vertical)
        await step.remove_children()
        await step.mount_all(widgets)

    def _hint(self, line: str) -> None:
        self.query_one(".panel-hint", Static).update(line)
