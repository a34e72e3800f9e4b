"""Reading a bundle into the library: checked as it comes, in a hidden folder, and there at once or not at all."""

import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from nanolocal.errors import Damaged, UsageError
from nanolocal.library.bundle.archive import content, next_member
from nanolocal.library.bundle.exporting import Told
from nanolocal.library.bundle.hashing import CHUNK, Hashing
from nanolocal.library.bundle.manifest import MAX_BYTES, MEMBER, Manifest, decoded
from nanolocal.library.cards import CARD, Card
from nanolocal.library.describe import describe
from nanolocal.library.fingerprints import Fingerprints
from nanolocal.library.jsonfiles import write_object
from nanolocal.library.library import Library
from nanolocal.library.pull import hashes
from nanolocal.library.pull.placing import check_free, sync_folder
from nanolocal.library.pull.plan import Fetched
from nanolocal.library.pull.result import stored_copy

_FOLDER = ".importing"
_MOST_FOLDERS = 100
_HINT = "take it from the other machine again: nanolocal models bundle export"


@dataclass(frozen=True, slots=True)
class Taken:
    """Where the first file of the build lies now, its folder for a pipeline; ``was_here`` where it did before."""

    manifest: Manifest
    place: Path
    was_here: bool


def take(source: BinaryIO, models: Path, library: Library, told: Told) -> Taken:
    """Read a bundle from ``source``, which need not be able to seek, into ``models``, where ``library`` looks too.

    Raises ``Damaged`` for a bundle that is not whole or not what its list says, ``UsageError`` for one that asks for
    other places than its folder or for more room than there is; then nothing is left behind, nor is after a kill once
    another import has begun.
    """
    manifest = _first_member(source)
    copy = stored_copy(library, manifest.files)
    if copy is not None:
        return Taken(manifest, copy.path, was_here=True)
    folder, is_here = _place_for(manifest, models)
    if is_here:
        return Taken(manifest, _main(folder, manifest), was_here=True)
    check_free(models, manifest.size, "nothing was written")
    try:
        with _room(models) as room:
            files = _unpack(source, manifest, room, told)
            _write_card(room, manifest)
            _check_usable(_main(room, manifest))
            for file in files:
                hashes.keep(models, file)
            sync_folder(room)
            room.rename(folder)
            sync_folder(models)
    except OSError as error:
        raise UsageError(f"cannot write to {models}: {error.strerror}", "nothing is left of it") from error
    for file in files:
        library.descriptions.fingerprints.learn(folder / file.name, file.sha256)
    library.forget()
    return Taken(manifest, _main(folder, manifest), was_here=False)


def _main(folder: Path, manifest: Manifest) -> Path:
    """What the library knows the build by."""
    is_pipeline = any(file.name == "model_index.json" for file in manifest.files)
    return folder if is_pipeline else folder / manifest.files[0].name


def _first_member(source: BinaryIO) -> Manifest:
    member = next_member(source)
    if member is None or member[0] != MEMBER or member[1] > MAX_BYTES:
        raise Damaged("this is no bundle: it does not begin with a list of its files", _HINT)
    return decoded(b"".join(content(source, member[1])))


def _place_for(manifest: Manifest, models: Path) -> tuple[Path, bool]:
    """A folder that is free, or one that holds the very same files."""
    for number in range(1, _MOST_FOLDERS):
        folder = models / (manifest.folder if number == 1 else f"{manifest.folder}-{number}")
        if not folder.exists():
            return folder, False
        if all(_is_same(folder / file.name, file) for file in manifest.files):
            return folder, True
    raise UsageError(f"there are {_MOST_FOLDERS} folders for {manifest.folder}", "nanolocal models remove BUILD")


def _is_same(path: Path, file: Fetched) -> bool:
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    hashing = Hashing()
    with path.open("rb") as opened:
        while piece := opened.read(2**20):
            hashing.add(piece)
    return hashing.done(file.name).sha256 == file.sha256


def _unpack(source: BinaryIO, manifest: Manifest, room: Path, told: Told) -> list[Fetched]:
    done = 0

    def tell(count: int) -> None:
        nonlocal done
        done += count
        told("reading", done, manifest.size)

    files = []
    for file in manifest.files:
        if next_member(source) != (file.name, file.size):
            raise Damaged(f"the bundle lacks {file.name} where its list says it is", _HINT)
        files.append(_write(source, file, room / file.name, tell))
    if next_member(source) is not None:
        raise Damaged("the bundle holds more than its list says", _HINT)
    return files


def _write(source: BinaryIO, file: Fetched, path: Path, tell: Callable[[int], None]) -> Fetched:
    """One member to ``path``, on disk when this returns. A wrong chunk ends it before the rest is read."""
    hashing, checked = Hashing(file.chunk_bytes or CHUNK), 0
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0), 0o600)
    with os.fdopen(descriptor, "wb") as out:
        for piece in content(source, file.size):
            hashing.add(piece)
            out.write(piece)
            tell(len(piece))
            if file.chunks and hashing.chunks[checked:] != list(file.chunks[checked : len(hashing.chunks)]):
                raise Damaged(f"{file.name} is damaged at byte {checked * file.chunk_bytes:,}", _HINT)
            checked = len(hashing.chunks)
        out.flush()
        os.fsync(out.fileno())
    found = hashing.done(file.name)
    if found.sha256 != file.sha256:
        raise Damaged(f"{file.name} is damaged: its hash is another one", _HINT)
    return found


def _write_card(room: Path, manifest: Manifest) -> None:
    files = [{"path": file.name, "sha256": file.sha256} for file in manifest.files]
    write_object(room / CARD, {**manifest.card, "files": files}, durably=True)
    Card.beside(room / CARD)


def _check_usable(main: Path) -> None:
    """Raise ``Damaged`` unless the files are what a build is made of, whatever the list says."""
    try:
        describe(main, Fingerprints(main.with_name("never-kept")))
    except Damaged as error:
        raise Damaged(f"the bundle holds no usable build: {error.message}", _HINT) from error


@contextmanager
def _room(models: Path) -> Iterator[Path]:
    """A hidden folder that is gone in the end unless it was renamed; those that a kill left behind go first."""
    rooms = models / _FOLDER
    rooms.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in rooms.iterdir():
        _sweep(left)
    room = rooms / secrets.token_hex(8)
    room.mkdir(mode=0o700)
    lock = _hold(room)
    try:
        yield room
    finally:
        shutil.rmtree(room, ignore_errors=True)
        if lock is not None:
            os.close(lock)
        if not any(rooms.iterdir()):
            rooms.rmdir()


def _sweep(room: Path) -> None:
    """Remove a folder that nobody is writing to any more."""
    lock = _hold(room)
    if lock is not None:
        shutil.rmtree(room, ignore_errors=True)
        os.close(lock)


if sys.platform == "win32":

    def _hold(room: Path) -> int | None:
        """Folders cannot be locked here: what a kill leaves behind stays."""
        return None
else:
    import fcntl

    def _hold(room: Path) -> int | None:
        """A lock on ``room`` for as long as it is open; ``None`` while another process has it."""
        descriptor = os.open(room, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return descriptor
