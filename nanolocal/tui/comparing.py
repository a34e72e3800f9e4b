"""A blind comparison on the screen: two turns on one prompt, in random order, and what follows from the verdict."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nanolocal.chat.amounts import most_credits
from nanolocal.chat.contests import Contest, is_whole, named, once_more, signals
from nanolocal.chat.messages import Answer
from nanolocal.chat.routes import Build
from nanolocal.tui.lines import Status, build_name
from nanolocal.tui.runner import TurnRunner
from nanolocal.tui.widgets.answer import AnswerView


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where the conversation goes on and who answers there, and what was learned, as signals by message id."""

    build: Build | None = None
    chat_id: str | None = None
    tip_id: str | None = None
    signals: Mapping[str, str] = field(default_factory=dict)


def announcement(contest: Contest) -> list[str]:
    """Who answers, and for how much."""
    first, second = (build_name(quote.route.build) for quote in contest.rivals)
    lack = "" if contest.can_be_paid else ", more than can be spent"
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
            answer = await runner.play(view, named(request, quote.route.build.id), stop, Status())
            if answer is None:
                break
            answers.append(answer)
            if not is_whole(answer) or stop.is_set():
                break
            request = once_more(request, answer, runner.prompt_id)


def judged(answers: Sequence[Answer], better: int | None) -> Outcome:
    """What follows from answers of which one, or with ``None`` neither, is better."""
    if not answers:
        return Outcome()
    kept = answers[-1 if better is None else better]
    return Outcome(kept.route.build, kept.chat_id, kept.message_id, signals(answers, better))
