"""An answer in the transcript, live or read back from the vault."""

from collections.abc import Callable, Sequence

from markdown_it import MarkdownIt
from textual.app import ComposeResult
from textual.containers import ItemGrid, Vertical
from textual.widgets import Markdown, Static
from textual.widgets.markdown import MarkdownStream

from nanolocal.chat import remarks
from nanolocal.chat.helping import shown
from nanolocal.chat.messages import Attachment
from nanolocal.chat.ports import StoredMessage
from nanolocal.safetext import safe, safe_line
from nanolocal.tui.lines import Receipt
from nanolocal.tui.stream import Coalescer
from nanolocal.tui.turns import branch
from nanolocal.tui.widgets.foot import Foot
from nanolocal.tui.widgets.picture import PictureView
from nanolocal.tui.widgets.thoughts import Thoughts

_MARK = "●"
_LEAST_WIDTH = 28


def _is_whole(shown: Markdown, text: str) -> bool:
    """Whether a stream left the blocks that rendering ``text`` at once makes; doing so again would stall the screen."""
    references: dict[str, object] = {}
    tokens = MarkdownIt("gfm-like").parse(text, references)
    wanted = [token.type for token in tokens if token.level == 0 and token.nesting >= 0]
    return not references.get("references") and wanted == [block.name for block in shown.children]


class AnswerView(Vertical):
    """The name of who answers, the text or the picture, and one dim line that tells the phase, then the receipt."""

    def __init__(self, name: str, stored: StoredMessage | None = None) -> None:
        super().__init__(classes="answer")
        self._speaker = safe_line(name)
        self._stored = stored
        self._text = safe(stored.message.text) if stored else ""
        self._stream: MarkdownStream | None = None
        self._coalescer = Coalescer(self._write)
        self._preview: PictureView | None = None
        self._thoughts: Thoughts | None = None

    def compose(self) -> ComposeResult:
        """Lay out the head, the text and the foot."""
        stored = self._stored
        yield Static(self._head(branch(stored) if stored else ""), classes="role answer-role", markup=False)
        yield Markdown(open_links=False, classes="answer-text")
        yield Foot(Receipt.of_stored(stored).line if stored else lambda width: "")

    async def on_mount(self) -> None:
        """Fill in what was stored, unless another conversation has already taken its place."""
        if self._stored is None or not self.query(Markdown):
            return
        if self._text:
            await self._markdown.update(self._text)
        await self.show_pictures(self._stored.message.attachments)
        for source in self._stored.sources:
            await self.show_note(shown(source))
        if self._stored.dropped_tokens:
            words = remarks.left_out if self._text else remarks.cut_off
            await self.show_note(words(self._stored.dropped_tokens))

    @property
    def is_named(self) -> bool:
        """Whether it says who answers."""
        return True

    @property
    def text(self) -> str:
        """The answer so far."""
        return self._text

    def show_speaker(self, name: str) -> None:
        """Say who answers."""
        self._speaker = safe_line(name)
        self.query_one(".answer-role", Static).update(self._head(""))

    def show_stored(self, stored: StoredMessage) -> None:
        """Say which version this is and what it cost, as it is stored now."""
        self.query_one(".answer-role", Static).update(self._head(branch(stored)))
        self.show_foot(Receipt.of_stored(stored).line)

    def show_foot(self, line: Callable[[int], str] | str) -> None:
        """Replace the dim line: the phase while it runs, the receipt afterwards."""
        self.query_one(Foot).show(line)

    async def show_note(self, text: str) -> None:
        """Add a remark above the dim line."""
        await self.mount(Static(safe_line(text), classes="note", markup=False), before=".foot")

    def add(self, text: str) -> None:
        """Take the next piece of a live answer; it is on the screen within a tenth of a second."""
        piece = safe(text)
        self._text += piece
        self._coalescer.add(piece)

    async def think(self, text: str) -> None:
        """Take the next piece of what the model thinks before it answers."""
        if self._thoughts is None:
            self._thoughts = Thoughts()
            await self.mount(self._thoughts, before=".answer-text")
        self._thoughts.add(text)

    async def finish(self) -> None:
        """Put everything that arrived on the screen."""
        if self._thoughts is not None:
            await self._thoughts.finish()
        await self._coalescer.close()
        if self._stream is not None and self.is_attached:
            await self._stream.stop()
            self._stream = None
            if not _is_whole(self._markdown, self._text):
                await self._markdown.update(self._text)

    async def show_step(self, preview: bytes | None) -> None:
        """Show how far a picture is."""
        if preview is None:
            return
        if self._preview is None:
            self._preview = PictureView(preview, classes="picture")
            await self.mount(self._preview, before=".foot")
        else:
            self._preview.replace(preview)

    async def show_pictures(self, attachments: Sequence[Attachment]) -> None:
        """Show the finished pictures in place of their preview: several beside one another where there is room."""
        if self._preview is not None:
            await self._preview.remove()
            self._preview = None
        views = [PictureView(each.data, "picture") for each in attachments if each.media_type.startswith("image/")]
        if len(views) > 1:
            await self.mount(ItemGrid(*views, classes="pictures", min_column_width=_LEAST_WIDTH), before=".foot")
        elif views:
            await self.mount(*views, before=".foot")

    def _head(self, version: str) -> str:
        return f"{_MARK} {self._speaker}  {version}".rstrip()

    @property
    def _markdown(self) -> Markdown:
        return self.query_one(Markdown)

    async def _write(self, text: str) -> None:
        if self._stream is None:
            self._stream = Markdown.get_stream(self._markdown)
        await self._stream.write(text)
