"""What all tasks of the lab are about: a build, and text as tokens."""

from dataclasses import dataclass

from nanolocal.errors import UsageError


@dataclass(frozen=True, slots=True)
class Source:
    """The build that is made smaller: its file, the first one where it is split, and its SHA-256."""

    path: str
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Chunks:
    """Pieces of text, as tokens, all of one length; the second half of each is what is scored."""

    tokens: tuple[tuple[int, ...], ...]

    @property
    def length(self) -> int:
        """Tokens of a chunk; raises ``UsageError`` where they differ or there is none."""
        lengths = {len(chunk) for chunk in self.tokens}
        if len(lengths) != 1 or min(lengths) < 4:
            raise UsageError(
                "there is too little text to calibrate or measure with", "give more text, or fewer tokens a chunk"
            )
        return lengths.pop()

    @property
    def first(self) -> int:
        """The first token of each that is predicted from."""
        return self.length // 2

    @property
    def rows(self) -> int:
        """Predictions of a chunk that are scored."""
        return self.length - 1 - self.first
