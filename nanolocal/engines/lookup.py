"""Guesses at what an answer says next, of which many are checked in one step.

What was read before is the cheapest source (Saxena, "Prompt Lookup Decoding", 2023), a small build of the same
vocabulary another (``draft``). A guess costs a wider step, so it is kept up only where that was measured to pay: the
text is the same either way.
"""

from collections.abc import Sequence
from typing import Protocol

from nanolocal.chat.tuning import LEAST_GAIN

_GRAM = 3
_MOST = 15
_FIRST = 4
_TRIED = 6
_PAUSE = 64
_WEIGHT = 0.25


class Guesser(Protocol):
    """Guesses for one answer. Tell it of every token that is read or written, and how long each step took."""

    @property
    def gain(self) -> float:
        """How many times as fast it was written where it was guessed; 0 where that is not known."""
        ...

    def add(self, token: int) -> None:
        """``token`` follows."""
        ...

    def guess(self, most: int) -> list[int]:
        """At most ``most`` tokens that may follow; none where nothing is known or guessing does not pay."""
        ...

    def learn(self, guessed: int, right: int, seconds: float) -> None:
        """A step took so long: of ``guessed`` tokens ``right`` were, beside the one that every step brings."""
        ...


class Worth:
    """Whether guesses pay: ``length`` is how many to make now."""

    def __init__(self) -> None:
        self.length = _FIRST
        self._plain_s = 0.0
        self._guessed_s = 0.0
        self._guesses = 0
        self._paused = 0
        self._tries = 0
        self._spent_s = self._spared_s = 0.0

    @property
    def gain(self) -> float:
        """As ``Guesser``."""
        return self._spared_s / self._spent_s if self._tries >= _TRIED and self._spent_s else 0.0

    def may_guess(self) -> bool:
        """Whether to guess in this step: not while that rests, nor before it is known what a plain step takes."""
        if self._paused:
            self._paused -= 1
            return False
        return self._plain_s > 0

    def learn(self, guessed: int, right: int, seconds: float) -> None:
        """As ``Guesser``."""
        per_token = seconds / (right + 1)
        if not guessed:
            self._plain_s = _mixed(self._plain_s, per_token)
            return
        self._guessed_s = _mixed(self._guessed_s, per_token)
        self._guesses += 1
        self._tries += 1
        self._spent_s += seconds
        self._spared_s += (right + 1) * self._plain_s
        self.length = min(2 * self.length, _MOST) if right == guessed else max(right, 1)
        if self._guesses >= _TRIED and self._guessed_s * LEAST_GAIN > self._plain_s:
            self._paused, self._guesses, self._guessed_s = _PAUSE, 0, 0.0
            self.length = _FIRST


class Lookup:
    """Guesses what followed the same words before."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens: list[int] = []
        self._places: dict[tuple[int, ...], int] = {}
        self._worth = Worth()
        for token in tokens:
            self.add(token)

    @property
    def gain(self) -> float:
        """As ``Guesser``."""
        return self._worth.gain

    def add(self, token: int) -> None:
        """As ``Guesser``."""
        if len(self._tokens) >= _GRAM:
            self._places[tuple(self._tokens[-_GRAM:])] = len(self._tokens)
        self._tokens.append(token)

    def guess(self, most: int) -> list[int]:
        """As ``Guesser``."""
        if not self._worth.may_guess():
            return []
        place = self._places.get(tuple(self._tokens[-_GRAM:]))
        return [] if place is None else self._tokens[place : place + min(self._worth.length, most, _MOST)]

    def learn(self, guessed: int, right: int, seconds: float) -> None:
        """As ``Guesser``."""
        self._worth.learn(guessed, right, seconds)


def _mixed(before: float, now: float) -> float:
    """A mean that forgets; the first figure stands alone."""
    return before + _WEIGHT * (now - before) if before else now
