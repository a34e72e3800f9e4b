"""The ledger with a pen: whatever is written is signed and anchored, and nothing is written into a changed ledger."""

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from nanolocal.chat.messages import Usage
from nanolocal.errors import Damaged, NanolocalError, UsageError
from nanolocal.ledger import acceptance, audit, book, receipts
from nanolocal.ledger.audit import Checked
from nanolocal.ledger.chain import ADJUST, WALLET, Entry, EntryKind, Term
from nanolocal.ledger.signing import DeviceKey
from nanolocal.ledger.sql import SqlDatabase, SqlTransaction

_EARLIEST_MS = 1_735_689_600_000  # 2025: whatever is before it is a clock that was never set
_LATEST_MS = 253_402_300_800_000  # the year 10000


@dataclass(frozen=True, slots=True)
class EntryRow:
    """One movement in a history. ``amount_micro`` is what it did to the wallet: negative when spent.

    ``ts`` in seconds since 1970. A hold or void moves nothing for good, so its amount is 0.
    """

    seq: int
    ts: float
    kind: str
    amount_micro: int
    build_id: str | None
    chat_id: str | None
    usage: Usage | None
    note: str | None


class Journal:
    """The entries of one vault. ``keep_anchor(seq, hash)`` is called after each entry is on disk."""

    def __init__(
        self,
        database: SqlDatabase,
        device: DeviceKey,
        keep_anchor: Callable[[int, str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.device = device
        self._database = database
        self._keep_anchor = keep_anchor
        self._clock = clock

    @property
    def problem(self) -> Damaged | None:
        """Why nothing can be spent: what a check found, until the owner accepts it."""
        return acceptance.problem(self._database)

    def receipt(self, name: str) -> list[tuple[str, str]]:
        """The receipt of an entry, as names and values: ``name`` is its number, or the hold that it settled.

        Raises ``UsageError`` where there is none.
        """
        with self._database.snapshot() as source:
            return receipts.described(receipts.receipt(source, receipts.find(source, name)))

    def hold_named(self, name: str) -> str:
        """The id of the hold that an entry is about, named as for ``receipt``; ``""`` where it is about none."""
        with self._database.snapshot() as source:
            return receipts.receipt(source, receipts.find(source, name)).link.entry.ref or ""

    def history(self, limit: int, *, with_holds: bool = False) -> list[EntryRow]:
        """The newest movements and acceptances first; ``with_holds`` adds what moves nothing for good."""
        rows = self._database.execute(
            """SELECT body FROM entry WHERE ? OR kind = 'restore' OR (kind IN ('transfer', 'settle')
               AND ? IN (debit, credit)) ORDER BY seq DESC LIMIT ?""",
            (int(with_holds), WALLET, max(0, limit)),
        )
        return [_row(Entry.from_body(row[0])) for row in rows]

    def verify(
        self,
        anchor: tuple[int, str] | None = None,
        tell: Callable[[int, int], None] = lambda done, total: None,
    ) -> Checked:
        """Walk the whole chain, check every signature, recompute every sum and charge, check the ``anchor``.

        Raises ``Damaged``; from then on the wallet is read-only.
        """
        if self.problem is not None:
            raise self.problem
        try:
            with self._database.snapshot() as source:
                if anchor is not None:
                    audit.check_anchor(source, *anchor)
                    audit.check_written_here(source, anchor[0], self.device.public)
                return audit.check_all(source, self.device.public, tell)
        except Damaged as error:
            self._note(error, anchor or book.head(self._database))
            raise

    @contextmanager
    def writing(self) -> Iterator[SqlTransaction]:
        """A write transaction; raises ``Damaged`` while the wallet is read-only."""
        with self._database.transaction() as tx:
            acceptance.require_whole(tx)
            yield tx

    def declare(self, tx: SqlTransaction, kind: EntryKind, ref: str, terms: dict[str, Term]) -> None:
        """Put on the record what holds from here on; saying the same again changes nothing."""
        earlier = book.newest(tx, kind, ref)
        if earlier is None or earlier.terms != terms:
            idem = f"{kind}:{secrets.token_hex(16)}"
            self.post_final(tx, Entry(idem, kind, ADJUST, ADJUST, 0, self.now(), ref=ref, terms=terms))

    def post_final(self, tx: SqlTransaction, entry: Entry) -> None:
        """Post an entry; once it is on disk, the anchor outside the database follows: nobody can take it back."""
        seq, head = book.post(tx, entry, self.device)
        tx.on_commit(lambda: self._anchor(seq, head))

    def now(self) -> int:
        """Milliseconds since 1970; raises ``UsageError`` where the machine's clock was never set."""
        now = self._read_clock()
        if not _EARLIEST_MS <= now < _LATEST_MS:
            shown = datetime.fromtimestamp(now / 1000, UTC).date() if 0 <= now < _LATEST_MS else f"{now // 1000} s"
            raise UsageError(f"this machine's clock says {shown}, so nothing can be put on the record", "set the clock")
        return now

    def _note(self, found: Damaged, known: tuple[int, str]) -> None:
        """Make the wallet read-only; a page that cannot be read is raised: that is for the vault to repair."""
        if type(found) is not Damaged:
            raise found
        with self._database.transaction() as tx:
            acceptance.take_back(tx)
            acceptance.note(tx, found.message, *known)

    def _anchor(self, seq: int, head: str) -> None:
        """An anchor that cannot be written stays behind, which is allowed; the payment itself is safe."""
        with contextlib.suppress(OSError, NanolocalError):
            self._keep_anchor(seq, head)

    def _read_clock(self) -> int:
        return int(self._clock() * 1000)


def _row(entry: Entry) -> EntryRow:
    sign = {EntryKind.TRANSFER: 1, EntryKind.RESTORE: 1, EntryKind.SETTLE: -1}.get(entry.kind, 0)
    if WALLET not in (entry.debit, entry.credit):
        sign = 0
    return EntryRow(
        seq=entry.seq,
        ts=entry.seconds,
        kind=entry.kind.value,
        amount_micro=sign * entry.amount,
        build_id=entry.build_id,
        chat_id=entry.chat_id,
        usage=entry.usage,
        note=entry.note,
    )
