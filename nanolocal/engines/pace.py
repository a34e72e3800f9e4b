"""How many threads the text engine computes with, decided anew between its steps.

Every token has hundreds of points where threads wait for each other, and one that has to share its core with another
program holds up all the others: then fewer threads are faster. What counts are the cores that are free, measured as
those that lie idle or work for this process. Where their number leaves a doubt, the clock decides.
"""

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

_WINDOW_S = 0.3
"""The kernel counts idle time in hundredths of a second; over so long that is precise enough."""
_DOUBT = 0.25
"""How far from a whole number of free cores the nearest number of threads is still taken for certain."""
_FASTER, _SLOWER = 0.95, 1.3
"""A token takes so much of the time it took before, or less: better. So much or more: something has changed."""
_SHORTEST_S, _LONGEST_S = 4.0, 60.0
"""How long the result of a trial holds, twice as long after each one that changed nothing."""


@dataclass(frozen=True, slots=True)
class Usage:
    """The machine at one moment: the time, and the core-seconds that were idle, or used by this process, until then."""

    at: float
    idle_s: float
    own_s: float


@dataclass(slots=True)
class _Steps:
    """The time of the last steps of one size, in tokens."""

    size: int = 0
    count: int = 0
    seconds: float = 0.0

    def add(self, size: int, seconds: float) -> None:
        if size != self.size:
            self.size, self.count, self.seconds = size, 0, 0.0
        self.count += 1
        self.seconds += seconds

    def is_like(self, other: "_Steps") -> bool:
        """Whether both have times to compare."""
        return self.count > 0 and other.count > 0 and self.size == other.size

    @property
    def mean(self) -> float:
        """Seconds a step."""
        return self.seconds / self.count


class Pace:
    """Decides for one engine, with at most ``cores`` threads; ``look`` tells what the machine is doing.

    Begin before the build is loaded, so that the first step already knows how busy the machine is.
    """

    def __init__(self, cores: int, look: Callable[[], Usage] | None = None) -> None:
        self.threads = self._cores = cores
        self._look = look or look_at_machine
        self._seen = self._look()
        self._steps = _Steps()
        self._usual = _Steps()
        self._rival = 0  # the threads to go back to when a trial fails, 0 while there is none
        self._hold_s = _SHORTEST_S
        self._held_until = 0.0
        self._began_at = self._ended_at = math.inf

    def before(self, now: float) -> int:
        """The threads for the step that begins ``now``, by the steady clock.

        What others did while there was nothing to do says little about now: after a pause a new window begins.
        """
        self._began_at = now
        if now - self._ended_at > _WINDOW_S:
            self._seen, self._steps = self._look(), _Steps()
        if self._cores > 1 and now - self._seen.at >= _WINDOW_S:
            usage = self._look()
            before, self._seen = self._seen, usage
            free = (usage.idle_s - before.idle_s + usage.own_s - before.own_s) / (usage.at - before.at)
            steps, self._steps = self._steps, _Steps()
            self._decide(free, steps, now)
        return self.threads

    def after(self, tokens: int, seconds: float) -> None:
        """A step of so many tokens took so long."""
        self._steps.add(tokens, seconds)
        self._ended_at = self._began_at + seconds

    def _decide(self, free: float, steps: _Steps, now: float) -> None:
        """Choose the threads of the next window; ``steps`` were done in the last one."""
        fewest, most = self._within(math.floor(free + _DOUBT)), self._within(math.ceil(free - _DOUBT))
        if not fewest <= self.threads <= most:
            self._take(fewest if self.threads < fewest else most)
        elif self._rival:
            self._judge(steps, now)
        elif steps.count:
            is_slow = steps.is_like(self._usual) and steps.mean > _SLOWER * self._usual.mean
            self._usual = steps
            if fewest < most and (is_slow or now >= self._held_until):
                self._rival, self.threads = self.threads, fewest + most - self.threads

    def _judge(self, steps: _Steps, now: float) -> None:
        """End a trial: stay with its threads if they were faster, else go back."""
        is_better = steps.is_like(self._usual) and steps.mean < _FASTER * self._usual.mean
        if is_better:
            self._take(self.threads)
            self._usual = steps
        else:
            self.threads, self._rival = self._rival, 0
            self._hold_s = min(2 * self._hold_s, _LONGEST_S)
        self._held_until = now + self._hold_s

    def _take(self, threads: int) -> None:
        """Settle for ``threads``, which are others than before."""
        self.threads, self._rival = threads, 0
        self._usual = _Steps()
        self._hold_s = _SHORTEST_S

    def _within(self, threads: int) -> int:
        return min(max(threads, 1), self._cores)


def look_at_machine() -> Usage:
    """What the cores that this process may use have done so far."""
    import psutil

    cores = psutil.cpu_times(percpu=True)
    if hasattr(os, "sched_getaffinity"):
        usable = os.sched_getaffinity(0)
        cores = [core for number, core in enumerate(cores) if number in usable]
    idle_s = sum(core.idle + getattr(core, "iowait", 0.0) for core in cores)
    return Usage(time.monotonic(), idle_s, time.process_time())
