"""The one SQLCipher database: conversations, search and ledger, so that an answer and its price commit together.

One connection behind one re-entrant lock serves every thread. Statements here take milliseconds, a second connection
would double the copies of the key in memory, and a thread always sees what another has just stored.
Opening fails closed: whatever is not the expected encrypted file is refused, never replaced.
"""

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from threading import RLock
from typing import Any, Protocol

from sqlcipher3 import dbapi2

from nanolocal.errors import Damaged, NanolocalError, UsageError, VaultLocked
from nanolocal.vault.files import create_private_file, sync_directory, sync_file
from nanolocal.vault.keys import DatabaseKey

Row = tuple[Any, ...]  # the schema fixes each column's type; whoever reads a row names them
Value = str | int | float | bytes | None
Migrations = Sequence[tuple[int, tuple[str, ...]]]

_BUSY_MS = 10_000
_SETTINGS = (
    "synchronous=FULL",
    "foreign_keys=ON",
    "trusted_schema=OFF",
    "secure_delete=ON",
    "journal_size_limit=16777216",
    "fullfsync=ON",
    "checkpoint_fullfsync=ON",
)


class Unreadable(Damaged):
    """The database file itself is broken: a page fails its check, or the file is no database any more."""


class Witness(Protocol):
    """Keeps outside the database how far it has come, so that missing commits are noticed."""

    @property
    def kept(self) -> int:
        """The newest commit that is known to be kept."""
        ...

    def keep(self, number: int, mark: str) -> None:
        """Note that commit ``number`` is on disk; ``mark`` tells it from another of that number. Never raises."""
        ...

    def soon(self, action: Callable[[], None]) -> None:
        """Run ``action``, which ends with ``keep``, on another thread; actions run in order. Never raises."""
        ...

    def suspect(self) -> None:
        """A page could not be read. Never raises."""
        ...


class Transaction:
    """An open write transaction. After its block has ended it refuses to work."""

    __slots__ = ("_committed", "_connection", "_rolled_back", "is_open")

    def __init__(self, connection: dbapi2.Connection) -> None:
        self._connection = connection
        self._committed: list[Callable[[], None]] = []
        self._rolled_back: list[Callable[[], None]] = []
        self.is_open = True

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """Run one statement and return its rows."""
        if not self.is_open:
            raise RuntimeError("this transaction has ended")
        return _execute(self._connection, sql, parameters)

    def on_commit(self, action: Callable[[], None]) -> None:
        """Run ``action`` once the transaction is on disk; it must not raise."""
        self._committed.append(action)

    def on_rollback(self, action: Callable[[], None]) -> None:
        """Run ``action`` if the transaction comes to nothing; it must not raise."""
        self._rolled_back.append(action)

    def finish(self, *, committed: bool) -> None:
        """Close it and run the actions that wait for this outcome."""
        self.is_open = False
        for action in self._committed if committed else self._rolled_back:
            action()


