"""Turns the events of one turn into updates of its view and of the status line. The only reader of chat events."""

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from nanolocal.chat import remarks
from nanolocal.chat.events import (
    ContextDropped,
    CostSoFar,
    Event,
    Finished,
    FirstUse,
    Held,
    ImageStep,
    Loading,
    MadeDo,
    NotRead,
    Reading,
    ReasoningDelta,
    RouteChosen,
    SourceFound,
    TextDelta,
)
from nanolocal.chat.helping import shown
from nanolocal.chat.messages import Answer, Stopped
from nanolocal.chat.routes import Route
from nanolocal.tui.lines import Receipt, Status, build_name, count, drawing, speaker, speed, understood
from nanolocal.tui.lines import tokens as count_tokens
from nanolocal.tui.widgets.answer import AnswerView

_STOP_HINT = "Esc stops"
_RETELL_S = 0.1


@dataclass(slots=True)
class Progress:
    """How far the turn has come; ``began`` is when the first token or step of a picture arrived."""

    route: Route | None = None
    chat_id: str | None = None
    prompt_id: str | None = None
    tokens: int = 0
    began: float = 0.0
    first_step: int = 0
    step: int = 0
    steps: int = 0
    cost_micro: int = 0
    phase: str = "choosing who answers"
    stopping: bool = False
    finished: bool = False


class Presenter:
    """Draws one turn on ``view``; ``show_status`` takes the new status line."""

    def __init__(
        self,
        view: AnswerView,
        status: Status,
        show_status: Callable[[Status], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.progress = Progress()
        self._view = view
        self._status = status
        self._show_status = show_status
        self._clock = clock
        self._told = 0.0
        self._noted: set[str] = set()

    async def show(self, events: AsyncGenerator[Event]) -> Answer | None:
        """Draw until the stream ends and return the answer; errors of the turn pass through."""
        self._tell(self.progress.phase)
        answer: Answer | None = None
        try:
            async with aclosing(events):
                async for event in events:
                    if isinstance(event, Finished):
                        answer = event.answer
                        self.progress.finished = True
                    else:
                        await self._draw(event)
        finally:
            await self._view.finish()
        if answer is not None:
            await self._close(answer)
        return answer

    def show_stopping(self) -> None:
        """Say that a stop was asked for, and what a second one does."""
        self.progress.stopping = True
        self._tell("")

    async def _draw(self, event: Event) -> None:
        match event:
            case RouteChosen(route):
                self._choose(route)
            case Held(most, balance, chat_id, prompt_id):
                self.progress.chat_id, self.progress.prompt_id = chat_id, prompt_id
                self._update(balance_micro=balance, most_micro=most)
            case CostSoFar(cost):
                self.progress.cost_micro = cost
                self._update(cost_micro=cost)
                if self.progress.steps:
                    self._tell_step()
            case Loading(_, fraction):
                self._tell(f"loading {fraction:.0%}")
            case Reading(done, total, cached):
                reused = f", {count(cached)} still in memory" if cached else ""
                self._tell(f"reading {done / total if total else 1:.0%} of {count(total)} tokens{reused}")
                self._update(context_used=total)
            case TextDelta(text, tokens):
                self._view.add(text)
                self._count(tokens, "writing")
            case ReasoningDelta(text, tokens):
                await self._view.think(text)
                self._count(tokens, "thinking")
            case ImageStep(step, total, preview):
                self._step(step, total)
                await self._view.show_step(preview)
            case ContextDropped(messages, tokens):
                words = remarks.left_out(tokens, messages) if messages else remarks.cut_off(tokens)
                await self._note(words)
            case SourceFound(source):
                await self._note(shown(source))
            case NotRead(what) | FirstUse(_, what) | MadeDo(what):
                await self._note(what)

    def _choose(self, route: Route) -> None:
        """Name who answers; where another one could not, what was seen of that does not count."""
        before, self.progress.route = self.progress.route, route
        name = speaker(route)
        self._view.show_speaker(name)
        old = self._status
        fresh = Status(name, understood(route), old.chosen, balance_micro=old.balance_micro, most_micro=old.most_micro)
        self._status = replace(fresh, context_total=route.n_ctx)
        self._show_status(self._status)
        self._tell("starting" if before is None else _trying_again(before, route))

    def _count(self, tokens: int, doing: str) -> None:
        progress = self.progress
        now = self._clock()
        if not progress.tokens:
            progress.began = now
        progress.tokens += tokens
        if self._told and now - self._told < _RETELL_S:
            return
        self._told = now
        elapsed = now - progress.began
        rate = speed((progress.tokens - 1) / elapsed) if elapsed > 0 else ""
        self._tell(" · ".join(part for part in (doing, count_tokens(progress.tokens), rate) if part))

    def _step(self, step: int, total: int) -> None:
        """Another step of a picture is done; a next picture begins again at the first."""
        progress = self.progress
        if not progress.steps or step < progress.step:
            progress.began, progress.first_step = self._clock(), step
        progress.step, progress.steps = step, total
        self._tell_step()

    def _tell_step(self) -> None:
        progress = self.progress
        done = progress.step - progress.first_step
        left = (self._clock() - progress.began) / done * (progress.steps - progress.step) if done else None
        self._tell(drawing(progress.step, progress.steps, left, progress.cost_micro))

    def _tell(self, phase: str) -> None:
        self.progress.phase = phase
        if self.progress.stopping:
            self._view.show_foot("stopping · Esc again ends the engine")
        else:
            self._view.show_foot(f"{phase} · {_STOP_HINT}")

    async def _close(self, answer: Answer) -> None:
        await self._view.show_pictures(answer.pictures)
        delivered = bool(answer.text) or answer.picture is not None or answer.cost_micro > 0
        unheard = answer.stopped is Stopped.USER and not delivered
        for words in (*answer.remarks, answer.problem):
            if words:
                await self._note(words)
        self._view.show_foot("stopped before the first word, nothing charged" if unheard else Receipt.of(answer).line)
        usage = answer.usage
        self._update(
            tok_s=answer.timing.decode_tok_s,
            context_used=usage.prompt_tokens + usage.completion_tokens,
            cost_micro=answer.cost_micro,
            balance_micro=answer.balance_micro,
        )

    async def _note(self, words: str) -> None:
        if words not in self._noted:
            self._noted.add(words)
            await self._view.show_note(words)

    def _update(self, **changes: int | float | str | None) -> None:
        self._status = replace(self._status, **changes)  # type: ignore[arg-type]
        self._show_status(self._status)


def _trying_again(before: Route, route: Route) -> str:
    """What happens after a failed load."""
    if before.build.id == route.build.id:
        return "not enough memory, loading it for a shorter context"
    return f"{build_name(before.build)} could not be loaded, {build_name(route.build)} takes over"
