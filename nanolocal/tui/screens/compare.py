"""Two answers to one prompt, side by side where there is room, judged before anybody is named."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.widgets import Static

from nanolocal.chat.contests import Contest, can_be_judged
from nanolocal.chat.messages import Answer
from nanolocal.errors import NanolocalError
from nanolocal.tui.comparing import Outcome, judged, play
from nanolocal.tui.lines import error_text
from nanolocal.tui.runner import TurnRunner, unexpected
from nanolocal.tui.screens.overlay import Overlay
from nanolocal.tui.widgets.blind import BlindAnswer

_RUNNING = "Esc stops · a, b or = once both are written"
_ASKING = "a: A is better · b: B is better · = equal · Esc leaves it open"
_CLOSING = "Enter or Esc closes"


class CompareScreen(Overlay[Outcome]):
    """Plays both turns when it opens; returns where the conversation goes on and what was learned."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "judge(0)", show=False, id="compare.a"),
        Binding("b", "judge(1)", show=False, id="compare.b"),
        Binding("equals_sign", "judge(-1)", show=False, id="compare.equal"),
        Binding("enter", "close_judged", show=False, id="compare.close"),
    ]
    TITLE_TEXT = "Which answer is better?"
    HINT = _RUNNING

    def __init__(self, contest: Contest, runner: TurnRunner) -> None:
        super().__init__()
        self._contest = contest
        self._runner = runner
        self._answers: list[Answer] = []
        self._outcome: Outcome | None = None

    def compose_body(self) -> ComposeResult:
        """One column each, or one below the other."""
        with Container(classes="rivals"):
            for letter in "AB":
                with VerticalScroll(classes="rival"):
                    yield BlindAnswer(letter)

    def on_mount(self) -> None:
        """Begin."""
        self.run_worker(self._play(), group="compare", exclusive=True)

    async def _play(self) -> None:
        views = list(self.query(BlindAnswer))
        try:
            await play(self._runner, self._contest, views, self._answers)
        except NanolocalError as error:
            await self._end(error_text(error))
            return
        except Exception as error:
            await self._end(error_text(unexpected(error)))
            return
        if can_be_judged(self._answers):
            self._hint(_ASKING)
        else:
            await self._end("Stopped; what was written is kept, and nothing is learned from it.")

    async def _end(self, line: str) -> None:
        """Say why there is nothing to judge."""
        await self.query_one(".rivals").mount(Static(line, classes="error-line", markup=False))
        self._settle(None)

    def action_judge(self, better: int) -> None:
        """Take the verdict, then say who was who."""
        if self._outcome is not None or self._runner.busy or not can_be_judged(self._answers):
            return
        self._settle(better if better >= 0 else None)

    def _settle(self, better: int | None) -> None:
        self._outcome = judged(self._answers, better)
        for view in self.query(BlindAnswer):
            view.reveal()
        word = "" if better is None else f"{'AB'[better]} is kept in view, both stay as versions · "
        self._hint(f"{word}{_CLOSING}")

    def action_close_judged(self) -> None:
        """Close once it is judged."""
        if self._outcome is not None:
            self.dismiss(self._outcome)

    def action_leave(self) -> None:
        """Stop; then, or when both are written, close without a verdict."""
        if self._runner.busy:
            self._runner.stop()
        else:
            self.dismiss(self._outcome or judged(self._answers, None))

    def _hint(self, line: str) -> None:
        self.query_one(".panel-hint", Static).update(line)
