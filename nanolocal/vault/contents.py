"""One number over every stored conversation, so that a row that vanished, came back or changed does not go unnoticed.

The digest is the sum of the SHA-256 of every row, modulo 2^256: adding or removing a row takes one addition, whatever
the order. It lies in the ``progress`` row that every commit rewrites and the header's anchor covers. SQLCipher alone
cannot see this: an older copy of a single page passes all of its checks.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from nanolocal.vault.database import Row, Value

_COLUMNS = {
    "chat": "id, title, system, created_at, source",
    "message": """id, chat_id, parent_id, role, text, created_at, build_id, task, stopped, problem, cost_micro, hold_id,
        prompt_tokens, cached_tokens, completion_tokens, pixel_steps, dropped_tokens, load_s, ttft_s, prompt_tok_s,
        decode_tok_s, cpu_s, energy_j, route_json, sources_json""",
    "attachment": "blob_id, message_id, position, name, media_type, size, key, receipt",
}
_PAGE = 1000


class Source(Protocol):
    """The database, or an open transaction."""

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """Run one statement and return its rows."""
        ...


@dataclass(frozen=True, slots=True)
class Attached:
    """A stored file: its blob, the row's half of the blob's key, the name and the number of bytes the user knows."""

    blob_id: str
    key: bytes = field(repr=False)
    name: str
    size: int


def attached(source: Source) -> list[Attached]:
    """Every stored file, in the order of their ids."""
    rows = source.execute("SELECT blob_id, key, name, size FROM attachment ORDER BY blob_id")
    return [Attached(blob_id, key or b"", name, size) for blob_id, key, name, size in rows]


def added(tx: Source, table: str, where: str, parameters: Sequence[Value]) -> None:
    """Count the rows of ``table`` that were just written."""
    _change(tx, _rows_sum(tx, table, where, parameters))


def removed(tx: Source, table: str, where: str, parameters: Sequence[Value]) -> None:
    """Discount the rows of ``table`` that are about to change or go."""
    _change(tx, -_rows_sum(tx, table, where, parameters))


def recorded(source: Source) -> str | None:
    """The digest as kept; ``None`` in a vault from before there was one."""
    digest: str | None = source.execute("SELECT digest FROM progress")[0][0]
    return digest


def computed(source: Source) -> str:
    """The digest of what is stored now, read row by row."""
    return _written(sum(_table_sum(source, table) for table in _COLUMNS))


def record(tx: Source) -> None:
    """Begin to keep the digest in a vault from before there was one."""
    tx.execute("UPDATE progress SET digest = ?", (computed(tx),))


def _change(tx: Source, amount: int) -> None:
    before = recorded(tx)
    if before is not None:
        tx.execute("UPDATE progress SET digest = ?", (_written(int(before, 16) + amount),))


def _table_sum(source: Source, table: str) -> int:
    total, last = 0, 0
    while rows := source.execute(
        f"SELECT rowid, {_COLUMNS[table]} FROM {table} WHERE rowid > ? ORDER BY rowid LIMIT {_PAGE}",  # noqa: S608
        (last,),
    ):
        total += sum(_row_hash(table, row[1:]) for row in rows)
        last = rows[-1][0]
    return total


def _rows_sum(source: Source, table: str, where: str, parameters: Sequence[Value]) -> int:
    rows = source.execute(f"SELECT {_COLUMNS[table]} FROM {table} WHERE {where}", parameters)  # noqa: S608 - own names
    return sum(_row_hash(table, row) for row in rows)


def _row_hash(table: str, row: Row) -> int:
    if table in ("attachment", "message") and row[-1] is None:
        row = row[:-1]  # as it was counted before there were receipts and sources
    record = [table, *(value.hex() if isinstance(value, bytes) else value for value in row)]
    return int.from_bytes(hashlib.sha256(json.dumps(record).encode()).digest(), "big")


def _written(number: int) -> str:
    return f"{number % (1 << 256):064x}"
