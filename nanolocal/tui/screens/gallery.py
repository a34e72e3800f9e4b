"""All pictures of the vault, the newest first."""

import asyncio
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid
from textual.widgets import Input, Static

from nanolocal.chat.drawing import StoredPicture
from nanolocal.chat.ports import Gallery
from nanolocal.errors import NanolocalError
from nanolocal.tui.lines import error_text
from nanolocal.tui.picture_tools import PictureTools
from nanolocal.tui.screens.pictures import PicturesScreen, Wanted
from nanolocal.tui.screens.viewer import ViewerScreen
from nanolocal.tui.shelf import BATCH, Shelf, about, facts
from nanolocal.tui.thumbnails import Thumbnails
from nanolocal.tui.widgets.thumb import Thumb

_DEBOUNCE_S = 0.12
_WIDTH, _HEIGHT = 20, 10
_EMPTY = "No pictures yet.\n\n/image a red barn in the snow   draws one.\n/attach FILE   adds one to a prompt."
_NOT_FOUND = "Nothing found.\n\nFewer words find more; the last may be unfinished."


class GalleryScreen(PicturesScreen[Wanted]):
    """Arrows move, Enter shows, ``/`` searches the prompts."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "move(-1)", show=False, id="gallery.left"),
        Binding("right,l", "move(1)", show=False, id="gallery.right"),
        Binding("up,k", "line(-1)", show=False, id="gallery.up"),
        Binding("down,j", "line(1)", show=False, id="gallery.down"),
        Binding("pageup", "page(-1)", show=False, id="gallery.pageup"),
        Binding("pagedown,space", "page(1)", show=False, id="gallery.pagedown"),
        Binding("home", "far(-1)", show=False, id="gallery.first"),
        Binding("end", "far(1)", show=False, id="gallery.last"),
        Binding("enter", "show", show=False, id="gallery.show"),
        Binding("slash", "search", show=False, id="gallery.search"),
        Binding("escape", "leave", show=False, priority=True, id="gallery.close"),
    ]
    HINT = "Enter shows · / searches · ? keys · Esc closes"
    SEARCH_HINT = "Enter goes to what was found · Esc leaves the search"

    def __init__(self, gallery: Gallery, tools: PictureTools, words: str = "") -> None:
        super().__init__(tools)
        self._gallery = gallery
        self._thumbnails = Thumbnails(gallery)
        self._shelf = Shelf()
        self._query = words
        self._is_loaded = False

    def compose(self) -> ComposeResult:
        """Title and search over the pictures, and a line about the picked one."""
        yield Static("Pictures", id="pictures-title", markup=False)
        yield Input(self._query, placeholder="/ searches the prompts", id="search", compact=True)
        yield Grid(id="wall")
        yield Static("", id="none", markup=False)
        yield Static("", id="about", markup=False)
        yield Static(self.HINT, id="pictures-hint", markup=False)

    async def on_mount(self) -> None:
        """Show the newest."""
        self.query_one("#none").display = False
        self._load(self._query, 0.0)

    async def on_resize(self) -> None:
        """Hang as many as there is room for."""
        self.call_after_refresh(self._hang)

    @property
    def picked(self) -> StoredPicture | None:
        """The one with the cursor."""
        return self._shelf.picked

    def want(self, wanted: Wanted) -> None:
        """Close with it."""
        self.dismiss(wanted)

    def removed(self, picture: StoredPicture) -> None:
        """Close the gap."""
        self._shelf.remove(picture)
        self._show()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Search for what is typed."""
        if event.value.strip() != self._query:
            self._load(event.value.strip(), _DEBOUNCE_S)

    def on_input_submitted(self) -> None:
        """Go on among what was found."""
        self.set_focus(None)

    def on_descendant_focus(self) -> None:
        """Say how the search ends."""
        self.HINT = self.SEARCH_HINT
        self.say("")

    def on_descendant_blur(self) -> None:
        """Back to the keys of the pictures."""
        self.HINT = type(self).HINT
        self.say("")

    async def on_thumb_clicked(self, event: Thumb.Clicked) -> None:
        """Pick it; show it where it was picked already."""
        place = self._shelf.start + event.place
        if place == self._shelf.at:
            self.action_show()
        else:
            await self.action_move(place - self._shelf.at)

    def action_search(self) -> None:
        """Type into the search."""
        self.query_one(Input).focus()

    def action_leave(self) -> None:
        """Leave the search, else close."""
        if self.focused is None:
            self.dismiss(None)
        else:
            self.set_focus(None)

    def action_show(self) -> None:
        """Look at the picked one."""
        if self.picked is not None:
            self.app.push_screen(ViewerScreen(self._shelf, self.tools, self._extend), self._looked)

    async def action_move(self, step: int) -> None:
        """Take the cursor on, to another page where it must."""
        if self._shelf.move(step):
            self._show()
        if self._shelf.wants_more:
            await self._extend()

    async def action_line(self, step: int) -> None:
        """A line up or down."""
        await self.action_move(step * self._shelf.columns)

    async def action_page(self, step: int) -> None:
        """A page."""
        await self.action_move(step * self._shelf.columns * self._shelf.rows)

    async def action_far(self, step: int) -> None:
        """To the first, or the last of those that are loaded."""
        await self.action_move(step * len(self._shelf.pictures))

    def _looked(self, wanted: Wanted | None) -> None:
        if wanted is not None:
            self.dismiss(wanted)
        else:
            self._show()

    @work(group="shelf", exclusive=True)
    async def _load(self, query: str, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        try:
            found = await asyncio.to_thread(self._gallery.pictures, query, BATCH)
        except NanolocalError as error:
            self.say(error_text(error))
            return
        self._query, self._is_loaded = query, True
        self._shelf.fill(found)
        self._show()

    async def _extend(self) -> None:
        """Load older ones."""
        oldest = self._shelf.pictures[-1].created_at
        self._shelf.more = False  # once is enough
        try:
            older = await asyncio.to_thread(self._gallery.pictures, self._query, BATCH, oldest)
        except NanolocalError as error:
            self.say(error_text(error))
            return
        self._shelf.extend(older)
        self._show()

    async def _hang(self) -> None:
        """Make as many places as fit."""
        wall, shelf = self.query_one("#wall", Grid), self._shelf
        height = self.size.height - 4
        shelf.columns, shelf.rows = max(1, self.size.width // _WIDTH), max(1, height // _HEIGHT)
        wall.styles.grid_size_columns, wall.styles.grid_size_rows = shelf.columns, shelf.rows
        wanted = shelf.columns * shelf.rows
        if len(wall.children) != wanted:
            await wall.remove_children()
            await wall.mount_all(Thumb(place) for place in range(wanted))
        self._show()

    def _show(self) -> None:
        """Say what there is, and show the page."""
        if not self.is_attached:
            return
        picked, nothing = self.picked, self.query_one("#none", Static)
        nothing.update("" if not self._is_loaded else _NOT_FOUND if self._query else _EMPTY)
        nothing.display = picked is None
        self.query_one("#wall").display = picked is not None
        title = f"Pictures  {self._shelf.place} · {facts(picked)}" if picked else "Pictures"
        self.query_one("#pictures-title", Static).update(title)
        self.query_one("#about", Static).update(about(picked) if picked else "")
        self._fill()

    @work(group="thumbs", exclusive=True)
    async def _fill(self) -> None:
        page = self._shelf.page
        at = self._shelf.at - self._shelf.start
        thumbs = list(self.query(Thumb))
        for place, thumb in enumerate(thumbs):
            picture = page[place] if place < len(page) else None
            data = self._thumbnails.kept(picture.id) if picture else None
            thumb.put(about(picture) if picture else "", data, place == at and picture is not None)
        for place, picture in enumerate(page[: len(thumbs)]):
            if self._thumbnails.kept(picture.id) is None:
                await asyncio.to_thread(self._thumbnails.make, picture.id)
                thumbs[place].put(about(picture), self._thumbnails.kept(picture.id), place == at)
