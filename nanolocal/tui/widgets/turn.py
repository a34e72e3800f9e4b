"""A prompt and its answer in the transcript."""

from collections.abc import Callable

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from nanolocal.chat.decisions import was_told
from nanolocal.chat.messages import Attachment
from nanolocal.safetext import safe
from nanolocal.tui.lines import OURSELVES, token
from nanolocal.tui.turns import Turn, branch
from nanolocal.tui.widgets.answer import AnswerView

_MARK = "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"
_FOLD_ABOVE = 40
_FOLDED_SHOWS = 12

NameOf = Callable[[str | None], str]
"""From a build id to the name of who speaks."""


class PromptText(Static):
    """What the user said; more than forty lines are folded until a click."""

    def __init__(self, text: str) -> None:
        self._full = safe(text)
        self._lines = self._full.splitlines()
        self._folded = len(self._lines) > _FOLD_ABOVE
        super().__init__(self._shown(), classes="said", markup=False)

    def on_click(self) -> None:
        """Unfold, or fold again."""
        if len(self._lines) > _FOLD_ABOVE:
            self._folded = not self._folded
            self.update(self._shown())

    def _shown(self) -> str:
        if not self._folded:
            return self._full
        rest = len(self._lines) - _FOLDED_SHOWS
        return "\n".join([*self._lines[:_FOLDED_SHOWS], f"[{rest} more lines; click to unfold]"])


class TurnView(Vertical):
    """One turn. Without ``turn`` it is live: ``answer`` is filled while the model writes."""

    def __init__(
        self,
        text: str,
        attachments: tuple[Attachment, ...],
        answer: AnswerView | None,
        tag: str = "",
        damaged: tuple[str, ...] = (),
    ) -> None:
        super().__init__(classes="turn")
        self._text = text
        self._files = " ".join(token(attachment, attachment.name in damaged) for attachment in attachments)
        self._tag = tag
        self.answer = answer

    @classmethod
    def stored(cls, turn: Turn, name_of: NameOf) -> "TurnView":
        """The view of a turn read back from the vault."""
        answer = None
        if turn.answer is not None:
            is_told = was_told(turn.answer.route_json)
            answer = AnswerView(OURSELVES if is_told else name_of(turn.answer.build_id), turn.answer)
        message = turn.prompt.message
        return cls(message.text, message.attachments, answer, branch(turn.prompt), turn.prompt.damaged)

    def compose(self) -> ComposeResult:
        """Lay out the prompt, its files and the answer."""
        yield Static(self._head(), classes="role prompt-role", markup=False)
        if self._text:
            yield PromptText(self._text)
        if self._files:
            yield Static(self._files, classes="said files", markup=False)
        if self.answer is not None:
            yield self.answer

    def show_stored(self, turn: Turn) -> None:
        """Say which versions the prompt and the answer are, once they are stored."""
        self._tag = branch(turn.prompt)
        self.query_one(".prompt-role", Static).update(self._head())
        if turn.answer is not None and self.answer is not None:
            self.answer.show_stored(turn.answer)

    async def show_error(self, line: str) -> None:
        """One calm line in place of an answer."""
        if self.answer is not None and not self.answer.text:
            await self.answer.remove()
            self.answer = None
        await self.mount(Static(line, classes="error-line", markup=False))

    def _head(self) -> str:
        return f"{_MARK} You  {self._tag}".rstrip()
