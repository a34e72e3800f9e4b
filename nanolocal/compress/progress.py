"""How far a run is, and how long it still takes: estimates of its steps, put right by how long those before took."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Progress:
    """What is done now, how much of the whole run is done (0 to 1), and the seconds that are left, if known."""

    what: str
    done: float
    seconds_left: float | None

    @property
    def line(self) -> str:
        """In one line of at most 78 columns."""
        left = "" if self.seconds_left is None else f", {duration(self.seconds_left)} left"
        return f"{100 * self.done:3.0f} % · {self.what[:50]}{left}"


Told: TypeAlias = Callable[[Progress], None]


class Course:
    """The steps of a run with their estimated seconds, in order; ``tell`` hears how it goes."""

    def __init__(self, steps: Mapping[str, float], tell: Told, clock: Callable[[], float] = time.monotonic) -> None:
        self._steps = dict(steps)
        self._tell = tell
        self._clock = clock
        self._began = clock()
        self._spent = self._expected = 0.0
        self._now = ""
        self._since = self._began
        self._skipped = 0.0

    def begin(self, step: str, what: str = "") -> None:
        """``step`` begins, and the one before is done."""
        self._end()
        self._now, self._since = step, self._clock()
        self.tell(0.0, what or step)

    def tell(self, share: float, what: str = "") -> None:
        """So much of the step is done, 0 to 1."""
        share = min(max(share, 0.0), 1.0)
        total = sum(self._steps.values()) or 1.0
        expected = self._expected + share * self._steps.get(self._now, 0.0)
        spent = self._spent + self._clock() - self._since
        pace = spent / (expected - self._skipped) if expected - self._skipped > 0 else None
        left = None if pace is None or spent < 1 else max(total - expected, 0.0) * pace
        self._tell(Progress(what or self._now, min(expected / total, 1.0), left))

    def skip(self, *, if_so: bool = True) -> None:
        """The step had been done before, ``if_so``: it says nothing of how fast this machine is."""
        self._skipped += self._steps.get(self._now, 0.0) if if_so else 0.0

    def _end(self) -> None:
        if self._now:
            self._expected += self._steps.get(self._now, 0.0)
            self._spent += self._clock() - self._since


def duration(seconds: float) -> str:
    """``40 s``, ``12 min``, ``3 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
