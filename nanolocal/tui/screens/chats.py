"""The list of conversations: titles, or the messages that a search finds."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from nanolocal.errors import NanolocalError, UsageError
from nanolocal.safetext import safe_line
from nanolocal.tui.lines import error_text
from nanolocal.tui.ports import ConversationsPort
from nanolocal.tui.rows import NOTHING_FOUND, Row, filter_hint, without_filter
from nanolocal.tui.screens.overlay import Confirm, Overlay

_PAGE = 100
_DEBOUNCE_S = 0.12


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen: a conversation, perhaps at a message; and which were erased."""

    chat_id: str | None
    message_id: str | None
    deleted: frozenset[str]


class ChatsScreen(Overlay[Choice]):
    """Type to search, Enter to open, Delete to erase."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "move(1)", show=False, priority=True),
        Binding("up", "move(-1)", show=False, priority=True),
        Binding("pagedown", "move(10)", show=False, priority=True),
        Binding("pageup", "move(-10)", show=False, priority=True),
        Binding("delete", "delete", show=False, priority=True, id="chats.delete"),
        Binding("enter", "open", show=False, priority=True, id="chats.open"),
    ]
    TITLE_TEXT = "Conversations"
    HINT = "Enter opens · Delete erases · Esc closes"

    def __init__(self, store: ConversationsPort) -> None:
        super().__init__()
        self._store = store
        self._rows: list[Row] = []
        self._deleted: set[str] = set()
        self._more = True

    def compose_body(self) -> ComposeResult:
        """The search box over the list."""
        yield Input(
            placeholder="Search; model: task: since: until: has: from: narrow it",
            id="search",
            compact=True,
        )
        rows = OptionList(id="rows", compact=True, markup=False)
        rows.can_focus = False
        yield rows

    def on_mount(self) -> None:
        """Show the newest conversations."""
        self._load("", 0.0)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Search for what is typed; a filter that is only begun says what it takes and does not count yet."""
        typed = event.value
        self._hint(filter_hint(typed) or self.HINT)
        self._load(without_filter(typed) if typed.endswith(":") else typed.strip(), _DEBOUNCE_S)

    def on_resize(self) -> None:
        """Cut the snippets anew."""
        if self._rows:
            self._show(self._rows, self.query_one(OptionList).highlighted or 0)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Open what was clicked."""
        self.query_one(OptionList).highlighted = event.option_index
        self.action_open()

    def action_leave(self) -> None:
        """Close; say what was erased."""
        self.dismiss(Choice(None, None, frozenset(self._deleted)))

    def action_move(self, step: int) -> None:
        """Move the highlight; at the end, fetch more."""
        rows = self.query_one(OptionList)
        if not self._rows:
            return
        rows.highlighted = max(0, min(len(self._rows) - 1, (rows.highlighted or 0) + step))
        if rows.highlighted == len(self._rows) - 1 and self._more:
            self._extend()

    def action_open(self) -> None:
        """Close with the highlighted row."""
        row = self._highlighted
        if row is not None:
            self.dismiss(Choice(row.chat_id, row.message_id, frozenset(self._deleted)))

    def action_delete(self) -> None:
        """Erase the highlighted conversation, after a question."""
        row = self._highlighted
        if row is None:
            return
        question = Confirm("Erase this conversation?", f"{row.title}\n\nAll of it, for good: there is no way back.")

        def answered(agreed: bool | None) -> None:
            if agreed:
                self._erase(row.chat_id)

        self.app.push_screen(question, answered)

    @property
    def _highlighted(self) -> Row | None:
        place = self.query_one(OptionList).highlighted
        return self._rows[place] if place is not None and place < len(self._rows) else None

    @work(group="rows", exclusive=True)
    async def _load(self, query: str, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        try:
            rows = await asyncio.to_thread(self._find, query)
        except UsageError as error:
            shorter = without_filter(query)
            if shorter == query:
                self._hint(safe_line(f"{error.message}: {error.hint}"))
            else:
                self._load(shorter, 0.0)
            return
        except NanolocalError as error:
            self._say(error_text(error))
            return
        self._more = not query and len(rows) == _PAGE
        self._show(rows, 0)
        if not rows:
            self._say(NOTHING_FOUND if query else "No conversations yet.")

    def _find(self, query: str) -> list[Row]:
        if query:
            return [Row.of_hit(hit) for hit in self._store.search(query, _PAGE)]
        return [Row.of_chat(chat) for chat in self._store.chats(_PAGE, 0)]

    @work(group="rows", exclusive=True)
    async def _extend(self) -> None:
        chats = await asyncio.to_thread(self._store.chats, _PAGE, len(self._rows))
        self._more = len(chats) == _PAGE
        self._show([*self._rows, *[Row.of_chat(chat) for chat in chats]], len(self._rows) - 1)

    @work(group="erase")
    async def _erase(self, chat_id: str) -> None:
        try:
            await asyncio.to_thread(self._store.delete_chat, chat_id)
        except NanolocalError as error:
            self._hint(error_text(error))
            return
        self._deleted.add(chat_id)
        place = self.query_one(OptionList).highlighted or 0
        self._show([row for row in self._rows if row.chat_id != chat_id], place)

    def _show(self, rows: Sequence[Row], highlighted: int) -> None:
        self._rows = list(rows)
        shown = self.query_one(OptionList)
        width = shown.scrollable_content_region.width
        shown.set_options([Option(row.content(width)) for row in rows])
        shown.highlighted = min(highlighted, len(rows) - 1) if rows else None

    def _hint(self, line: str) -> None:
        self.query_one(".panel-hint", Static).update(line)

    def _say(self, line: str) -> None:
        self._rows = []
        self.query_one(OptionList).set_options([Option(Content.styled(line, "$quiet"), disabled=True)])
