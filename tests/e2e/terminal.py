"""A real pseudo-terminal with the real program in it, and a screen to read it from."""

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pyte

_PATIENCE_S = 120.0
NANOLOCAL = ("-m", "nanolocal")


class Terminal:
    """Runs ``nanolocal`` on a terminal of ``columns`` x ``rows``; reads nothing until it is asked to."""

    def __init__(
        self,
        home: Path,
        *args: str,
        columns: int = 80,
        rows: int = 24,
        program: tuple[str, str] = NANOLOCAL,
        **env: str,
    ) -> None:
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self.raw = bytearray()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.environ.update({"TERM": "xterm-256color", "COLORTERM": "truecolor", **env})
            os.execv(sys.executable, [sys.executable, *program, "--home", str(home), *args])
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def text(self) -> str:
        """What the screen shows now."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._fd, keys.encode())

    def wait_for(self, condition: str | Callable[[str], bool], patience: float = _PATIENCE_S) -> str:
        """Read until the screen shows ``condition`` and return the screen; fails with the screen otherwise."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            shown = self.text()
            if (condition in shown) if isinstance(condition, str) else condition(shown):
                return shown
            if not self._read(0.05):
                break
        raise AssertionError(f"never showed {condition!r}:\n{self.text()}")

    def wait_for_end(self, patience: float = _PATIENCE_S) -> int:
        """Read until the program ends and return its exit code."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and self._read(0.05):
            pass
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def hang_up(self) -> None:
        """Close the terminal as its window would be closed, and wait until the program has ended."""
        os.close(self._fd)
        self._fd = -1
        os.waitpid(self.pid, 0)
        self.pid = 0

    def close(self) -> None:
        """End the program whatever it does."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def _read(self, wait: float) -> bool:
        """Take in what has been written; false once the program has gone."""
        ready, _, _ = select.select([self._fd], [], [], wait)
        if not ready:
            return True
        try:
            content = os.read(self._fd, 65536)
        except OSError:
            return False
        self.raw += content
        self._stream.feed(content)
        return bool(content)
