"""The toolbox for those who may never need it: its patterns take 30 ms of CPU to compile."""

from pathlib import Path
from typing import TYPE_CHECKING

from nanolocal.chat.messages import Source
from nanolocal.helpers.asking import read

if TYPE_CHECKING:
    from nanolocal.helpers.toolbox import Toolbox


class LazyToolbox:
    """Implements ``chat.ports.Helpers`` like the toolbox, which is imported for the first prompt that may ask it."""

    def __init__(self, reference: Path) -> None:
        self._reference = reference
        self._made: Toolbox | None = None

    def answer(self, prompt: str, earlier: str = "") -> Source | None:
        """As the toolbox does."""
        return None if read(prompt) is None else self._toolbox.answer(prompt, earlier)

    @property
    def offered(self) -> str:
        """As the toolbox does."""
        return self._toolbox.offered

    def call(self, name: str, arguments: str) -> Source | None:
        """As the toolbox does."""
        return self._toolbox.call(name, arguments)

    @property
    def _toolbox(self) -> "Toolbox":
        if self._made is None:
            from nanolocal.helpers.toolbox import Toolbox

            self._made = Toolbox(self._reference)
        return self._made
