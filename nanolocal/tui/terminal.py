"""The terminal's own file descriptor for the screen, so that nothing else that writes to 1 or 2 can disturb it."""

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from textual.app import App
    from textual.driver import Driver

_LAST_S = 10.0
"""How long the app may take to end by itself once its terminal is gone."""

NO_TERMINAL = (
    "nanolocal: error: the terminal app needs a terminal on standard input and standard error\n"
    "hint: for pipes and files use: nanolocal ask PROMPT\n"
)


def is_ready() -> bool:
    """Whether the screen can be drawn and keys can be read."""
    return all(stream is not None and stream.isatty() for stream in (sys.__stdin__, sys.__stderr__))


def refuse() -> None:
    """Say that there is no terminal, wherever the user may see it."""
    for stream in (sys.__stderr__, sys.__stdout__):
        if stream is not None and (stream is sys.__stderr__ or stream.isatty()):
            stream.write(NO_TERMINAL)
            stream.flush()


def end_with_terminal() -> None:
    """See to it that the program ends soon after its terminal is gone, whatever it waits for then.

    Textual cannot write any more and may wait for that for ever, with the vault open. What was stored is safe.
    """
    if sys.platform == "win32":
        return
    poll = select.poll()
    poll.register(0, 0)  # a hang-up is told without being asked for

    def wait() -> None:
        if any(told & select.POLLHUP for _, told in poll.poll()):
            time.sleep(_LAST_S)
            os._exit(128 + signal.SIGHUP)

    threading.Thread(target=wait, name="terminal", daemon=True).start()


@contextmanager
def own_terminal() -> Iterator[TextIO]:
    """A file of its own for the terminal; until the block ends, descriptors 1 and 2 lead nowhere."""
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            stream.flush()
    kept = {descriptor: os.dup(descriptor) for descriptor in (1, 2)}
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace") as screen:
        try:
            for descriptor in kept:
                os.dup2(nowhere, descriptor)
            yield screen
        finally:
            for descriptor, original in kept.items():
                os.dup2(original, descriptor)
                os.close(original)
            os.close(nowhere)


def driver_on(screen: TextIO) -> "type[Driver] | None":
    """A driver that draws on ``screen``; ``None`` where Textual brings its own (Windows)."""
    if sys.platform == "win32":
        return None
    from textual.drivers.linux_driver import LinuxDriver

    from nanolocal.tui.graphics.painting import PaintingApp

    class OwnTerminalDriver(LinuxDriver):
        """Draws on its own descriptor and asks that one for its size."""

        def __init__(
            self, app: "App[object]", *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
        ) -> None:
            super().__init__(app, debug=debug, mouse=mouse, size=size)
            self._file = screen  # type: ignore[assignment]  # any text file will do

        def stop_application_mode(self) -> None:
            if isinstance(self._app, PaintingApp):
                self.write(self._app.painter.clear())
            super().stop_application_mode()

        def _get_terminal_size(self) -> tuple[int, int]:
            columns, rows = os.get_terminal_size(screen.fileno())
            return columns or 80, rows or 24

    return OwnTerminalDriver
