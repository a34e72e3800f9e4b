"""Balance, budgets, and the newest entries of the ledger."""

from collections.abc import Callable

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from nanolocal.tui.credit_pages import Account, entry_line, summary
from nanolocal.tui.screens.overlay import Overlay


class CreditsScreen(Overlay[None]):
    """``open_receipt`` shows the receipt of the entry with that number."""

    TITLE_TEXT = "Credits"
    HINT = "Enter shows the receipt · Esc closes"

    def __init__(self, account: Account, open_receipt: Callable[[str], None]) -> None:
        super().__init__()
        self._account = account
        self._open_receipt = open_receipt

    def compose_body(self) -> ComposeResult:
        """What there is, over the entries."""
        with VerticalScroll(classes="summary", can_focus=False):
            yield Static(summary(self._account), markup=False)
        options = [Option(entry_line(entry), id=str(entry.seq)) for entry in self._account.entries]
        yield OptionList(*options, id="rows", compact=True, markup=False)

    def on_mount(self) -> None:
        """Start at the newest."""
        rows = self.query_one(OptionList)
        rows.highlighted = 0 if self._account.entries else None
        rows.focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Show how the entry came about."""
        event.stop()
        self._open_receipt(event.option_id or "")
