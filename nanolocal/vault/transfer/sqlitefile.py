"""Opens another program's SQLite database for reading alone: nothing is written beside it, nothing copied."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from nanolocal.errors import UsageError

MAGIC = b"SQLite format 3\0"


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The database; raises ``UsageError`` where it is broken, inside the block too.

    It is taken as unchanging unless its program has a log of changes open beside it, which is then read as well.
    """
    log = path.with_name(path.name + "-wal")
    is_open = log.exists() and log.stat().st_size > 0
    address = f"file:{quote(str(path.absolute()))}?mode=ro{'' if is_open else '&immutable=1'}"
    try:
        with closing(sqlite3.connect(address, uri=True, isolation_level=None)) as connection:
            connection.text_factory = _decoded
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA trusted_schema=OFF")
            yield connection
    except (sqlite3.Error, UnicodeDecodeError) as error:  # its messages may quote broken names
        raise UsageError(f"{path.name} cannot be read: {error}", "close its program and try again") from error


def columns(connection: sqlite3.Connection, table: str) -> set[str]:
    """The columns of a table; none where there is no such table (a view is none)."""
    is_table = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)).fetchone()
    if is_table is None:
        return set()
    return {row["name"] for row in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))}


def rows(connection: sqlite3.Connection, table: str, suffix: str, *parameters: object) -> Iterator[dict[str, object]]:
    """Rows of a table as mappings from column to value; ``table`` and ``suffix`` are the program's own words."""
    cursor = connection.execute(f"SELECT * FROM {table} {suffix}", parameters)  # noqa: S608 - own names
    for row in cursor:
        yield dict(row)


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "replace")
