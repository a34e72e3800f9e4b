"""What engines have read of conversations, so that they go on without reading again: ``chat.ports.PromptCache``.

An engine seals and opens a file in ``prompts/`` by itself, with a key that lies in the file's row alone: once the row
is gone, nothing can read what is left of the file. Names are random and never used twice, so that a file can be removed
whatever other processes do meanwhile. Losing a snapshot costs time and nothing else: no problem with one is an error.
"""

import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nanolocal.chat.ports import PromptSnapshot
from nanolocal.errors import NanolocalError, UsageError
from nanolocal.vault.database import Database, Transaction
from nanolocal.vault.files import OpenMark, make_private_directory
from nanolocal.vault.keys import KEY_BYTES
from nanolocal.vault.layout import PROMPTS

_MB = 2**20
_USUAL_MOST = 4 * 2**30
_USUAL_PART = 20
"""One part in so many of the free disk, when the user says nothing."""
_LEFT_FREE = 2**30
_USUAL_READ_TOK_S = 100.0
"""For a build whose speed has not been seen."""
_SAME_MOMENT_S = 600.0
"""Uses that are closer together are one, so that a turn need not wait for a commit."""
_HALF_AS_LIKELY_S = 86_400.0
"""After so long it is half as likely that a conversation goes on. The chance falls with 1 / age: some return late."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A row; sizes in bytes, times in seconds since 1970. One that is not kept is being written, ``size`` at most."""

    file: str
    size: int
    tokens: int
    read_tok_s: float
    used_at: float
    is_kept: bool

    def value(self, now: float) -> float:
        """Seconds that each byte is expected to save: what reading again costs, by how likely that is needed."""
        age = max(now - self.used_at, 0.0)
        return self.tokens / self.read_tok_s / (1 + age / _HALF_AS_LIKELY_S) / max(self.size, 1)


