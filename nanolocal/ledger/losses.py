"""What the vault asks of the ledger when commits are lost; satisfies ``vault.vault.Books``."""

import time
from typing import Protocol

from nanolocal.ledger import book
from nanolocal.ledger.sql import Source, SqlTransaction


class AnchoredEntry(Protocol):
    """The newest settled entry that is known outside the database."""

    @property
    def seq(self) -> int:
        """Its number."""
        ...

    @property
    def head(self) -> str:
        """Its hash."""
        ...


class LedgerLosses:
    """Checks the ledger against an anchor, and records that the owner went on without later entries."""

    def check(self, database: Source, anchor: AnchoredEntry) -> None:
        """Raise ``Damaged`` unless the ledger contains the anchored entry."""
        book.check_anchor(database, anchor.seq, anchor.head)

    def read_all(self, database: Source) -> tuple[int, str]:
        """Check the whole ledger: number and hash of its newest entry. Raises ``Damaged``."""
        checked = book.check_all(database)
        return checked.entries, checked.head

    def record_loss(self, tx: SqlTransaction, lost: AnchoredEntry, why: str) -> tuple[int, str]:
        """Append a ``restore`` entry that names the newest head known before, and why; returns the new head."""
        return book.record_loss(tx, lost.seq, lost.head, int(time.time() * 1000), why)
