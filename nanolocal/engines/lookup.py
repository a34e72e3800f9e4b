"""Prompt lookup: an answer that repeats what was read is guessed from there, and many guesses are checked in one step.

Saxena, "Prompt Lookup Decoding" (2023). A guess costs a wider step, so it is kept up only where that was measured to
pay: the text is the same either way.
"""

from collections.abc import Sequence

_GRAM = 3
_MOST = 15
_FIRST = 4
_GAIN = 1.15
"""Tokens per second against plain writing that guessing must bring."""
_TRIED = 6
_PAUSE = 64
_WEIGHT = 0.25


class Lookup:
    """Guesses for one answer. Tell it of every token that is read or written, and how long each step took."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens: list[int] = []
        self._places: dict[tuple[int, ...], int] = {}
        self._length = _FIRST
        self._plain_s = 0.0
        self._guessed_s = 0.0
        self._guesses = 0
        self._paused = 0
        for token in tokens:
            self.add(token)

    def add(self, token: int) -> None:
        """``token`` follows."""
        if len(self._tokens) >= _GRAM:
            self._places[tuple(self._tokens[-_GRAM:])] = len(self._tokens)
        self._tokens.append(token)

    def guess(self, most: int) -> list[int]:
        """At most ``most`` tokens that may follow; none where nothing is alike or guessing does not pay."""
        if self._paused:
            self._paused -= 1
            return []
        place = self._places.get(tuple(self._tokens[-_GRAM:]))
        if place is None or not self._plain_s:
            return []
        return self._tokens[place : place + min(self._length, most, _MOST)]

    def learn(self, guessed: int, right: int, seconds: float) -> None:
        """A step took so long: of ``guessed`` tokens ``right`` were, beside the one that every step brings."""
        per_token = seconds / (right + 1)
        if not guessed:
            self._plain_s = _mixed(self._plain_s, per_token)
            return
        self._guessed_s = _mixed(self._guessed_s, per_token)
        self._guesses += 1
        self._length = min(2 * self._length, _MOST) if right == guessed else max(right, 1)
        if self._guesses >= _TRIED and self._guessed_s * _GAIN > self._plain_s:
            self._paused, self._guesses, self._guessed_s = _PAUSE, 0, 0.0
            self._length = _FIRST


def _mixed(before: float, now: float) -> float:
    """A mean that forgets; the first figure stands alone."""
    return before + _WEIGHT * (now - before) if before else now
