"""What can go wrong on the way and be tried again: how long to wait, how often, and what is said at the end."""

import random
from dataclasses import dataclass

from nanolocal.errors import TransferFailed

AGAIN = "run the same command again: it goes on where it stopped"


class Fault(Exception):
    """One try failed, and another may go well. ``wait`` is what the server asked for, in seconds.

    ``is_damage`` says that the bytes of this try are not to be kept.
    """

    def __init__(self, says: str, wait: float | None = None, *, is_damage: bool = False) -> None:
        super().__init__(says)
        self.says = says
        self.wait = wait
        self.is_damage = is_damage


@dataclass(frozen=True, slots=True)
class Patience:
    """How much is put up with. Waits are in seconds; ``slow_bytes`` a second for ``slow_seconds`` is too slow."""

    faults_in_a_row: int = 8
    first_wait: float = 0.5
    longest_wait: float = 30.0
    longest_asked: float = 300.0
    slow_bytes: int = 4096
    slow_seconds: float = 30.0

    def wait_after(self, fault: Fault, in_a_row: int) -> float:
        """Seconds until the next try, after that many faults without a byte between them; 0 is none.

        Doubled each time, and spread at random, so that many who were thrown off do not come back at once.
        """
        if fault.wait is not None:
            return min(fault.wait, self.longest_asked)
        if in_a_row == 0:
            return 0.0
        longest: float = min(self.first_wait * 2 ** (in_a_row - 1), self.longest_wait)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


class Tries:
    """The tries for one thing: counts faults in a row, which end when something more has arrived."""

    def __init__(self, patience: Patience, name: str, hint: str = AGAIN) -> None:
        self._patience = patience
        self._name = name
        self._hint = hint
        self._in_a_row = 0
        self._most = 0

    def wait_after(self, fault: Fault, done: int) -> float:
        """Seconds to wait, with ``done`` bytes there by now; raises ``TransferFailed`` once it was too often.

        Bytes that were given up as damaged are no progress when they are there once more.
        """
        self._in_a_row = 0 if done > self._most else self._in_a_row + 1
        self._most = max(self._most, done)
        if self._in_a_row >= self._patience.faults_in_a_row:
            raise TransferFailed(f"{self._name} could not be fetched: {fault.says}", self._hint) from fault
        return self._patience.wait_after(fault, self._in_a_row)
