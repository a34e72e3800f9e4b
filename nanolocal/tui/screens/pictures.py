"""What the gallery and the screen of one picture share: the keys that do something with a picture."""

import asyncio
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from textual import work
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Static

from nanolocal.chat.drawing import StoredPicture
from nanolocal.errors import NanolocalError
from nanolocal.tui import clipboard
from nanolocal.tui.lines import error_text
from nanolocal.tui.picture_tools import PictureTools, suggested_name
from nanolocal.tui.screens.filename import FileNameScreen
from nanolocal.tui.screens.overlay import Confirm, Page
from nanolocal.tui.shelf import about, details

_SECONDS = 5.0
KEYS = (
    ("Enter", "look at it; Esc goes back"),
    ("Arrows", "go to the others; also PgUp PgDn Home End"),
    ("/", "search the prompts"),
    ("a", "draw it again, from another seed"),
    ("v", "draw from it, changed moderately"),
    ("e", "enlarge it, with a build that does so"),
    ("u", "use it for the next prompt"),
    ("g", "go to its conversation"),
    ("i", "how it was drawn"),
    ("o", "open it in the system's viewer, unencrypted"),
    ("s", "save it to a file"),
    ("c", "copy its prompt"),
    ("p", "copy the picture"),
    ("Delete", "erase it"),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the conversation is to do with a picture: ``again``, ``vary``, ``enlarge``, ``use``, or ``chat``."""

    what: str
    picture: StoredPicture


Result = TypeVar("Result")


class PicturesScreen(Screen[Result]):
    """One picture is ``picked``; ``want`` closes with something that only a conversation can do."""

    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "do('open')", show=False, id="pictures.open"),
        Binding("s", "do('save')", show=False, id="pictures.save"),
        Binding("c", "do('words')", show=False, id="pictures.words"),
        Binding("p", "do('copy')", show=False, id="pictures.copy"),
        Binding("a", "do('again')", show=False, id="pictures.again"),
        Binding("v", "do('vary')", show=False, id="pictures.vary"),
        Binding("e", "do('enlarge')", show=False, id="pictures.enlarge"),
        Binding("u", "do('use')", show=False, id="pictures.use"),
        Binding("g", "do('chat')", show=False, id="pictures.chat"),
        Binding("i", "do('details')", show=False, id="pictures.details"),
        Binding("delete", "do('delete')", show=False, id="pictures.delete"),
        Binding("question_mark,f1", "keys", show=False, id="pictures.keys"),
    ]
    HINT = ""

    def __init__(self, tools: PictureTools) -> None:
        super().__init__()
        self.tools = tools
        self._timer: Timer | None = None

    @property
    def picked(self) -> StoredPicture | None:
        """The picture that the keys act on."""
        raise NotImplementedError

    def want(self, wanted: Wanted) -> None:
        """Close, so that the conversation can go on."""
        raise NotImplementedError

    def removed(self, picture: StoredPicture) -> None:
        """It is erased: show what is left."""
        raise NotImplementedError

    def say(self, line: str) -> None:
        """Show a line for a moment, in place of the keys."""
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(_SECONDS, lambda: self.say("")) if line else None
        self.query_one("#pictures-hint", Static).update(line or self.HINT)

    def action_keys(self) -> None:
        """Show every key."""
        rows = [Content.assemble((f"{key:<10} ", "bold"), (what, "$quiet")) for key, what in KEYS]
        self.app.push_screen(Page("Pictures", Content("\n").join(rows)))

    async def action_do(self, what: str) -> None:
        """Do something with the picture; a refusal is one calm line."""
        picture = self.picked
        if picture is None:
            return
        try:
            await self._do(what, picture)
        except NanolocalError as error:
            self.say(error_text(error))

    async def _do(self, what: str, picture: StoredPicture) -> None:
        match what:
            case "open":
                await asyncio.to_thread(self.tools.open, picture)
                self.say("Handed to the viewer, unencrypted until it closes or nanolocal does.")
            case "copy":
                await asyncio.to_thread(self.tools.copy, picture)
                self.say("Copied the picture.")
            case "words":
                await self._copy_words(about(picture))
            case "save":
                name = await asyncio.to_thread(suggested_name, picture)
                asked = FileNameScreen("Save the picture", name, lambda path: self.tools.save(picture, path))
                self.app.push_screen(asked, lambda name: self.say(f"Saved {name}, unencrypted." if name else ""))
            case "details":
                rows = [Content.assemble((f"{name:<11} ", "$quiet"), value) for name, value in details(picture)]
                self.app.push_screen(Page("How it was drawn", Content("\n").join(rows)))
            case "delete":
                question = Confirm("Erase this picture?", f"{about(picture)}\n\nFor good: there is no way back.")

                def answered(agreed: bool | None) -> None:
                    if agreed:
                        self._erase(picture)

                self.app.push_screen(question, answered)
            case _:
                self.want(Wanted(what, picture))

    async def _copy_words(self, words: str) -> None:
        if await asyncio.to_thread(clipboard.copy_by_program, words):
            self.say("Copied the prompt.")
        else:
            self.app.copy_to_clipboard(words)
            self.say("Handed to the terminal to copy; not every terminal takes it.")

    @work(group="erase")
    async def _erase(self, picture: StoredPicture) -> None:
        try:
            await asyncio.to_thread(self.tools.delete, picture)
        except NanolocalError as error:
            self.say(error_text(error))
        else:
            self.removed(picture)
