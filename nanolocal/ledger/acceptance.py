"""A ledger that was changed: the finding that makes the wallet read-only, and the owner's acceptance, on the record."""

import secrets
from dataclasses import replace

from nanolocal.errors import Damaged, UsageError
from nanolocal.ledger import audit, book
from nanolocal.ledger.audit import SUMS
from nanolocal.ledger.book import HINT
from nanolocal.ledger.chain import ADJUST, GENESIS, WALLET, Entry, EntryKind
from nanolocal.ledger.replay import State
from nanolocal.ledger.schema import GUARDS
from nanolocal.ledger.signing import DeviceKey
from nanolocal.ledger.sql import Source, SqlTransaction


def problem(source: Source) -> Damaged | None:
    """Why the wallet is read-only, if it is."""
    rows = source.execute("SELECT what FROM finding WHERE is_accepted = 0")
    return Damaged(rows[0][0], HINT) if rows else None


def require_whole(source: Source) -> None:
    """Raise ``Damaged`` while the wallet is read-only."""
    if (found := problem(source)) is not None:
        raise found


def note(tx: SqlTransaction, what: str, seq: int, head_hash: str, *, is_accepted: bool = False) -> None:
    """Keep what was found, and the newest entry that was known before; the first finding stays until it is accepted."""
    insert = "INSERT OR REPLACE" if is_accepted else "INSERT OR IGNORE"
    tx.execute(
        f"{insert} INTO finding (id, what, known, is_accepted) VALUES (1, ?, ?, ?)",
        (what, f"{seq}:{head_hash}", int(is_accepted)),
    )


def is_accepted(source: Source) -> bool:
    """Whether what was found is marked as accepted, and no entry says so yet."""
    return bool(source.execute("SELECT 1 FROM finding WHERE is_accepted = 1"))


def check_acceptance(anchor: tuple[int, str]) -> None:
    """Raise ``Damaged`` unless the vault's header, which only its owner can write, says that something was accepted.

    It names no entry from the acceptance until that is in the chain.
    """
    if anchor != (0, GENESIS):
        raise Damaged("a change of the ledger is marked as accepted, and the vault's header does not confirm it", HINT)


def take_back(tx: SqlTransaction) -> None:
    """What was marked as accepted is not."""
    tx.execute("DELETE FROM finding WHERE is_accepted = 1")


def record(tx: SqlTransaction, device: DeviceKey, ts: int) -> tuple[int, str]:
    """Write the acceptance into the chain; returns the chain's new head.

    Where the ledger is whole, and only later entries are gone, that is all. Where it is not, everything before is from
    now on taken as it was found: what its genuine entries post is what counts, nothing is held any more, and where this
    would overdraw the wallet the entry's amount makes up for it.
    """
    what, known = tx.execute("SELECT what, known FROM finding")[0]
    accepted = Entry(f"restore:{known}:{ts}", EntryKind.RESTORE, ADJUST, ADJUST, 0, ts, ref=known, note=what)
    try:
        audit.check_all(tx)
        audit.check_written_here(tx, int(known.partition(":")[0]), device.public)
    except (Damaged, UsageError):
        new_head = _take_as_found(tx, device, accepted)
    else:
        new_head = book.post(tx, accepted, device)
    tx.execute("DELETE FROM finding")
    return new_head


def _take_as_found(tx: SqlTransaction, device: DeviceKey, accepted: Entry) -> tuple[int, str]:
    for name in audit.missing_guards(tx):
        tx.execute(f"DROP TRIGGER IF EXISTS {name}")
        tx.execute(GUARDS[name])
    number = book.head(tx)[0] + 1
    found = audit.as_found(tx, number)
    shortfall = max(0, -found.available)
    terms = {"rows": audit.digest_before(tx, number)}
    new_head = book.append(tx, replace(accepted, credit=WALLET, amount=shortfall, terms=terms), device)
    found.take(next(book.links(tx, number)))
    _set_sums(tx, found)
    for entry in audit.declared(tx, number):
        again = replace(entry, seq=0, idem=f"{entry.kind}:{secrets.token_hex(16)}", ts=accepted.ts)
        new_head = book.post(tx, again, device)
    return new_head


def _set_sums(tx: SqlTransaction, found: State) -> None:
    assignments = ", ".join(f"{name} = ?" for name in SUMS)
    for (account,) in tx.execute("SELECT id FROM account"):
        if account not in found.sums:
            tx.execute("DELETE FROM account WHERE id = ?", (account,))
    for account, sums in found.sums.items():
        tx.execute("INSERT OR IGNORE INTO account (id, no_overdraft) VALUES (?, 0)", (account,))
        tx.execute(
            f"UPDATE account SET {assignments}, no_overdraft = ? WHERE id = ?",  # noqa: S608 - own names
            (*sums, int(account == WALLET), account),
        )
    tx.execute("DELETE FROM held")
    tx.execute("DELETE FROM spent")
    for (subject, period), both in found.spent.items():
        tx.execute("INSERT INTO spent VALUES (?, ?, ?, ?)", (subject, period, *both))
