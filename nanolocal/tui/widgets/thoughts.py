"""What a model thinks before it answers: one line that unfolds, while the answer is on the screen."""

from textual.widgets import Collapsible, Static

from nanolocal.safetext import safe
from nanolocal.tui.stream import Coalescer


class Thoughts(Collapsible):
    """Folded until someone wants to read it. It is not kept."""

    def __init__(self) -> None:
        self._shown = Static("", classes="thoughts-text", markup=False)
        super().__init__(self._shown, title="thinking", collapsed=True, classes="thoughts")
        self._text = ""
        self._coalescer = Coalescer(self._write)

    def add(self, text: str) -> None:
        """Take the next piece."""
        self._coalescer.add(safe(text))

    async def finish(self) -> None:
        """Put everything that arrived on the screen."""
        await self._coalescer.close()
        self.title = "thought; it is not kept"

    async def _write(self, text: str) -> None:
        self._text += text
        self._shown.update(self._text)
