"""The child's stop flag: set by the thread that reads requests, seen by Python and C alike."""

import ctypes
import threading


class StopFlag:
    """Whether the running job shall stop. ``buffer`` is a C string: empty goes on, one character stops.

    A ``Cancel`` names its job, so one that comes too late cannot stop the next job.
    """

    def __init__(self) -> None:
        self.buffer = ctypes.create_string_buffer(2)
        self._lock = threading.Lock()
        self._running = 0
        self._stopped = 0

    @property
    def is_set(self) -> bool:
        """Whether the running job shall stop."""
        return self.buffer[0] != b"\0"

    def begin(self, job: int) -> None:
        """Job ``job`` runs now."""
        with self._lock:
            self._running = job
            self._update()

    def stop(self, job: int) -> None:
        """Stop ``job``, even when it has not begun."""
        with self._lock:
            self._stopped = max(self._stopped, job)
            self._update()

    def _update(self) -> None:
        self.buffer[0] = b"x" if self._stopped >= self._running else b"\0"
