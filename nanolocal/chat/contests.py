"""A comparison: two builds answer one prompt, and somebody says which answer is better."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from nanolocal.chat.messages import Answer, Stopped, TurnRequest
from nanolocal.chat.turn import Quote
from nanolocal.errors import UsageError


@dataclass(frozen=True, slots=True)
class Contest:
    """What is asked, and of whom."""

    request: TurnRequest
    rivals: tuple[Quote, Quote]

    @property
    def most_micro(self) -> int:
        """What both answers together cost at the most."""
        return sum(quote.most_micro for quote in self.rivals)

    @property
    def can_be_paid(self) -> bool:
        """Whether balance and budgets leave that much."""
        return self.most_micro <= min(quote.room_micro for quote in self.rivals)


def arrange(quote: Callable[[TurnRequest], Quote], request: TurnRequest, names: Sequence[str]) -> Contest:
    """Two builds for a prompt: those named, else the pick and the next best.

    Raises ``UsageError`` where there are no two, and what ``quote`` raises where one of them cannot answer.
    """
    if not names:
        route = quote(request).route
        others = [other.build_id for other in route.runners_up] or list(filter(None, [route.instead]))
        if not others:
            raise UsageError(f"only {route.build.id} can answer this", "a comparison takes two builds")
        names = (route.build.id, others[0])
    first, second = (quote(named(request, name)) for name in names)
    if first.route.build.id == second.route.build.id:
        raise UsageError("that is the same build twice", "name two builds, or none for the best two")
    return Contest(request, (first, second))


def named(request: TurnRequest, name: str) -> TurnRequest:
    """The same, of one build."""
    return replace(request, wishes=replace(request.wishes, model=name))


def once_more(request: TurnRequest, answer: Answer, prompt_id: str | None) -> TurnRequest:
    """The prompt that ``answer`` was given to, for the other build."""
    return replace(request, prompt=None, attachments=(), chat_id=answer.chat_id, parent_id=prompt_id)


def is_whole(answer: Answer) -> bool:
    """Whether it can be judged: kept, and neither stopped nor cut off."""
    return answer.message_id is not None and not answer.problem and answer.stopped is not Stopped.USER


def can_be_judged(answers: Sequence[Answer]) -> bool:
    """Whether there are two, and whole ones."""
    return len(answers) == 2 and all(is_whole(answer) for answer in answers)


def signals(answers: Sequence[Answer], better: int | None) -> dict[str, str]:
    """What is learned from the verdict, by message id: the one that is ``better`` won; from a draw nothing."""
    if better is None or not can_be_judged(answers):
        return {}
    return {str(answers[better].message_id): "won", str(answers[1 - better].message_id): "lost"}
