"""Which builds are in memory, and with how little one may make do: decisions alone. The pool carries them out."""

import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Protocol

from nanolocal.chat.routes import Build, Kind
from nanolocal.chat.tuning import USUAL, Tuning

LEAST_CONTEXT = 2048
_FEW_LAYERS = 8
"""Fewer on a graphics card are not worth another load."""
_HALF_LIFE = 8
"""After so many changes from one build to another, one to a build counts half."""
_OVERHEAD = {Kind.TEXT: 64 * 2**20, Kind.EMBEDDING: 64 * 2**20, Kind.IMAGE: 400 * 2**20}
"""Bytes that a child needs beside its weights where the build's footprint is not known."""
_SHORT_TEXT, _WHOLE_TEXT = 512, 64 * 2**20
"""Tokens, and the bytes that a longer text takes where all of it is read at once to make a vector."""
_SIZE_OF_KV = {"f16": 1.0, "q8_0": 34 / 64}
"""What keys and values take in blocks of 32 numbers, as a share of their size in 16 bits."""


class Gauge(Protocol):
    """What the system says of its memory."""

    def free(self) -> int:
        """Bytes that can be taken now, pages that the system would give up for it among them."""
        ...

    def oom_kills(self) -> int | None:
        """Processes that the system has ended for their memory so far; ``None`` where nobody counts them."""
        ...


class Unmeasured:
    """A ``Gauge`` of a system without limits."""

    def free(self) -> int:
        """More than anyone takes."""
        return sys.maxsize

    def oom_kills(self) -> int | None:
        """None, ever."""
        return 0


@dataclass(frozen=True, slots=True)
class Setup:
    """How a build is loaded: context in tokens, none for one that draws, and what keys and values are kept as.

    One that ``embeds`` makes vectors and writes nothing. A ``draft`` writes ahead. The rest is in ``tuning``.
    One that draws saves memory as ``rung`` says, takes ``memory`` bytes then (0 where that is not known), and may read
    ``places`` besides its own files.
    """

    n_ctx: int
    kv: str = "f16"
    embeds: bool = False
    tuning: Tuning = USUAL
    draft: Build | None = None
    rung: str = "full"
    memory: int = 0
    places: frozenset[str] = frozenset()

    def serves(self, wanted: "Setup") -> bool:
        """Whether a build that was loaded like this can do what ``wanted`` is for, with a longer context if need be."""
        is_alike = (self.kv, self.embeds, self.rung) == (wanted.kv, wanted.embeds, wanted.rung)
        return is_alike and self.places >= wanted.places

    def smaller(self, at_least: int) -> "Setup | None":
        """What to try where this found no memory: no draft, smaller keys and values, half the context with large ones.

        The last takes less again, and works for models whose keys cannot be made smaller. ``None`` where the half would
        not hold ``at_least`` tokens, and for a build that has no context.
        """
        if self.draft is not None:
            return replace(self, draft=None)
        if self.n_ctx and self.kv == "f16":
            return replace(self, kv="q8_0")
        half = self.n_ctx // 2
        return replace(self, n_ctx=half, kv="f16") if half >= max(at_least, LEAST_CONTEXT) else None

    def with_fewer_layers(self, n_ctx: int) -> "Setup | None":
        """What to try where that was not enough: ``n_ctx`` tokens again, and half as many layers on the graphics card.

        ``None`` where none is there, or nobody has said how many are.
        """
        layers = self.tuning.gpu_layers
        fewer = layers // 2 if layers >= _FEW_LAYERS else 0
        return Setup(n_ctx, tuning=replace(self.tuning, gpu_layers=fewer)) if layers > 0 else None


def peak(build: Build, setup: Setup) -> int:
    """Bytes that the child will show when it is measured, pages that the system may take back among them."""
    if setup.memory:
        return setup.memory
    if build.footprint is None:
        return build.size_bytes + build.size_bytes // 4 + _OVERHEAD[build.kind]
    more = 0 if setup.draft is None else peak(setup.draft, Setup(setup.n_ctx))
    return build.footprint.peak(setup.n_ctx) - _saved(build, setup) + _more(setup) + more


def needed(build: Build, setup: Setup) -> int:
    """Bytes that have to be free to load it; 0 where its footprint is not known."""
    if setup.memory:
        return setup.memory
    if build.footprint is None:
        return 0
    more = 0 if setup.draft is None else needed(setup.draft, Setup(setup.n_ctx))
    return build.footprint.needed(setup.n_ctx) - _saved(build, setup) + _more(setup) + more


