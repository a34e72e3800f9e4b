"""One turn on the command line: progress on stderr, Ctrl+C stops and keeps what was said."""

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from nanolocal.chat.amounts import format_credits
from nanolocal.chat.events import (
    CostSoFar,
    Event,
    Finished,
    FirstUse,
    ImageStep,
    Loading,
    Reading,
    ReasoningDelta,
    RouteChosen,
    TextDelta,
)
from nanolocal.chat.helping import as_record, shown
from nanolocal.chat.messages import Answer, TokenOdds, TurnRequest
from nanolocal.chat.routes import Route
from nanolocal.cli import output
from nanolocal.errors import EngineFailed

if TYPE_CHECKING:
    from nanolocal.bootstrap import Session


async def take_turn(
    session: "Session",
    request: TurnRequest,
    progress: output.Progress,
    say: bool,
    tell: Callable[[str], None] = output.note,
) -> Answer:
    """Run one turn; with ``say`` the text goes to stdout as it comes. Raises what the turn raises.

    ``tell`` gets what is said on the licence of a build that answers for the first time.

    Ctrl+C stops the answer. SIGHUP (a closed terminal, ``vault lock``) and SIGTERM do too, and then end the program by
    ``KeyboardInterrupt``, once what was said is stored.
    """
    stop, end = asyncio.Event(), asyncio.Event()
    show = _Show(progress, say, tell)
    try:
        with ended_by_signals(stop, end):
            async with aclosing(session.chat.turn(request, stop)) as events:
                async for event in events:
                    show(event)
    finally:
        progress.clear()
    if end.is_set():
        raise KeyboardInterrupt
    if show.answer is None:
        raise EngineFailed("the turn ended without an answer", "nanolocal doctor")
    return show.answer


@contextmanager
def ended_by_signals(stop: asyncio.Event, end: asyncio.Event) -> Iterator[None]:
    """In the block, set ``stop`` at every signal that asks for an end, and ``end`` where it asks for the program's."""
    if sys.platform == "win32":
        yield
        return

    def end_all() -> None:
        end.set()
        stop.set()

    handlers = {signal.SIGINT: stop.set, signal.SIGTERM: end_all, signal.SIGHUP: end_all}
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # nohup
        del handlers[signal.SIGHUP]
    loop = asyncio.get_running_loop()
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)


class _Show:
    """Turns events into lines: progress with the cost so far, which gives way to a text on the same terminal."""

    def __init__(self, progress: output.Progress, say: bool, tell: Callable[[str], None]) -> None:
        self.answer: Answer | None = None
        self._progress = progress
        self._tell = tell
        self._write: Callable[[str], None] = output.piece if say else unsaid
        self._is_in_the_way = say and sys.stdout.isatty()
        self._phase = ""
        self._cost = ""
        self._tokens = 0

    def __call__(self, event: Event) -> None:
        match event:
            case RouteChosen(route):
                self._cost, self._tokens = "", 0
                who = "nanolocal itself" if route.is_told else route.build.id
                self._show(f"{who}: {route.reasons[0]}")
            case FirstUse(_, licence):
                self._progress.clear()
                self._tell(licence)
            case Loading(build_id, fraction):
                self._show(f"loading {build_id} {fraction:.0%}")
            case Reading(done, total):
                self._show(f"reading {done} of {total} tokens")
            case ImageStep(step, total):
                self._show(f"drawing: step {step} of {total}")
            case CostSoFar(cost):
                self._cost = f", {format_credits(cost)} credits"
                self._show(self._phase)
            case TextDelta(text, tokens):
                self._tokens += tokens
                count = f"{self._tokens} token{'' if self._tokens == 1 else 's'}"
                self._show("" if self._is_in_the_way else f"writing: {count}")
                self._write(text)
            case ReasoningDelta(text, tokens):
                self._tokens += tokens
                self._show(f"thinking: {self._tokens} token{'' if self._tokens == 1 else 's'}")
            case Finished(answer):
                self.answer = answer

    def _show(self, phase: str) -> None:
        self._phase = phase
        if phase:
            self._progress.show(phase + self._cost)
        else:
            self._progress.clear()


def unsaid(_: str) -> None:
    """Say nothing: it goes out in one piece later."""


def tell_remarks(answer: Answer, draws: str = 'nanolocal image "..."') -> None:
    """Say on stderr where the answer is from and what it did not take into account; called once its text has ended.

    ``draws`` is what to type where a picture may have been meant.
    """
    for source in answer.sources:
        output.note(shown(source))
    for remark in answer.remarks:
        output.note(remark)
    if answer.route.may_be_picture and answer.picture is None:
        output.note(f"perhaps a picture was meant: {draws} draws it")


def receipt(answer: Answer) -> str:
    """One line about an answer: who, how much, how fast, for what."""
    if answer.route.is_told:
        return f"nanolocal itself, no model: {format_credits(answer.cost_micro)} credits"
    speed = f", {answer.timing.decode_tok_s:.0f} tokens/s" if answer.timing.decode_tok_s else ""
    amount = f"{answer.usage.completion_tokens} tokens{speed}, " if answer.usage.completion_tokens else ""
    known = "measured" if answer.energy_source.startswith("measured") else "estimated"
    cost = f"{format_credits(answer.cost_micro)} credits, {answer.energy_j:.1f} J {known}"
    ended = "" if answer.stopped in ("end", "length") else f", {answer.stopped}"
    return f"{answer.route.build.id}: {amount}{cost}{ended}"


def answer_as_json(answer: Answer) -> dict[str, object]:
    """The contract of ``ask --json``."""
    timing = {key: round(value, 4) for key, value in asdict(answer.timing).items() if key != "cpu_s"}
    usage = asdict(answer.usage)
    picture_steps = usage.pop("pixel_steps")
    if picture_steps:
        usage["pixel_steps"] = picture_steps
    return {
        "text": answer.text,
        "reasoning": answer.reasoning or None,
        "tool_calls": [asdict(call) for call in answer.tool_calls],
        **({"logprobs": [_odds_as_json(token) for token in answer.token_odds]} if answer.token_odds else {}),
        "model": answer.route.build.name,
        "build": answer.route.build.id,
        "task": answer.route.task,
        "sources": [as_record(source) for source in answer.sources],
        "route": route_as_json(answer.route),
        "usage": usage,
        "timing": timing,
        "cost_micro": answer.cost_micro,
        "balance_micro": answer.balance_micro,
        "energy_j": answer.energy_j,
        "energy_source": answer.energy_source,
        "chat_id": answer.chat_id,
        "message_id": answer.message_id,
        "stopped": answer.stopped,
        "dropped_tokens": answer.dropped_tokens,
        "problem": answer.problem,
        "remarks": list(answer.remarks),
        "licence": answer.licence or None,
    }


def _odds_as_json(token: TokenOdds) -> dict[str, object]:
    top = [{"token": text, "logprob": round(logprob, 5)} for text, logprob in token.top]
    return {"token": token.text, "logprob": round(token.logprob, 5), "top": top}


def route_as_json(route: Route) -> dict[str, object]:
    """A decision as it is stored and shown."""
    return {
        "subtask": route.subtask,
        "confidence": route.confidence,
        "score": route.score,
        "reasons": list(route.reasons),
        "runners_up": [asdict(item) for item in route.runners_up],
        "rejected": [asdict(item) for item in route.rejected],
        "instead": route.instead,
        "may_be_picture": route.may_be_picture,
        "is_told": route.is_told,
    }