class PromptCacheStore:
    """The snapshots of an open vault: ``most_mb`` megabytes (2^20 bytes) of them, ``None`` for the usual budget.

    ``clock`` gives seconds since 1970, ``free`` the bytes that are free on the vault's disk.
    """

    def __init__(
        self,
        database: Database,
        most_mb: int | None = None,
        clock: Callable[[], float] = time.time,
        free: Callable[[], int] | None = None,
    ) -> None:
        self._database = database
        self._folder = database.directory / PROMPTS
        self._most_mb = most_mb
        self._clock = clock
        self._free = free or (lambda: shutil.disk_usage(database.directory).free)
        self._being_written: dict[Path, OpenMark] = {}

    def folder(self) -> Path | None:
        """Where all of them lie; ``None`` where the disk does not take one."""
        try:
            make_private_directory(self._folder)
        except (OSError, NanolocalError):
            return None
        return self._folder

    def find(self, sha256: str, chat_id: str) -> PromptSnapshot | None:
        """The snapshot of what the build with these files has read of a conversation."""
        with suppress(OSError, NanolocalError):
            rows = self._database.execute(
                "SELECT file, key, tokens, size, used_at FROM prompt_cache WHERE sha256 = ? AND chat_id = ?",
                (sha256, chat_id),
            )
            for file, key, tokens, size, used_at in rows:
                snapshot = PromptSnapshot(self._folder / file, key, tokens, size)
                if snapshot.path.exists():
                    if self._clock() - used_at > _SAME_MOMENT_S:
                        self._touch(file)
                    return snapshot
                self.drop(snapshot)
        return None

    def reserve(self, size: int) -> PromptSnapshot | None:
        """An empty file, mode 0600, and the key to seal it with; the least valuable others leave where they must.

        ``None``, and none leaves, where that does not make room for ``size`` bytes. Until ``keep`` or ``drop`` this
        process is known to be writing it: should it die, the next unlock or ``reserve`` removes the file.
        """
        try:
            return self._reserve(size)
        except (OSError, NanolocalError):
            return None

    def keep(self, snapshot: PromptSnapshot, sha256: str, chat_id: str) -> None:
        """It is written: it replaces the one before it, or goes where the conversation is gone."""
        is_kept = False
        with suppress(OSError, NanolocalError):
            is_kept = self._keep(snapshot, sha256, chat_id)
        if is_kept:
            self._end_writing(snapshot.path)
        else:
            self.drop(snapshot)

    def drop(self, snapshot: PromptSnapshot) -> None:
        """Forget its key, then remove the file; on a full disk at least the file."""
        with suppress(OSError, NanolocalError), self._database.transaction() as tx:
            _forget(tx, self._folder, [snapshot.path.name])
        self._discard(snapshot.path)

    def trim(self) -> None:
        """Let the least valuable leave until the rest fits what the user and the disk allow now."""
        with suppress(OSError, NanolocalError), self._database.transaction() as tx:
            self._trim(tx)

    def clear(self) -> int:
        """Forget all of them, those that are being written too; returns their bytes on disk."""
        size = size_of(self._database.directory)
        with self._database.transaction() as tx:
            _forget(tx, self._folder, [entry.file for entry in _entries(tx)])
        sweep(self._database)
        self._database.checkpoint()
        return size

    def budget(self) -> int:
        """The most that they may take together, in bytes."""
        if self._most_mb is not None:
            return self._most_mb * _MB
        return min(_USUAL_MOST, (self._free() + size_of(self._database.directory)) // _USUAL_PART)

    def close(self) -> None:
        """What this process has not finished writing may be removed by the next."""
        for path in list(self._being_written):
            self._end_writing(path)

    def _reserve(self, size: int) -> PromptSnapshot | None:
        sweep(self._database)
        path, key = self._folder / secrets.token_hex(16), secrets.token_bytes(KEY_BYTES)
        with self._database.transaction() as tx:
            entries = _entries(tx)
            excess = self._excess(entries, size)
            if excess > sum(entry.size for entry in entries if entry.is_kept):
                return None
            self._evict(tx, entries, excess)
            tx.execute(
                "INSERT INTO prompt_cache (file, key, tokens, size, used_at) VALUES (?, ?, 0, ?, ?)",
                (path.name, key, size, self._clock()),
            )
            tx.on_rollback(lambda: self._discard(path))
            make_private_directory(self._folder)
            self._being_written[path] = OpenMark(path)
        return PromptSnapshot(path, key, 0, size)

    def _keep(self, snapshot: PromptSnapshot, sha256: str, chat_id: str) -> bool:
        """False where it was forgotten, or the conversation deleted, while it was being written."""
        file = snapshot.path.name
        with self._database.transaction() as tx:
            if not tx.execute("SELECT 1 FROM prompt_cache, chat WHERE file = ? AND id = ?", (file, chat_id)):
                return False
            before = "SELECT file FROM prompt_cache WHERE sha256 = ? AND chat_id = ? AND file <> ?"
            _forget(tx, self._folder, [row[0] for row in tx.execute(before, (sha256, chat_id, file))])
            tx.execute(
                "UPDATE prompt_cache SET sha256 = ?, chat_id = ?, tokens = ?, size = ?, used_at = ? WHERE file = ?",
                (sha256, chat_id, snapshot.tokens, snapshot.size, self._clock(), file),
            )
            self._trim(tx)
        return True

    def _touch(self, file: str) -> None:
        with suppress(OSError, NanolocalError), self._database.transaction() as tx:
            tx.execute("UPDATE prompt_cache SET used_at = ? WHERE file = ?", (self._clock(), file))

    def _excess(self, entries: Sequence[_Entry], size: int) -> int:
        """Bytes that have to leave before ``size`` more fit; what is being written counts as if it were."""
        taken = sum(entry.size for entry in entries)
        being_written = sum(entry.size for entry in entries if not entry.is_kept)
        return max(taken + size - self.budget(), being_written + size + _LEFT_FREE - self._free())

    def _trim(self, tx: Transaction) -> None:
        entries = _entries(tx)
        self._evict(tx, entries, self._excess(entries, 0))

    def _evict(self, tx: Transaction, entries: Sequence[_Entry], excess: int) -> None:
        """Let the least valuable leave until ``excess`` bytes are gone."""
        now = self._clock()
        for entry in sorted((entry for entry in entries if entry.is_kept), key=lambda entry: entry.value(now)):
            if excess <= 0:
                return
            _forget(tx, self._folder, [entry.file])
            excess -= entry.size

    def _end_writing(self, path: Path) -> None:
        if (mark := self._being_written.pop(path, None)) is not None:
            mark.close()

    def _discard(self, path: Path) -> None:
        self._end_writing(path)
        _remove([path])


def sweep(database: Database) -> None:
    """Remove what a crash left: files without a row, rows without a file, and what nobody is writing any more.

    A process that writes a file holds a lock on it, which ends with the process. The database's write lock is held
    meanwhile: nobody is between making a file and storing its row. A name may go on after a dot while it is written.
    """
    folder = database.directory / PROMPTS
    with suppress(OSError, NanolocalError), database.transaction() as tx:
        entries = _entries(tx)
        alive = {entry.file for entry in entries if _is_alive(folder / entry.file, is_kept=entry.is_kept)}
        _remove(path for path in folder.glob("*") if path.name.partition(".")[0] not in alive)
        _forget(tx, folder, [entry.file for entry in entries if entry.file not in alive])


def forget_chat(tx: Transaction, directory: Path, chat_id: str) -> None:
    """Forget the snapshots of a conversation that is about to be deleted from the vault in ``directory``."""
    rows = tx.execute("SELECT file FROM prompt_cache WHERE chat_id = ?", (chat_id,))
    _forget(tx, directory / PROMPTS, [row[0] for row in rows])


def size_of(directory: Path) -> int:
    """The bytes that the snapshots of the vault in ``directory`` take; needs no key."""
    size = 0
    for path in (directory / PROMPTS).glob("*"):
        with suppress(FileNotFoundError):  # another process has just removed it
            size += path.stat().st_size
    return size


def _entries(tx: Transaction) -> list[_Entry]:
    rows = tx.execute(
        """SELECT file, size, tokens, coalesce(nullif(read_tok_s, 0), ?), used_at, chat_id IS NOT NULL
           FROM prompt_cache LEFT JOIN speed USING (sha256)""",
        (_USUAL_READ_TOK_S,),
    )
    return [_Entry(*row) for row in rows]


def _forget(tx: Transaction, folder: Path, files: Sequence[str]) -> None:
    """The rows with the keys now; the files once that is on disk."""
    for file in files:
        tx.execute("DELETE FROM prompt_cache WHERE file = ?", (file,))
    tx.on_commit(lambda: _remove(folder / file for file in files))


def _remove(paths: Iterable[Path]) -> None:
    """Remove files; one that resists is left for the next unlock."""
    for path in paths:
        with suppress(OSError):
            path.unlink()


def _is_alive(path: Path, *, is_kept: bool) -> bool:
    """Whether a row's file is there, and written or being written."""
    return path.exists() and (is_kept or _is_being_written(path))


def _is_being_written(path: Path) -> bool:
    mark = OpenMark(path)
    try:
        with mark.alone():
            return False
    except UsageError:
        return True
    finally:
        mark.close()
