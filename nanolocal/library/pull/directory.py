"""A directory below a folder, reached without following a symbolic link, and what is done to the files in it.

Where the system can, everything goes by the descriptor of the directory, so that nobody can exchange a directory for a
link in between.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nanolocal.errors import UsageError
from nanolocal.safetext import safe_line

_BY_DESCRIPTOR = os.open in os.supports_dir_fd
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
_BINARY = getattr(os, "O_BINARY", 0)
_DIRECTORY = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)


class Directory:
    """An open directory. Names are those of files directly in it."""

    def __init__(self, path: Path, descriptor: int | None) -> None:
        self.path = path
        self._descriptor = descriptor

    def open(self, name: str, flags: int) -> int:
        """A descriptor of the regular file ``name``, mode 0600 when it is made; to be written, it has no other name.

        Raises ``UsageError`` for a link or anything that is no file: what is written would end up elsewhere.
        """
        try:
            descriptor = os.open(self._at(name), flags | _NO_LINKS | _BINARY, 0o600, dir_fd=self._descriptor)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise self._strange(name, error.strerror or "cannot be opened") from error
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and (status.st_nlink == 1 or not flags & (os.O_WRONLY | os.O_RDWR)):
            return descriptor
        os.close(descriptor)
        raise self._strange(name, "it is no file, or has a second name")

    def status(self, name: str) -> os.stat_result | None:
        """What is known of ``name`` itself, link or not; nothing where there is none."""
        try:
            return os.stat(self._at(name), dir_fd=self._descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def rename(self, old: str, new: str) -> None:
        """Give ``old`` the name ``new``, durably."""
        os.replace(self._at(old), self._at(new), src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        self._sync()

    def remove(self, name: str) -> None:
        """Remove ``name``, a link and not what it leads to; a missing one is no error."""
        with suppress(FileNotFoundError):
            os.unlink(self._at(name), dir_fd=self._descriptor)

    def _sync(self) -> None:
        if self._descriptor is not None:
            os.fsync(self._descriptor)

    def _at(self, name: str) -> str:
        return name if self._descriptor is not None else str(self.path / name)

    def _strange(self, name: str, why: str) -> UsageError:
        says = safe_line(f"{self.path / name} cannot be used: {why}")
        return UsageError(says, "look what it is, remove it, and run the command again")


@contextmanager
def below(folder: Path, name: str) -> Iterator[tuple[Directory, str]]:
    """The directory of the file ``name`` below ``folder``, made when missing, and the last part of its name.

    Raises ``UsageError`` for a name that leads anywhere else, and where a link stands in the way.
    """
    parts = name.split("/")
    if any(part in ("", ".", "..") or "\\" in part or ":" in part or not part.isprintable() for part in parts):
        raise UsageError(safe_line(f"a file cannot be called {name!r}"), "nothing was written")
    path = folder.joinpath(*parts[:-1])
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = _descend(folder, parts[:-1])
    except OSError as error:
        says = safe_line(f"cannot write to {path}: {error.strerror}")
        raise UsageError(says, "if a link or a file has the name of a folder there, remove it") from error
    try:
        yield Directory(path, descriptor), parts[-1]
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _descend(folder: Path, parts: list[str]) -> int | None:
    if not _BY_DESCRIPTOR:
        folder.joinpath(*parts).mkdir(mode=0o700, parents=True, exist_ok=True)
        return None
    descriptor = os.open(folder, _DIRECTORY)
    for part in parts:
        try:
            with suppress(FileExistsError):
                os.mkdir(part, 0o700, dir_fd=descriptor)
            inner = os.open(part, _DIRECTORY | _NO_LINKS, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = inner
    return descriptor
