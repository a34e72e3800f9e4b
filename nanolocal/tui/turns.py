"""A conversation as turns, and which of them are on the screen. Pure data."""

from collections.abc import Sequence
from dataclasses import dataclass

from nanolocal.chat.messages import Role
from nanolocal.chat.ports import StoredMessage

MOST_MOUNTED = 20
PAGE = 6


@dataclass(frozen=True, slots=True)
class Turn:
    """A stored prompt and its answer; the answer is missing where none was given."""

    prompt: StoredMessage
    answer: StoredMessage | None = None

    @property
    def tip_id(self) -> str:
        """The last message of the turn."""
        return self.answer.id if self.answer else self.prompt.id

    @property
    def branching(self) -> StoredMessage | None:
        """The message of this turn that has other versions, the answer first."""
        for message in (self.answer, self.prompt):
            if message is not None and len(message.siblings) > 1:
                return message
        return None


def pair(path: Sequence[StoredMessage]) -> list[Turn]:
    """Join prompts with the answers that follow them; system messages are not shown."""
    turns: list[Turn] = []
    for stored in path:
        if stored.message.role is Role.USER:
            turns.append(Turn(stored))
        elif stored.message.role is Role.ASSISTANT and turns and turns[-1].answer is None:
            turns[-1] = Turn(turns[-1].prompt, stored)
    return turns


def branch(message: StoredMessage) -> str:
    """Which version this is: ``2/3``; nothing where there is only one."""
    if len(message.siblings) < 2:
        return ""
    return f"{message.siblings.index(message.id) + 1}/{len(message.siblings)}"


def beside(message: StoredMessage, step: int) -> str | None:
    """The id of the version ``step`` before or after ``message``."""
    place = message.siblings.index(message.id) + step
    return message.siblings[place] if 0 <= place < len(message.siblings) else None


@dataclass(frozen=True, slots=True)
class Window:
    """The mounted turns, ``start`` to ``end`` of ``total``; never more than ``MOST_MOUNTED``."""

    total: int
    start: int
    end: int

    @classmethod
    def newest(cls, total: int) -> "Window":
        """The last page."""
        return cls(total, max(0, total - PAGE), total)

    @classmethod
    def around(cls, total: int, index: int) -> "Window":
        """A page with the turn ``index`` near its top."""
        start = max(0, min(index - 1, total - PAGE))
        return cls(total, start, min(total, start + PAGE))

    def earlier(self) -> "Window":
        """One page more above; turns leave below when there would be too many."""
        start = max(0, self.start - PAGE)
        return Window(self.total, start, min(self.end, start + MOST_MOUNTED))

    def later(self) -> "Window":
        """One page more below; turns leave above when there would be too many."""
        end = min(self.total, self.end + PAGE)
        return Window(self.total, max(self.start, end - MOST_MOUNTED), end)

    def grown(self) -> "Window":
        """The window after one more turn was added at the end."""
        total = self.total + 1
        return Window(total, max(self.start, total - MOST_MOUNTED), total)

    def shrunk(self) -> "Window":
        """The window after the newest turn was taken off."""
        total = max(0, self.total - 1)
        return Window(total, min(self.start, total), total)
