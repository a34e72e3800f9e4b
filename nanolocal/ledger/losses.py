"""What the vault asks of the ledger when commits are lost; satisfies ``vault.mending.Books``."""

from typing import Protocol

from nanolocal.ledger import acceptance, audit
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
    """Checks the ledger against an anchor, and notes that the owner went on without later entries."""

    def check(self, database: Source, anchor: AnchoredEntry) -> None:
        """Raise ``Damaged`` unless the ledger is whole and contains the anchored entry."""
        acceptance.require_whole(database)
        audit.check_anchor(database, anchor.seq, anchor.head)
        audit.check_all(database)

    def read_all(self, database: Source) -> tuple[int, str]:
        """Check the whole ledger: number and hash of its newest entry. Raises ``Damaged``."""
        checked = audit.check_all(database)
        return checked.entries, checked.head

    def record_loss(self, tx: SqlTransaction, lost: AnchoredEntry, why: str) -> None:
        """Note the newest head known before, and why it may be missing.

        The wallet, which has the key to sign with, writes it into the chain when it is next opened.
        """
        acceptance.note(tx, why, lost.seq, lost.head, is_accepted=True)