def _more(setup: Setup) -> int:
    """What a setup takes beside what is usual; attention scores of a whole text grow up to a limit (``embedding``)."""
    return setup.tuning.more_bytes + (_WHOLE_TEXT if setup.embeds and setup.n_ctx > _SHORT_TEXT else 0)


def _saved(build: Build, setup: Setup) -> int:
    assert build.footprint is not None
    per_token = min(build.kv_bytes_per_token, build.footprint.per_token)
    return int(per_token * setup.n_ctx * (1 - _SIZE_OF_KV[setup.kv]))


@dataclass(frozen=True, slots=True)
class Stay:
    """How long builds stay in memory when nobody asks for their place.

    Those whose ids match one of ``pins`` (such as ``qwen3*``) always, any other ``idle_s`` seconds, 0 for always.
    """

    pins: Collection[str] = ()
    idle_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Resident:
    """A build in memory: the bytes that it takes, and the seconds that it took to load."""

    build_id: str
    memory: int
    load_s: float = 0.0
    is_busy: bool = False


class Governor:
    """Decides who stays within ``budget`` bytes. ``pins`` are patterns of build ids, such as ``qwen3*``.

    A pinned build leaves only for one that the budget, or what is free, cannot hold beside it: not for being idle, and
    not where others going would do.
    """

    def __init__(self, budget: int, pins: Collection[str] = ()) -> None:
        self.budget = budget
        self._pins = [pattern.lower() for pattern in pins]
        self._scores: dict[str, float] = {}
        self._last = ""
        self._chats: dict[str, str] = {}
        self._chat = ""

    def is_pinned(self, build_id: str) -> bool:
        """Whether the user wants it to stay."""
        return any(fnmatchcase(build_id.lower(), pattern) for pattern in self._pins)

    def used(self, build_id: str, chat_id: str = "") -> None:
        """It was asked, in a conversation where ``chat_id`` names one, which is then the current one.

        Asking the same one again says nothing of where the next change goes, and only then is another one loaded.
        """
        if build_id != self._last:
            decay = 0.5 ** (1 / _HALF_LIFE)
            self._scores = {known: score * decay for known, score in self._scores.items()}
            self._scores[build_id] = self._scores.get(build_id, 0.0) + 1.0
            self._last = build_id
        if chat_id:
            self._chat = self._chats[build_id] = chat_id

    def chance(self, build_id: str) -> float:
        """How likely it is asked next: by how often and how lately one changed to it, and whether it talks here.

        Talking in the current conversation counts as one change to it just now.
        """
        talks_here = self._chat != "" and self._chats.get(build_id) == self._chat
        return (self._scores.get(build_id, 0.0) + talks_here) / (sum(self._scores.values()) + 1.0)

    def worth(self, resident: Resident) -> float:
        """Seconds of waiting that each byte of it is expected to save."""
        return resident.load_s * self.chance(resident.build_id) / max(resident.memory, 1)

    def leaving(self, residents: Sequence[Resident], expected: int) -> list[Resident] | None:
        """Who has to leave for ``expected`` bytes more, as little as will do; ``None`` while busy ones leave no room.

        What is larger than the budget is let in alone.
        """
        leaving: list[Resident] = []
        for resident in self.in_turn(residents, expected):
            if self._fit(residents, leaving, expected):
                break
            leaving.append(resident)
        if not self._fit(residents, leaving, expected):
            return None
        for resident in reversed(leaving.copy()):
            others = [other for other in leaving if other is not resident]
            if self._fit(residents, others, expected):
                leaving = others
        return leaving

    def in_turn(self, residents: Sequence[Resident], expected: int) -> list[Resident]:
        """Who may leave for ``expected`` bytes more, the one that is missed least first."""
        kept = sum(resident.memory for resident in residents if self.is_pinned(resident.build_id))
        spares_pinned = kept + expected <= self.budget
        may_leave = [
            resident
            for resident in residents
            if not resident.is_busy and not (spares_pinned and self.is_pinned(resident.build_id))
        ]
        return sorted(may_leave, key=lambda each: (self.is_pinned(each.build_id), self.worth(each)))

    def _fit(self, residents: Sequence[Resident], leaving: Collection[Resident], expected: int) -> bool:
        staying = [resident.memory for resident in residents if resident not in leaving]
        return not staying or sum(staying) + expected <= self.budget
