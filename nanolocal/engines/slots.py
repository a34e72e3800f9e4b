"""The conversations in one context: which of them a prompt goes on from, and which has to leave for it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from nanolocal.engines.ggml import Context
from nanolocal.engines.states import State
from nanolocal.engines.tokens import Held, Token

_LONG, _LARGE = 256, 1 / 4
"""Tokens that only one conversation has read, and that slow the others down; fewer where they are so much of it."""


@dataclass(slots=True)
class Slot:
    """A sequence of the context: what it has read, of which conversation, and the places promised to its job."""

    sequence: int
    held: Held = field(default_factory=Held)
    chat: str = ""
    kept: int = 0
    promised: int = 0
    used_at: int = 0

    @property
    def is_busy(self) -> bool:
        """Whether a job runs on it."""
        return self.promised > 0

    def common(self, tokens: Sequence[Token]) -> int:
        """How many of ``tokens`` it has read; see ``common_beginning``."""
        return common_beginning(self.held.tokens, tokens)


class Slots:
    """All sequences of ``context``; ``on_leaving`` is told of a conversation before it is forgotten.

    It answers whether little is lost then.
    """

    def __init__(self, context: Context, on_leaving: Callable[[Slot], bool]) -> None:
        self._context = context
        self._on_leaving = on_leaving
        self._all = [Slot(sequence) for sequence in range(context.sequences)]
        self._clock = 0

    def __iter__(self) -> Iterator[Slot]:
        return iter(self._all)

    def take(self, tokens: Sequence[Token], places: int, chat: str) -> Slot | None:
        """A slot for a job that needs so many places in all, with what others have read of its prompt already.

        ``None`` while busy ones leave it no room. The conversations used least recently make way.
        """
        idle = [slot for slot in self._all if not slot.is_busy]
        taken = sum(slot.promised for slot in self._all)
        if not idle or taken + places > self._context.size:
            return None
        source = max(self._all, key=lambda slot: (slot.common(tokens), slot.used_at))
        goes_on = not source.is_busy and _is_same(source, tokens, chat)
        slot = source if goes_on else min(idle, key=lambda slot: (bool(slot.held.tokens), slot is source, slot.used_at))
        for other in sorted(idle, key=lambda slot: slot.used_at):
            if self._places() - slot.held.size + places <= self._context.size:
                break
            if other is not slot:
                self.forget(other)
        if slot is source:
            if slot.chat not in ("", chat):
                self._on_leaving(slot)
            self.cut(slot, slot.common(tokens))
        else:
            self.forget(slot)
            self._share(source, slot, source.common(tokens))
        if slot.chat != chat:
            slot.chat, slot.kept = chat, 0
        slot.promised = places
        self._clear_view(slot, tokens)
        return slot

    def release(self, slot: Slot) -> None:
        """The job on ``slot`` is over."""
        self._clock += 1
        slot.promised, slot.used_at = 0, self._clock

    def cut(self, slot: Slot, count: int) -> None:
        """Hold the first ``count`` tokens alone; where the model cannot forget a part, nothing is held."""
        if count < len(slot.held.tokens):
            slot.held.cut(count)
            slot.kept = min(slot.kept, count)
            self.undo(slot)

    def undo(self, slot: Slot) -> None:
        """Let the context forget what ``slot`` does not hold, as after a step that was stopped midway."""
        if not self._context.keep(slot.sequence, slot.held.position):
            slot.held, slot.kept = Held(), 0

    def bring_back(self, slot: Slot, state: State) -> None:
        """Hold ``state`` instead of what ``slot`` holds now; nothing where llama.cpp does not take it."""
        self._context.keep(slot.sequence, 0)
        slot.held = Held()
        if self._context.restore(slot.sequence, state.data):
            slot.held.add(state.tokens)

    def forget(self, slot: Slot) -> None:
        """Empty a slot."""
        if slot.held.tokens:
            self._on_leaving(slot)
        self.clear(slot)

    def clear(self, slot: Slot) -> None:
        """Empty a slot without a word, as what it holds is not known."""
        self._context.keep(slot.sequence, 0)
        slot.held, slot.chat, slot.kept = Held(), "", 0

    def _share(self, source: Slot, slot: Slot, count: int) -> None:
        if count:
            slot.held = source.held.head(count)
            self._context.share(source.sequence, slot.sequence, slot.held.position)

    def _clear_view(self, slot: Slot, tokens: Sequence[Token]) -> None:
        """Let conversations that rest go, where little is lost.

        With every token llama.cpp looks at all of its memory up to the last place in use, whoever uses it: three
        that rest, of 200 tokens each, cost a prompt a quarter of its speed, of 600 each half (0.6 B, two cores).
        """
        for other in self._all:
            held = len(other.held.tokens)
            is_alone = held - other.common(tokens) >= min(_LONG, _LARGE * held) > 0
            if other is not slot and not other.is_busy and is_alone and self._on_leaving(other):
                self.clear(other)

    def _places(self) -> int:
        """Places in use or promised; what two share counts twice."""
        return sum(max(slot.held.size, slot.promised) for slot in self._all)


def common_beginning(held: Sequence[Token], tokens: Sequence[Token]) -> int:
    """How many tokens both begin with; the last of ``tokens`` never counts, as it is read again for its prediction."""
    limit = min(len(held), len(tokens) - 1)
    return next((index for index in range(limit) if held[index] != tokens[index]), limit)


def _is_same(slot: Slot, tokens: Sequence[Token], chat: str) -> bool:
    """Whether the prompt goes on from what ``slot`` holds, or nothing would be lost by taking it for that."""
    return (slot.chat == chat and chat != "") or slot.common(tokens) == len(slot.held.tokens)
