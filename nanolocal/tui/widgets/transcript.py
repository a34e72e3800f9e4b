"""The scrolling column of turns: follows what is written, mounts at most a window of turns."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from nanolocal.chat.messages import Attachment
from nanolocal.tui.turns import Turn, Window
from nanolocal.tui.widgets.answer import AnswerView
from nanolocal.tui.widgets.turn import NameOf, TurnView

_FOUND_S = 3.0
_GREETING = (
    "Ask anything. It is answered on this device and kept encrypted.\n\n"
    "Enter sends · Ctrl+J starts a new line · Esc stops\n"
    "/ commands · @ attaches a file · F1 help"
)


class More(Static, can_focus=True):
    """A line that stands for turns that are not mounted; Enter or a click brings a page of them."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "more", "Show them", show=False)]

    class Wanted(Message):
        """The user wants the turns that ``line`` stands for."""

        def __init__(self, line: "More") -> None:
            super().__init__()
            self.line = line

    def __init__(self, id: str) -> None:
        super().__init__("", id=id, classes="more", markup=False)
        self.display = False

    def action_more(self) -> None:
        """Ask for them."""
        self.post_message(self.Wanted(self))

    on_click = action_more


class Transcript(VerticalScroll):
    """Turns of one branch. Scrolling up stays where the reader is; the end follows again."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll_down", show=False),
        Binding("k", "scroll_up", show=False),
        Binding("g", "scroll_home", show=False),
        Binding("G", "scroll_end", show=False),
    ]

    class Moved(Message):
        """The view was scrolled or what it shows grew."""

    def __init__(self, name_of: NameOf) -> None:
        super().__init__(id="transcript")
        self._name_of = name_of
        self._turns: list[Turn] = []
        self._window = Window.newest(0)
        self._live: TurnView | None = None

    def compose(self) -> ComposeResult:
        """Start empty."""
        with Vertical(id="turns"):
            yield Static(_GREETING, id="greeting", markup=False)
            yield More("earlier")
            yield More("later")

    def on_mount(self) -> None:
        """Follow the end."""
        self.anchor()

    @property
    def views(self) -> list[TurnView]:
        """The mounted turns from the oldest to the newest."""
        return list(self._column.query_children(TurnView))

    @property
    def _column(self) -> Vertical:
        return self.query_one("#turns", Vertical)

    @property
    def follows(self) -> bool:
        """Whether the end is in view."""
        return self.scroll_offset.y >= self.max_scroll_y - 1

    async def show(self, turns: Sequence[Turn], message_id: str | None = None) -> None:
        """Show another branch: its end, or the message ``message_id``, marked for a moment."""
        at = next((n for n, turn in enumerate(turns) if message_id in (turn.prompt.id, turn.tip_id)), None)
        await self._column.query_children(TurnView).remove()
        await self.clear_notice()
        self._live = None
        self._turns = list(turns)
        self._window = Window.newest(len(turns)) if at is None else Window.around(len(turns), at)
        await self._mount_range(self._window.start, self._window.end, before="#later")
        self._show_lines()
        self.anchor(at is None)
        if at is not None:
            view = self.views[at - self._window.start]
            is_prompt = turns[at].prompt.id == message_id
            self.call_after_refresh(self._point_at, view, view if is_prompt else view.answer)

    async def add_live(self, text: str, attachments: tuple[Attachment, ...]) -> TurnView:
        """Add a turn whose answer is about to be written, and follow it."""
        if self._window.end < len(self._turns):
            await self.show(self._turns)
        await self.clear_notice()
        self._window = self._window.grown()
        self._live = view = TurnView(text, attachments, AnswerView("nanolocal"))
        await self._column.mount(view, before="#later")
        await self._prune(above=True)
        self._show_lines()
        self.anchor()
        return view

    async def drop_last(self) -> None:
        """Take the newest turn off, because another version of it follows."""
        if self._window.end < len(self._turns):
            await self.show(self._turns)
        if self.views:
            await self.views[-1].remove()
            self._turns = self._turns[:-1]
            self._window = self._window.shrunk()

    async def drop_live(self) -> None:
        """Take off a turn of which nothing was stored."""
        if self._live is not None:
            await self._live.remove()
            self._live = None
            self._window = self._window.shrunk()
            self._show_lines()

    async def show_notice(self, line: str) -> None:
        """Put one calm line at the end; it leaves with the next prompt."""
        await self.clear_notice()
        await self._column.mount(Static(line, classes="error-line notice", markup=False), before="#later")
        self.query_one("#greeting").display = False
        self.anchor()

    async def clear_notice(self) -> None:
        """Take the notice off."""
        await self._column.query_children(".notice").remove()

    def keep(self, turns: Sequence[Turn]) -> None:
        """Take over the stored form of what is already shown."""
        self._live = None
        self._turns = list(turns)
        if self.views and turns and self._window.end == len(turns):
            self.views[-1].show_stored(turns[-1])

    async def on_more_wanted(self, event: More.Wanted) -> None:
        """Mount a page above or below."""
        event.stop()
        await (self.load_earlier() if event.line.id == "earlier" else self.load_later())

    async def load_earlier(self) -> None:
        """Mount a page above and keep what is being read in its place."""
        wanted = self._window.earlier()
        if self._live is not None and wanted.end < self._window.end:
            return
        old, self._window = self._window, wanted
        height, position = self.virtual_size.height, self.scroll_offset.y
        await self._mount_range(self._window.start, old.start, after="#earlier")
        await self._prune(above=False)
        self._show_lines()
        self.call_after_refresh(self._hold_place, height, position)

    async def load_later(self) -> None:
        """Mount a page below."""
        old, self._window = self._window, self._window.later()
        await self._mount_range(old.end, self._window.end, before="#later")
        await self._prune(above=True)
        self._show_lines()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Tell the screen, which shows a hint while newer text is out of view."""
        super().watch_scroll_y(old_value, new_value)
        self.post_message(self.Moved())

    def action_scroll_home(self) -> None:
        """Go to the first mounted turn; from there, to a page of earlier ones."""
        self._earlier_or(super().action_scroll_home)

    def action_page_up(self) -> None:
        """Go a page up; from the top, to a page of earlier turns."""
        self._earlier_or(super().action_page_up)

    def _earlier_or(self, scroll: Callable[[], None]) -> None:
        if self.scroll_offset.y == 0 and self._window.start > 0:
            self.run_worker(self.load_earlier(), group="window", exclusive=True)
        else:
            scroll()

    def _point_at(self, view: TurnView, found: Widget | None) -> None:
        """Show the turn from its top, or lower down as far as its answer needs it."""
        found = found or view
        self.scroll_to_widget(view, animate=False, top=True, immediate=True)
        self.call_after_refresh(self.scroll_to_widget, found, animate=False)
        found.add_class("found")
        self.set_timer(_FOUND_S, lambda: found.remove_class("found"))

    def _hold_place(self, height: int, position: int) -> None:
        grown = self.virtual_size.height - height
        self.scroll_to(y=position + max(0, grown), animate=False, force=True)

    async def _mount_range(self, start: int, end: int, before: str | None = None, after: str | None = None) -> None:
        views = [TurnView.stored(turn, self._name_of) for turn in self._turns[start:end]]
        if views:
            await self._column.mount_all(views, before=before, after=after)

    async def _prune(self, above: bool) -> None:
        surplus = len(self.views) - (self._window.end - self._window.start)
        if surplus > 0:
            for view in self.views[:surplus] if above else self.views[-surplus:]:
                await view.remove()

    def _show_lines(self) -> None:
        window = self._window
        for name, hidden, mark in (("earlier", window.start, "▲"), ("later", window.total - window.end, "▼")):
            line = self.query_one(f"#{name}", More)
            line.display = hidden > 0
            line.update(f"{mark} {hidden} {name} {'turn' if hidden == 1 else 'turns'}")
        self.query_one("#greeting").display = window.total == 0
