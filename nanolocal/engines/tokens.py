"""What a model reads: tokens of text, and the parts of pictures and sounds between them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Percept:
    """A part of a picture or a sound, read in one piece.

    ``tokens`` are the places it takes in memory, ``positions`` how far the text after it is moved on, which is less for
    models that give a picture two dimensions. Two are equal only when they are the same ``part`` of the same ``file``,
    which is named by its SHA-256.
    """

    file: str
    part: int
    tokens: int
    positions: int


Token: TypeAlias = int | Percept


def size_of(tokens: Iterable[Token]) -> int:
    """How many places they take in memory."""
    return sum(token.tokens if isinstance(token, Percept) else 1 for token in tokens)


def text_of(tokens: Iterable[Token]) -> list[int]:
    """Those of text."""
    return [token for token in tokens if not isinstance(token, Percept)]


def steps_of(tokens: Sequence[Token], most: int) -> Iterator[Sequence[Token]]:
    """``tokens`` as they are read: text at most ``most`` at a time, each part of a picture or a sound by itself."""
    start = 0
    for index, token in enumerate(tokens):
        if isinstance(token, Percept) or index - start == most:
            if index > start:
                yield tokens[start:index]
            start = index
        if isinstance(token, Percept):
            yield [token]
            start = index + 1
    if start < len(tokens):
        yield tokens[start:]


@dataclass(slots=True)
class Held:
    """What a context has read, the places that takes, and the position that the next token gets."""

    tokens: list[Token] = field(default_factory=list)
    size: int = 0
    position: int = 0

    def add(self, tokens: Sequence[Token]) -> None:
        """It has read ``tokens`` too."""
        self.tokens.extend(tokens)
        self._count(tokens, 1)

    def cut(self, count: int) -> None:
        """It holds the first ``count`` alone."""
        self._count(self.tokens[count:], -1)
        del self.tokens[count:]

    def head(self, count: int) -> "Held":
        """The first ``count`` by themselves."""
        head = Held()
        head.add(self.tokens[:count])
        return head

    def _count(self, tokens: Sequence[Token], sign: int) -> None:
        for token in tokens:
            self.size += sign * (token.tokens if isinstance(token, Percept) else 1)
            self.position += sign * (token.positions if isinstance(token, Percept) else 1)
