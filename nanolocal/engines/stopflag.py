"""The child's stop flag: set by the thread that reads requests, seen by Python and C alike."""

import ctypes
import threading


class StopFlag:
    """Which running jobs shall stop. ``buffer`` is a C string: empty goes on, one character stops.

    A stop names its job, so one that comes too late cannot stop the next job, and one that comes too early is kept.
    """

    def __init__(self) -> None:
        self.buffer = ctypes.create_string_buffer(2)
        self._lock = threading.Lock()
        self._running: set[int] = set()
        self._stopped: set[int] = set()
        self._newest = 0

    @property
    def is_set(self) -> bool:
        """Whether any running job shall stop."""
        return self.buffer[0] != b"\0"

    def begin(self, job: int) -> None:
        """Job ``job`` runs now; its number is higher than that of any before."""
        with self._lock:
            self._newest = job
            self._running.add(job)
            self._update()

    def end(self, job: int) -> None:
        """Job ``job`` is over."""
        with self._lock:
            self._running.discard(job)
            self._stopped.discard(job)
            self._update()

    def stop(self, job: int) -> None:
        """Stop ``job``, even when it has not begun."""
        with self._lock:
            if job in self._running or job > self._newest:
                self._stopped.add(job)
                self._update()

    def stops(self, job: int) -> bool:
        """Whether ``job`` shall stop."""
        return job in self._stopped

    def _update(self) -> None:
        self.buffer[0] = b"x" if self._running & self._stopped else b"\0"
