"""An answer of which nobody sees who gave it, until they have judged it."""

from collections.abc import Callable

from nanolocal.tui.widgets.answer import AnswerView

_DONE = "written"


class BlindAnswer(AnswerView):
    """Goes by a letter; ``reveal`` names who answered and shows the receipt."""

    def __init__(self, letter: str) -> None:
        super().__init__(letter)
        self._letter = letter
        self._hidden_name = ""
        self._receipt: Callable[[int], str] | None = None
        self._is_named = False

    @property
    def is_named(self) -> bool:
        """Whether it says who answers."""
        return self._is_named

    def show_speaker(self, name: str) -> None:
        """Keep the name to itself."""
        self._hidden_name = name

    def show_foot(self, line: Callable[[int], str] | str) -> None:
        """The phase names nobody; a receipt does, and so waits."""
        if isinstance(line, str):
            super().show_foot(line)
        else:
            self._receipt = line
            super().show_foot(_DONE)

    def reveal(self) -> str:
        """Say who it was; returns the name."""
        self._is_named = True
        super().show_speaker(f"{self._letter} was {self._hidden_name}")
        if self._receipt is not None:
            super().show_foot(self._receipt)
        return self._hidden_name
