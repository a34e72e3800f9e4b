"""What a decision rests on beside the prompt and the builds: memory, what is loaded, speeds, prices, experience."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from nanolocal.chat.routes import Build, Speed, Tally
from nanolocal.chat.usage import Usage

PLAIN_BANDWIDTH = 20e9
"""Bytes a second that a plain laptop reads from memory, where it was not measured."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The state of this machine at one moment.

    ``memory_budget`` in bytes; ``bandwidth`` in bytes a second; ``resident`` are the ids of loaded builds; ``speeds``
    and ``tallies`` are by SHA-256, the latter by task too. ``cost`` says what a usage would cost in micro-credits and
    ``balance`` what there is; without ``cost`` nothing has a price.
    """

    memory_budget: int
    bandwidth: float = PLAIN_BANDWIDTH
    resident: Collection[str] = ()
    speeds: Mapping[str, Speed] = field(default_factory=dict)
    tallies: Mapping[tuple[str, str], Tally] = field(default_factory=dict)
    balance: int = 0
    cost: Callable[[Build, Usage], int] | None = None
