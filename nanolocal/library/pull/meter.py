"""How fast it goes and how long it will take, told at most ten times a second."""

import math
import time

from nanolocal.library.pull.plan import Progress, Stage, Tell

_APART = 0.1
_MEMORY_SECONDS = 4.0
"""How long a second counts in the speed that is shown."""


class Speed:
    """Bytes a second of late: what is further back weighs less, by ``e`` every four seconds."""

    def __init__(self) -> None:
        self.per_second = 0.0
        self._moved = 0
        self._since: float | None = None
        self._weight = 0.0

    def add(self, count: int, now: float) -> None:
        """``count`` bytes came up to the time ``now``, in seconds."""
        if self._since is None:
            self._since = now
        self._moved += count
        passed = now - self._since
        if passed < _APART:
            return
        kept = math.exp(-passed / _MEMORY_SECONDS)
        latest = self._moved / passed
        self.per_second = (self.per_second * self._weight * kept + latest * (1 - kept)) / (
            self._weight * kept + 1 - kept
        )
        self._weight = self._weight * kept + 1 - kept
        self._moved, self._since = 0, now


class Meter:
    """Tells how the file ``name`` goes."""

    def __init__(self, tell: Tell, name: str, total: int | None) -> None:
        self.total = total
        self._tell = tell
        self._name = name
        self._speed = Speed()
        self._told = (Stage.WAITING, -math.inf)
        self._done = 0

    def moved(self, count: int, done: int, stage: Stage = Stage.FETCHING) -> None:
        """``count`` more bytes came or were read, which makes ``done`` in all."""
        self._done, now = done, time.monotonic()
        if stage is not self._told[0]:
            self._speed = Speed()
        self._speed.add(count, now)
        if stage is self._told[0] and now - self._told[1] < _APART and done != self.total:
            return
        speed = self._speed.per_second
        left = (self.total - done) / speed if speed and self.total is not None else None
        self._say(Progress(stage, self._name, done, self.total, speed, left), now)

    def waits(self, stage: Stage, says: str = "") -> None:
        """Nothing moves for now, and why."""
        self._say(Progress(stage, self._name, self._done, self.total, says=says), time.monotonic())

    def _say(self, progress: Progress, now: float) -> None:
        self._told = progress.stage, now
        self._tell(progress)
