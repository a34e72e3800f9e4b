"""How the vault touches the disk: private directories, durable replacement of a file, one writer at a time."""

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from nanolocal.errors import UsageError, VaultLocked

_POSIX = os.name == "posix"
_NETWORK = frozenset({
    "afpfs", "afs", "ceph", "cifs", "davfs", "fuse.davfs", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs",
    "fuse.sshfs", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "smb2", "smb3", "smbfs", "webdav",
})  # fmt: skip


def make_private_directory(path: Path) -> None:
    """Make a directory for its owner alone, or raise ``UsageError``; one open to others is refused, not narrowed."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_local(path)
        check_private_directory(path)
        probe = path / f".probe-{secrets.token_hex(4)}"
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        probe.unlink(missing_ok=True)  # another process that clears the directory may have been faster
    except OSError as error:
        raise UsageError(f"cannot write to {path}: {error.strerror}", "choose another directory with --home") from error


def check_local(path: Path, mounts: Path = Path("/proc/self/mounts")) -> None:
    """Raise ``VaultLocked`` on a network file system, where SQLite's locks and shared memory do not hold.

    ``mounts`` is the kernel's table of mounted file systems; where there is none, nothing is refused.
    """
    try:
        table = [line.split() for line in mounts.read_text("utf-8", "replace").splitlines()]
    except OSError:
        return
    where = path.resolve()
    around = [(len(row[1]), row[2]) for row in table if where.is_relative_to(row[1].replace("\\040", " "))]
    kind = max(around, default=(0, ""))[1]
    if kind in _NETWORK:
        raise VaultLocked(
            f"{path} lies on a network file system ({kind}), which cannot hold a vault",
            "choose a directory on this machine with --home",
        )


def check_usable_directory(path: Path) -> None:
    """Raise ``VaultLocked`` where an existing vault cannot be written to, ``UsageError`` where others can read it."""
    check_local(path)
    if path.is_dir() and not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise VaultLocked(f"the vault in {path} cannot be opened: no permission to write there", "check the directory")
    check_private_directory(path)


def check_private_directory(path: Path) -> None:
    """Raise ``UsageError`` unless ``path`` is a directory that only its owner can use."""
    if not path.is_dir():
        raise UsageError(f"{path} is not a directory", "choose another directory with --home")
    if _POSIX and path.stat().st_mode & 0o077:
        raise UsageError(f"other users of this machine can read {path}", f"close it: chmod 700 {path}")
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise UsageError(f"no permission to read and write {path}", "choose another directory with --home")


def check_private_file(path: Path) -> None:
    """Raise ``UsageError`` if others than its owner can read ``path``."""
    if _POSIX and path.stat().st_mode & 0o077:
        raise UsageError(f"other users of this machine can read {path}", f"close it: chmod 600 {path}")


def create_private_file(path: Path) -> None:
    """Make an empty file with mode 0600; what SQLite puts beside it takes the same mode."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def write_durably(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data``, mode 0600: after a crash the file holds either all old or all new bytes."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)
    with replacing(path, temporary) as file:
        file.write(data)


@contextmanager
def replacing(path: Path, temporary: Path) -> Iterator[BinaryIO]:
    """A new file, mode 0600, that takes the place of ``path`` durably once the block ends well, and else is removed.

    ``temporary`` is its name until then, in the same directory; it must not be taken.
    """
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_file(path: Path) -> None:
    """Make what was written to ``path`` survive a power cut."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Make renames and removals in ``path`` survive a power cut, where the system can."""
    if not _POSIX:
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def shred(path: Path) -> None:
    """Overwrite a small secret file and remove it; a missing one is no error."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        file.write(secrets.token_bytes(path.stat().st_size))
        file.flush()
        os.fsync(file.fileno())
    path.unlink()
    sync_directory(path.parent)


class OpenMark:
    """Says that this process uses something, such as a vault: a shared lock on a file.

    ``alone`` makes it exclusive for a while.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        _lock_shared(self._descriptor)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other process out; raises ``UsageError`` while one has the vault open."""
        try:
            if not _try_lock_alone(self._descriptor):
                raise UsageError("another nanolocal has this vault open", "close it, or: nanolocal vault lock")
            yield
        finally:
            _lock_shared(self._descriptor)

    def close(self) -> None:
        """Take the mark away. Closing twice is no error."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file ``path``: no other thread or process is inside such a block at the same time."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        _lock(descriptor)
        yield
    finally:
        os.close(descriptor)


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)

    def _lock_shared(descriptor: int) -> None:
        """Windows has no shared lock here: another process with the vault open is not noticed."""

    def _try_lock_alone(descriptor: int) -> bool:
        return True
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)

    def _lock_shared(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_SH)

    def _try_lock_alone(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
