"""Which messages of a long conversation an engine still reads. Pure arithmetic over token counts."""

from collections.abc import Sequence
from dataclasses import dataclass

from nanolocal.chat.messages import Role


@dataclass(frozen=True, slots=True)
class Window:
    """``kept`` are the indexes of the messages that stay, in order; ``tokens`` is what they take with the overhead."""

    kept: tuple[int, ...]
    tokens: int
    dropped_messages: int
    dropped_tokens: int
    fits: bool


def prompt_room(n_ctx: int, max_tokens: int) -> int:
    """The most tokens a prompt may take: a quarter of the context (or ``max_tokens``, if less) is the answer's."""
    return n_ctx - min(max_tokens, n_ctx // 4)


def fit_messages(roles: Sequence[Role], tokens: Sequence[int], overhead: int, room: int) -> Window:
    """Drop the oldest exchanges until ``overhead`` plus the rest takes at most ``room`` tokens.

    ``tokens[i]`` is what message ``i`` takes, ``overhead`` what every prompt takes. An exchange is a user message with
    the answers that follow it. System messages and the newest exchange always stay; ``fits`` is false when they are
    already too much.
    """
    exchanges = _exchanges(roles)
    total = overhead + sum(tokens)
    dropped: set[int] = set()
    for exchange in exchanges[:-1]:
        if total <= room:
            break
        dropped.update(exchange)
        total -= sum(tokens[index] for index in exchange)
    return Window(
        kept=tuple(index for index in range(len(roles)) if index not in dropped),
        tokens=total,
        dropped_messages=len(dropped),
        dropped_tokens=sum(tokens[index] for index in dropped),
        fits=total <= room,
    )


def _exchanges(roles: Sequence[Role]) -> list[list[int]]:
    """Group the messages that are not the system's: each user message begins a group."""
    groups: list[list[int]] = []
    for index, role in enumerate(roles):
        if role is Role.SYSTEM:
            continue
        if role is Role.USER or not groups:
            groups.append([])
        groups[-1].append(index)
    return groups
