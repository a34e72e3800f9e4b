"""One picture, as large as the screen allows."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from nanolocal.chat.drawing import StoredPicture
from nanolocal.errors import NanolocalError
from nanolocal.tui.lines import error_text
from nanolocal.tui.picture_tools import PictureTools
from nanolocal.tui.screens.pictures import PicturesScreen, Wanted
from nanolocal.tui.shelf import Shelf, about, facts
from nanolocal.tui.widgets.picture import LargePicture


class ViewerScreen(PicturesScreen[Wanted]):
    """Shows the picked picture of ``shelf`` and moves along it; ``more`` loads older ones where there may be some."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,up,pageup,b,k", "move(-1)", show=False, id="viewer.before"),
        Binding("right,down,pagedown,n,space,j", "move(1)", show=False, id="viewer.after"),
        Binding("escape,enter,q", "leave", show=False, id="viewer.close"),
    ]
    HINT = "← → others · a again · v vary · u use · ? keys · Esc back"

    def __init__(self, shelf: Shelf, tools: PictureTools, more: Callable[[], Awaitable[None]]) -> None:
        super().__init__(tools)
        self._shelf = shelf
        self._more = more

    def compose(self) -> ComposeResult:
        """The picture over its facts."""
        yield LargePicture()
        yield Static("", id="about", markup=False)
        yield Static("", id="facts", markup=False)
        yield Static(self.HINT, id="pictures-hint", markup=False)

    def on_mount(self) -> None:
        """Show the picked one."""
        self._show()

    def on_screen_suspend(self) -> None:
        """Another screen comes over it."""
        self._view.painter.hide(self._view)

    @property
    def picked(self) -> StoredPicture | None:
        """The one on the screen."""
        return self._shelf.picked

    def want(self, wanted: Wanted) -> None:
        """Close with it."""
        self._close(wanted)

    def removed(self, picture: StoredPicture) -> None:
        """Show the next one, or close after the last."""
        self._shelf.remove(picture)
        if self._shelf.picked is None:
            self._close(None)
        else:
            self._show()

    def action_leave(self) -> None:
        """Back to the others."""
        self._close(None)

    async def action_move(self, step: int) -> None:
        """Show the one before or after."""
        if self._shelf.move(step):
            self._show()
            if self._shelf.wants_more:
                await self._more()

    def _close(self, wanted: Wanted | None) -> None:
        self._view.painter.hide(self._view)
        self.dismiss(wanted)

    @property
    def _view(self) -> LargePicture:
        return self.query_one(LargePicture)

    @work(group="show", exclusive=True)
    async def _show(self) -> None:
        picture = self._shelf.picked
        if picture is None:
            return
        self.say("")
        self._tell(picture, None)
        try:
            data, size = await asyncio.to_thread(self.tools.to_show, picture)
        except NanolocalError as error:
            self._view.show(b"", error_text(error))
            return
        self._view.show(data)
        self._tell(picture, size)

    def _tell(self, picture: StoredPicture, size: tuple[int, int] | None) -> None:
        self.query_one("#about", Static).update(about(picture))
        self.query_one("#facts", Static).update(f"{self._shelf.place} · {facts(picture, size)}")
