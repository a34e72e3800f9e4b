"""What a check found, in words for the user: `vault verify` and `doctor` are made of these."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a check ended. A ``WARNING`` is something that could be safer, ``WRONG`` something that must be mended."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """``says`` is one plain sentence about ``id``; ``hint`` says what to do next and makes sense without it."""

    id: str
    state: State
    says: str
    hint: str = ""
