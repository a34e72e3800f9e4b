"""What the compression lab shows of itself to those who cannot look into it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Offer:
    """A size that a build could have: bytes of its file and of memory, the most tokens a second, whether it fits here.

    ``is_advised`` marks the one that is made where nobody chooses.
    """

    label: str
    size_bytes: int
    memory: int
    speed: float
    fits: bool
    is_advised: bool = False


@dataclass(frozen=True, slots=True)
class Outlook:
    """What making a build smaller means: the sizes on offer, the largest first, and facts as names and sentences.

    ``warning`` is what has to be agreed to first, empty where nothing has.
    """

    build_id: str
    offers: tuple[Offer, ...]
    facts: tuple[tuple[str, str], ...]
    warning: str = ""