class Database:
    """An unlocked database. Close it to fold the log back into the file."""

    def __init__(self, path: Path, key: DatabaseKey) -> None:
        self.witness: Witness | None = None
        self.newest = (0, "")
        self._path = path
        self._key = key
        self._connection: dbapi2.Connection | None = _connect(path, key)
        self._lock = RLock()

    @classmethod
    def create(cls, path: Path, key: DatabaseKey, migrations: Migrations) -> "Database":
        """Make a new database with all its tables."""
        create_private_file(path)
        return cls._ready(path, key, migrations)

    @classmethod
    def open(cls, path: Path, key: DatabaseKey, migrations: Migrations) -> "Database":
        """Open an existing one and bring its tables up to date; raises ``Damaged`` if it is not this vault's."""
        _check_file(path, key)
        return cls._ready(path, key, migrations)

    @classmethod
    def _ready(cls, path: Path, key: DatabaseKey, migrations: Migrations) -> "Database":
        database = cls(path, key)
        try:
            database._migrate(migrations)
            _check_file(path, key)
        except BaseException:
            database._drop()
            raise
        return database

    @property
    def directory(self) -> Path:
        """Where its file lies."""
        return self._path.parent

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """Run one reading statement outside a transaction and return its rows."""
        with self._lock, self._noting_damage():
            return _execute(self._live(), sql, parameters)

    @contextlib.contextmanager
    def transaction(self, *, is_urgent: bool = False) -> Iterator[Transaction]:
        """Begin a write transaction (BEGIN IMMEDIATE); commits at the end of the block, rolls back on an exception.

        One that ``is_urgent`` is on disk at the end of its block as any other; what waits for that, such as the
        witness, follows on another thread.
        """
        with self._lock, self._noting_damage():
            connection = self._live()
            if connection.in_transaction:
                raise RuntimeError("a write transaction is already open on this thread")
            _execute(connection, "BEGIN IMMEDIATE")
            transaction = Transaction(connection)
            changes, progress = connection.total_changes, None
            try:
                yield transaction
                if self.witness is not None and connection.total_changes != changes:
                    progress = _advance(connection, self.witness.kept)
                _execute(connection, "COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                transaction.finish(committed=False)
                raise
            transaction.is_open = False
            if progress is None or self.witness is None:
                transaction.finish(committed=True)
                return
            self.newest = progress
            settle = partial(_settle, transaction, self.witness, *progress)
            if is_urgent:
                self.witness.soon(settle)
            else:
                settle()

    @contextlib.contextmanager
    def snapshot(self) -> Iterator["Database"]:
        """A block of reads that all see the same moment, whatever other processes write."""
        with self._lock:
            connection = self._live()
            if connection.in_transaction:
                yield self
                return
            _execute(connection, "BEGIN")
            try:
                yield self
            finally:
                connection.execute("ROLLBACK")

    def checkpoint(self, *, waits: bool = False) -> bool:
        """Fold the write-ahead log into the file; ``False`` if somebody else is using it (``waits``: for long)."""
        with self._lock:
            connection = self._live()
            connection.set_busy_timeout(_BUSY_MS / 1000 if waits else 0)
            try:
                return bool(_execute(connection, "PRAGMA wal_checkpoint(TRUNCATE)")[0][0] == 0)
            finally:
                connection.set_busy_timeout(_BUSY_MS / 1000)

    def problems(self) -> tuple[str, ...]:
        """Read every page and index: what is wrong with the file, nothing if it is whole.

        The check of all pages looks at the file alone, which a log that is folded in only partly leaves with gaps.
        """
        with self._lock:
            is_folded = self.checkpoint(waits=True)
            found = [str(row[0]) for row in self.execute("PRAGMA cipher_integrity_check")] if is_folded else []
            if not found:
                found = [str(row[0]) for row in self.execute("PRAGMA integrity_check") if row[0] != "ok"]
            return tuple(found)

    def progress(self) -> tuple[int, str, int]:
        """Number and mark of the newest commit, and the newest number known to be kept outside."""
        number, mark, anchored = self.execute("SELECT number, mark, anchored FROM progress")[0]
        self.newest = (number, mark)
        return number, mark, anchored

    @staticmethod
    def peek(path: Path, key: DatabaseKey, *, without_log: bool = False) -> tuple[int, str, int] | None:
        """The same, of a closed database, without changing the file; ``None`` where it was not counted yet.

        An ordinary connection folds the log into the file when it closes, also a log that does not belong there.
        """
        _check_file(path, key)
        with contextlib.closing(_read_only(path, key, without_log=without_log)) as connection:
            if not _execute(connection, "SELECT 1 FROM sqlite_master WHERE name = 'progress'"):
                return None
            number, mark, anchored = _execute(connection, "SELECT number, mark, anchored FROM progress")[0]
            return number, mark, anchored

    @staticmethod
    def is_whole(path: Path, key: DatabaseKey) -> bool:
        """Whether every page of a closed database that has no log can be read; the file is not changed."""
        try:
            _check_file(path, key)
            with contextlib.closing(_read_only(path, key, without_log=True)) as connection:
                return not _execute(connection, "PRAGMA cipher_integrity_check")
        except (Damaged, dbapi2.OperationalError):  # the latter when it goes away meanwhile
            return False

    def copy_to(self, path: Path, key: DatabaseKey | None = None) -> None:
        """Make a checked copy at ``path``, encrypted with ``key`` (its own by default), while others go on writing.

        Raises ``Unreadable`` when a page cannot be read, ``UsageError`` when the disk is full; then there is no copy.
        """
        path.unlink(missing_ok=True)
        create_private_file(path)
        with self._noting_damage():
            try:
                _copy(self._path, self._key, path, key or self._key)
            except BaseException:
                path.unlink(missing_ok=True)
                raise
        sync_file(path)

    def rekey(self, key: DatabaseKey) -> None:
        """Put a copy under another key and salt in this file's place; nobody else may have it open.

        The file is always whole, under the one key or the other: its first 16 bytes are the salt.
        """
        with self._lock:
            made = self._path.with_name(self._path.name + ".next")
            self.copy_to(made, key)
            self.checkpoint()
            self._drop()
            discard_log(self._path)
            made.replace(self._path)
            sync_directory(self._path.parent)
            self._key = key
            self._connection = _connect(self._path, key)

    def close(self) -> None:
        """Checkpoint and close; waits for a running transaction. Closing twice is no error.

        The housekeeping may fail on a damaged or full disk: every commit is safe in the log, and the reason for closing
        must not be hidden by another error.
        """
        with self._lock:
            if self._connection is None:
                return
            try:
                with contextlib.suppress(NanolocalError, dbapi2.DatabaseError):
                    _execute(self._connection, "PRAGMA optimize")
                    self._note_kept(self._connection)
                    self.checkpoint()
            finally:
                self._drop()

    def _note_kept(self, connection: dbapi2.Connection) -> None:
        """Note what is known to be kept outside, which the next commit would do: nothing less is whole from now on.

        It is no commit of its own: there would be no end to it.
        """
        if self.witness is None or self.witness.kept <= _execute(connection, "SELECT anchored FROM progress")[0][0]:
            return
        connection.set_busy_timeout(0)
        with contextlib.suppress(UsageError):  # somebody else is writing, and notes the same
            _execute(connection, "UPDATE progress SET anchored = max(anchored, ?)", (self.witness.kept,))

    @contextlib.contextmanager
    def _noting_damage(self) -> Iterator[None]:
        try:
            yield
        except Unreadable:
            if self.witness is not None:
                self.witness.suspect()
            raise

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _live(self) -> dbapi2.Connection:
        if self._connection is None:
            raise VaultLocked("the vault is locked", "start nanolocal again to unlock it")
        return self._connection

    def _migrate(self, migrations: Migrations) -> None:
        migrations = sorted(migrations)
        if [number for number, _ in migrations] != list(range(1, len(migrations) + 1)):
            raise ValueError("migrations must be numbered 1, 2, 3, ... over all rooms")
        if self._version() == len(migrations):
            return
        with self.transaction() as transaction:
            version = self._version()
            if version > len(migrations):
                raise VaultLocked("this vault was written by a newer nanolocal", "update nanolocal")
            for number, statements in migrations[version:]:
                for statement in statements:
                    transaction.execute(statement)
                transaction.execute(f"PRAGMA user_version={number}")

    def _version(self) -> int:
        return int(self.execute("PRAGMA user_version")[0][0])


def _settle(transaction: Transaction, witness: Witness, number: int, mark: str) -> None:
    transaction.finish(committed=True)
    witness.keep(number, mark)


def _read_only(path: Path, key: DatabaseKey, *, without_log: bool) -> dbapi2.Connection:
    """A connection that changes nothing on the disk, not even by making a file that is missing."""
    return _keyed(f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if without_log else ''}", key)


def _keyed(path: Path | str, key: DatabaseKey) -> dbapi2.Connection:
    """A connection with the key set; a text is a URI."""
    is_uri = isinstance(path, str)
    connection = dbapi2.connect(os.fspath(path), isolation_level=None, check_same_thread=False, uri=is_uri)
    connection.set_key(b"x'" + key.key.hex().encode() + key.salt.hex().encode() + b"'")
    connection.execute("PRAGMA cipher_log_level=NONE")
    return connection


def _connect(path: Path, key: DatabaseKey) -> dbapi2.Connection:
    connection = _keyed(path, key)
    try:
        version = _execute(connection, "PRAGMA cipher_version")
        encrypts = _execute(connection, "PRAGMA cipher_status") == [("1",)]
        if not encrypts or not version or not str(version[0][0]).startswith("4."):
            raise UsageError("the database library here cannot encrypt", "reinstall nanolocal: pip install sqlcipher3")
        connection.enable_load_extension(False)
        connection.set_busy_timeout(_BUSY_MS / 1000)
        if _execute(connection, "PRAGMA journal_mode=WAL") != [("wal",)]:
            raise UsageError(f"the file system of {path.parent} cannot hold a vault", "choose another with --home")
        for setting in _SETTINGS:
            _execute(connection, f"PRAGMA {setting}")
    except BaseException:
        connection.close()
        raise
    return connection


def discard_log(path: Path) -> None:
    """Remove what SQLite keeps beside a database that nobody has open."""
    for suffix in ("-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _advance(connection: dbapi2.Connection, kept: int) -> tuple[int, str]:
    """Count one more commit, in the transaction that is about to commit."""
    rows = _execute(
        connection,
        "UPDATE progress SET number = number + 1, mark = ?, anchored = max(anchored, ?) RETURNING number, mark",
        (secrets.token_hex(16), kept),
    )
    return rows[0][0], rows[0][1]


def _copy(source_path: Path, source_key: DatabaseKey, target_path: Path, target_key: DatabaseKey) -> None:
    with (
        contextlib.closing(_connect(source_path, source_key)) as source,
        contextlib.closing(_keyed(target_path, target_key)) as target,
    ):
        try:
            source.backup(target)
        except dbapi2.DatabaseError as error:
            raise _explained(error) or error from error
        _execute(target, "PRAGMA journal_mode=DELETE")
        if _execute(target, "PRAGMA integrity_check") != [("ok",)]:
            raise Unreadable("the vault's database is damaged", "nanolocal vault restore")


def _check_file(path: Path, key: DatabaseKey) -> None:
    """Refuse a file that does not begin with this vault's salt: missing, empty, in clear, or from another vault."""
    try:
        with path.open("rb") as file:
            start = file.read(len(key.salt))
    except FileNotFoundError as error:
        raise Damaged(f"the vault's database {path.name} is missing", "nanolocal vault restore") from error
    if start == b"SQLite format 3\0":
        raise Damaged(f"{path.name} is not encrypted: it is not this vault's database", "nanolocal vault restore")
    if start != key.salt:
        raise Damaged(f"{path.name} is damaged or belongs to another vault", "nanolocal vault restore")


def _execute(connection: dbapi2.Connection, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
    try:
        return list(connection.execute(sql, parameters).fetchall())
    except dbapi2.DatabaseError as error:
        explained = _explained(error)
        if explained is None:
            raise
        raise explained from error


_CODES = {
    "database disk image is malformed": dbapi2.SQLITE_CORRUPT,
    "file is not a database": dbapi2.SQLITE_NOTADB,
    "database is locked": dbapi2.SQLITE_BUSY,
    "database or disk is full": dbapi2.SQLITE_FULL,
    "disk I/O error": dbapi2.SQLITE_IOERR,
    "attempt to write a readonly database": dbapi2.SQLITE_READONLY,
}
"""For errors of the backup API, which come without a code."""


def _explained(error: dbapi2.DatabaseError) -> NanolocalError | None:
    match (getattr(error, "sqlite_errorcode", None) or _CODES.get(str(error), 0)) & 0xFF:
        case dbapi2.SQLITE_CORRUPT | dbapi2.SQLITE_NOTADB:
            return Unreadable("the vault's database is damaged", "nanolocal vault restore")
        case dbapi2.SQLITE_BUSY:
            return UsageError("another nanolocal is busy writing to this vault", "try again")
        case dbapi2.SQLITE_FULL:
            return UsageError("the disk is full: nothing was stored", "free some space and try again")
        case dbapi2.SQLITE_READONLY | dbapi2.SQLITE_CANTOPEN | dbapi2.SQLITE_IOERR:
            return UsageError(f"the vault's database cannot be used: {error}", "check the disk and its permissions")
    return None
