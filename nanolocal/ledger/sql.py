"""What the ledger needs from the database it lives in; the vault's satisfies it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, cast

from nanolocal.chat.ports import Transaction

Row = tuple[Any, ...]  # the schema fixes each column's type; whoever reads a row names them
Value = str | int | float | bytes | None


class Source(Protocol):
    """Something to read from: the database, or an open transaction."""

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """Run one statement and return its rows."""
        ...


class SqlTransaction(Source, Protocol):
    """An open write transaction."""

    def on_commit(self, action: Callable[[], None]) -> None:
        """Run ``action`` once the transaction is on disk."""
        ...


class SqlDatabase(Source, Protocol):
    """A database with write transactions and consistent reads."""

    def transaction(self) -> AbstractContextManager[SqlTransaction]:
        """Begin a write transaction: no other writer until it ends."""
        ...

    def snapshot(self) -> AbstractContextManager[Source]:
        """A block of reads that all see the same moment."""
        ...


def writable(tx: Transaction) -> SqlTransaction:
    """The turn's opaque transaction, as what it is: one begun by the shared database."""
    return cast("SqlTransaction", tx)


SINCE_ACCEPTED = (
    "(SELECT coalesce(max(seq), 0) FROM entry WHERE kind = 'restore' AND body ->> '$.terms.rows' IS NOT NULL)"
)
"""The number of the entry by which a changed ledger was accepted: what is declared counts from there on."""
