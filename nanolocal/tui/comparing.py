"""A blind comparison: two turns on one prompt, in random order. Knows no widget but the views it is given."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from nanolocal.chat.amounts import most_credits
from nanolocal.chat.messages import Answer, Stopped, TurnRequest
from nanolocal.chat.routes import Build
from nanolocal.chat.turn import Quote
from nanolocal.errors import UsageError
from nanolocal.tui.lines import Status, build_name
from nanolocal.tui.runner import TurnRunner
from nanolocal.tui.widgets.answer import AnswerView


@dataclass(frozen=True, slots=True)
class Contest:
    """What is asked, and of whom; ``most_micro`` is what both answers cost at the most."""

    request: TurnRequest
    rivals: tuple[Quote, Quote]

    @property
    def most_micro(self) -> int:
        """Of both together."""
        return sum(quote.most_micro for quote in self.rivals)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where the conversation goes on and who answers there, and what was learned, as signals by message id."""

    build: Build | None = None
    chat_id: str | None = None
    tip_id: str | None = None
    signals: Mapping[str, str] = field(default_factory=dict)


def arrange(quote: Callable[[TurnRequest], Quote], request: TurnRequest, names: Sequence[str]) -> Contest:
    """Two builds for a prompt: those named, else the pick and the next best. Raises where one of them cannot answer."""
    if not names:
        route = quote(request).route
        others = [other.build_id for other in route.runners_up] or list(filter(None, [route.instead]))
        if not others:
            raise UsageError(f"only {build_name(route.build)} can answer this", "Ctrl+T lists what is stored.")
        names = (route.build.id, others[0])
    first, second = (quote(_named(request, name)) for name in names)
    if first.route.build.id == second.route.build.id:
        raise UsageError("that is the same build twice", "/compare BUILD BUILD")
    return Contest(request, (first, second))


def announcement(contest: Contest) -> list[str]:
    """Who answers, and for how much."""
    first, second = (build_name(quote.route.build) for quote in contest.rivals)
    short = max(contest.rivals, key=lambda quote: quote.balance_micro - quote.room_micro)
    lack = ", more than can be spent" if contest.most_micro > short.room_micro else ""
    return [
        f"{first} and {second} answer in turn, as A and B, in random order.",
        f"Both are charged: at most {most_credits(contest.most_micro)} cr together{lack}.",
    ]


async def play(runner: TurnRunner, contest: Contest, views: Sequence[AnswerView], answers: list[Answer]) -> None:
    """Add the two answers, or those up to the first that is not whole; what a turn raises passes through."""
    request = contest.request
    rivals = random.SystemRandom().sample(contest.rivals, 2)
    with runner.running() as stop:
        for quote, view in zip(rivals, views, strict=True):
            answer = await runner.play(view, _named(request, quote.route.build.id), stop, Status())
            if answer is None:
                break
            answers.append(answer)
            if not _is_whole(answer) or stop.is_set():
                break
            request = replace(request, prompt=None, attachments=(), chat_id=answer.chat_id, parent_id=runner.prompt_id)


def can_be_judged(answers: Sequence[Answer]) -> bool:
    """Whether there are two, and whole ones."""
    return len(answers) == 2 and all(_is_whole(answer) for answer in answers)


def judged(answers: Sequence[Answer], better: int | None) -> Outcome:
    """What follows from answers of which one, or with ``None`` neither, is better."""
    if not answers:
        return Outcome()
    kept = answers[-1 if better is None else better]
    signals = {}
    if better is not None and can_be_judged(answers):
        signals = {str(kept.message_id): "won", str(answers[1 - better].message_id): "lost"}
    return Outcome(kept.route.build, kept.chat_id, kept.message_id, signals)


def _is_whole(answer: Answer) -> bool:
    return answer.message_id is not None and not answer.problem and answer.stopped is not Stopped.USER


def _named(request: TurnRequest, name: str) -> TurnRequest:
    return replace(request, wishes=replace(request.wishes, model=name))
