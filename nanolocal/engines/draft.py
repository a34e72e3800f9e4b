"""A small build that writes ahead of a large one with the same vocabulary, which then checks it in one step.

Leviathan, Kalman and Matias, "Fast Inference from Transformers via Speculative Decoding" (2022), in its plainest form:
the small one says what it holds for likeliest, and that is taken where it is what the large one chooses.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from nanolocal.engines.ggml import ROWS, Context, Model, Part, library
from nanolocal.engines.lookup import Lookup, Worth
from nanolocal.engines.pace import Pace
from nanolocal.engines.sampling import logits_of
from nanolocal.engines.stopflag import StopFlag
from nanolocal.errors import BuildFailed


class Draft:
    """The small build at ``path``, with room for ``n_ctx`` tokens.

    Raises ``EngineFailed`` when it cannot be loaded, or knows other tokens than ``model``.
    """

    def __init__(self, path: Path, model: Model, n_ctx: int, threads: int, stop: StopFlag) -> None:
        self._model = Model(path, lambda fraction: None)
        self._stop = stop
        self._pace = Pace(threads)
        self._held: list[int] = []
        if not _are_alike(self._model, model):
            self._model.close()
            raise BuildFailed(f"{path.name} has another vocabulary", "choose another draft")
        self._context = self._opened(n_ctx)

    def widen(self, n_ctx: int) -> None:
        """Make room for ``n_ctx`` tokens."""
        self._context.close()
        self._held = []
        self._context = self._opened(n_ctx)

    def follow(self, tokens: Sequence[int]) -> bool:
        """Read ``tokens``, as far as they are new; false where there is no room for them, or it was stopped."""
        if len(tokens) + ROWS > self._context.size:
            return False
        common = _common(self._held, tokens)
        if not self._context.keep(0, common):
            common = 0
        self._held = list(tokens[:common])
        for start in range(common, len(tokens), self._context.batch):
            piece = list(tokens[start : start + self._context.batch])
            if not self._read(piece):
                return False
        return True

    def next(self, count: int) -> list[int]:
        """The ``count`` tokens that it holds for likeliest after what it read last, fewer where an answer ends."""
        found: list[int] = []
        while len(found) < count:
            logits = logits_of(library(), self._context, -1, self._model.vocabulary_size)
            token = int(logits.argmax())
            if self._model.ends(token):
                break
            found.append(token)
            if len(found) < count and not self._read([token]):
                break
        return found

    def _read(self, piece: list[int]) -> bool:
        if self._context.decode([Part(0, piece, len(self._held))]):
            self._held += piece
            return True
        self._context.keep(0, 0)
        self._held = []
        return False

    def _opened(self, n_ctx: int) -> Context:
        context = Context(self._model, n_ctx, self._pace, self._stop.buffer)
        if context.sequences == 1:  # it cannot take a wrong guess back
            context.close()
            raise BuildFailed("a model that sums up what it reads makes no draft", "choose another draft")
        return context


class Drafted:
    """Guesses of a draft for one answer after ``tokens``, where what was read before has none."""

    def __init__(self, draft: Draft, tokens: Sequence[int]) -> None:
        self._draft = draft
        self._tokens = list(tokens)
        self._lookup = Lookup(tokens)
        self._worth = Worth()
        self._spent_s = 0.0
        self._is_drafted = self._follows = False

    @property
    def gain(self) -> float:
        """As ``Guesser``: that of the lookup, which is what is remembered by task."""
        return self._lookup.gain

    def add(self, token: int) -> None:
        """As ``Guesser``."""
        self._tokens.append(token)
        self._lookup.add(token)

    def guess(self, most: int) -> list[int]:
        """As ``Guesser``."""
        self._is_drafted, self._spent_s = False, 0.0
        if guesses := self._lookup.guess(most):
            return guesses
        if not self._worth.may_guess():
            return []
        if not self._follows:  # what it costs to read all of the prompt says nothing about the steps that follow
            self._follows = self._draft.follow(self._tokens[:-1])
        began = time.monotonic()
        self._is_drafted = self._draft.follow(self._tokens)
        guesses = self._draft.next(min(self._worth.length, most)) if self._is_drafted else []
        self._spent_s = time.monotonic() - began
        return guesses

    def learn(self, guessed: int, right: int, seconds: float) -> None:
        """As ``Guesser``; what the draft took counts too."""
        if not guessed or self._is_drafted:
            self._worth.learn(guessed, right, seconds + self._spent_s)
        if not guessed or not self._is_drafted:
            self._lookup.learn(guessed, right, seconds)


def _common(held: Sequence[int], tokens: Sequence[int]) -> int:
    """How many tokens both begin with, short of the last of ``tokens``, which is read again for its prediction."""
    limit = min(len(held), len(tokens) - 1)
    start = max(limit - 2 * ROWS, 0)
    if held[:start] != tokens[:start]:
        start = 0
    return next((index for index in range(start, limit) if held[index] != tokens[index]), limit)


def _are_alike(one: Model, other: Model) -> bool:
    """Whether both know the same tokens by the same numbers."""
    if one.vocabulary_size != other.vocabulary_size or (one.bos, one.eos) != (other.bos, other.eos):
        return False
    return all(one.token_text(token) == other.token_text(token) for token in range(one.vocabulary_size))
