"""Pictures in clear for another program to show: in memory where the system has such a place, and not for long."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from nanolocal.errors import UsageError

_PREFIX, _NAME = "nanolocal-shown-", "picture.png"
_SHORT_S = 5.0
"""A viewer that ends sooner has only handed the file on."""


class PrivateFiles:
    """Files of this process, each in a folder that only its owner may enter. ``clear`` removes them."""

    def __init__(self) -> None:
        self._folders: dict[Path, int] = {}

    def show(self, png: bytes) -> None:
        """Open a picture in the system's viewer; raises ``UsageError`` where there is none.

        The file is gone when the viewer ends, or with ``clear`` where the viewer only hands it to another program.
        """
        command = viewer(os.environ)
        if command is None:
            raise UsageError("there is no picture viewer here", "s saves the picture to a file")
        file = self.write(png)
        try:
            process = subprocess.Popen(
                [*command, str(file)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        except OSError as error:
            self.remove(file)
            raise UsageError(f"{command[0]} cannot be started: {error.strerror}", "s saves the picture") from error
        threading.Thread(target=self._wait, args=(process, file), name="viewer", daemon=True).start()

    def write(self, png: bytes) -> Path:
        """Write a file that only its owner can read; raises ``UsageError`` where that cannot be done."""
        try:
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=next(_places(os.environ))))
            self._folders[folder] = _mark(folder)
            file = folder / _NAME
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as output:
                output.write(png)
        except OSError as error:
            raise UsageError(f"no private file can be written: {error.strerror}", "s saves the picture") from error
        return file

    def remove(self, file: Path) -> None:
        """It is not needed any more."""
        mark = self._folders.pop(file.parent, None)
        shutil.rmtree(file.parent, ignore_errors=True)
        if mark is not None:
            os.close(mark)

    def clear(self) -> None:
        """Remove them all."""
        for folder in list(self._folders):
            self.remove(folder / _NAME)

    def _wait(self, process: "subprocess.Popen[bytes]", file: Path) -> None:
        began = time.monotonic()
        process.wait()
        if time.monotonic() - began >= _SHORT_S:
            self.remove(file)


def sweep() -> None:
    """Remove what a process left that was killed; those of running ones are locked."""
    if sys.platform == "win32":
        return
    for place in _places(os.environ):
        for folder in place.glob(f"{_PREFIX}*"):
            with suppress(OSError):
                if folder.stat(follow_symlinks=False).st_uid == os.getuid():
                    os.close(_mark(folder))
                    shutil.rmtree(folder, ignore_errors=True)


def viewer(environment: Mapping[str, str]) -> list[str] | None:
    """The command that shows a file in the system's viewer, if there is one."""
    if sys.platform == "darwin":
        return ["open", "-W"]
    has_screen = any(environment.get(name) for name in ("WAYLAND_DISPLAY", "DISPLAY", "WSL_DISTRO_NAME"))
    found = shutil.which("xdg-open") or shutil.which("wslview")
    return [found] if found and has_screen else None


def _places(environment: Mapping[str, str]) -> Iterator[Path]:
    """Folders to write in, those in memory first; the last one always is there."""
    for place in (environment.get("XDG_RUNTIME_DIR"), "/dev/shm"):  # noqa: S108 - the folder made there is private
        if place and Path(place).is_dir() and os.access(place, os.W_OK | os.X_OK):
            yield Path(place)
    yield Path(tempfile.gettempdir())


def _mark(folder: Path) -> int:
    """Lock a folder for as long as the descriptor is open; raises ``OSError`` where another process has done so."""
    if sys.platform == "win32":
        return os.open(os.devnull, os.O_RDONLY)
    import fcntl

    mark = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(mark)
        raise
    return mark
