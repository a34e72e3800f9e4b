"""Whether everything in a vault is whole: each function reads one kind of thing to its end and says what it found."""

from collections.abc import Callable, Sequence
from pathlib import Path

from nanolocal.checks import Check, State
from nanolocal.errors import Damaged, NanolocalError
from nanolocal.vault import contents
from nanolocal.vault.blobs import Blobs
from nanolocal.vault.database import Database
from nanolocal.vault.header import decode, is_genuine
from nanolocal.vault.keys import DatabaseKey
from nanolocal.vault.layout import BACKUP
from nanolocal.vault.snapshots import Snapshot

REPAIR = "repair what can be repaired: nanolocal vault restore"
_NAMED = 3


def spare_header(directory: Path, key: bytes) -> Check:
    """The copy of the header, which is needed when the header is lost; ``key`` is the one of its MAC."""
    try:
        genuine = is_genuine(decode((directory / BACKUP).read_bytes()), key)
    except (OSError, NanolocalError):
        genuine = False
    if genuine:
        return Check("header", State.OK, "the file with the keys is genuine, and so is its spare copy")
    says = "the spare copy of the file with the keys was changed by something else"
    return Check("header", State.WRONG, says, f"remove {BACKUP}: the next start makes a new one")


def pages(database: Database) -> Check:
    """Every page of the database, against its own seal and against the others."""
    try:
        problems = database.problems()
    except Damaged as error:
        return Check("database", State.WRONG, error.message, REPAIR)
    if not problems:
        return Check("database", State.OK, "every page of the database can be read")
    places = "1 place" if len(problems) == 1 else f"{len(problems)} places"
    return Check("database", State.WRONG, f"the database is damaged in {places}", REPAIR)


def conversations(database: Database) -> Check:
    """Every stored row against the digest that covers them all, and each message against what it belongs to."""
    wrong = []
    if database.execute("PRAGMA foreign_key_check"):
        wrong.append("messages have lost what they belong to")
    with database.snapshot() as source:
        if contents.recorded(source) != contents.computed(source):
            wrong.append("messages are missing, or were changed or brought back by something else")
        messages = source.execute("SELECT count(*) FROM message")[0][0]
    return _judged("conversations", f"all messages are there and unchanged ({messages:,})", wrong)


def files(database: Database, blobs: Blobs, tell: Callable[[str], None]) -> Check:
    """Every attachment and picture, to its last byte; ``tell`` hears how far it is."""
    attached = contents.attached(database)
    bad = []
    for number, file in enumerate(attached, 1):
        tell(f"reading file {number:,} of {len(attached):,}")
        try:
            blobs.read(file.blob_id, file.key)
        except Damaged:
            bad.append(file.name)
    if not bad:
        return Check("files", State.OK, f"all attached files and pictures can be read ({len(attached):,})")
    hint = "everything else is there; put the file back from a backup: nanolocal vault restore --help"
    if len(bad) == 1:
        return Check("files", State.WRONG, f"the attached file {bad[0]} is damaged or missing", hint)
    named = ", ".join(sorted(bad)[:_NAMED]) + (f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else "")
    return Check("files", State.WRONG, f"{len(bad)} attached files are damaged or missing: {named}", hint)


def search(database: Database) -> Check:
    """The index of words against the messages and titles."""
    wrong = []
    with database.transaction() as tx:
        for index in ("message_index", "chat_index"):
            try:
                tx.execute(f"INSERT INTO {index} ({index}, rank) VALUES ('integrity-check', 1)")  # noqa: S608
            except Damaged:
                wrong = ["the search index does not match the messages"]
    return _judged("search", "the search index matches the messages", wrong)


def copies(found: Sequence[Snapshot], key: DatabaseKey) -> Check:
    """Every page of the snapshots."""
    # A newer one may have taken its place meanwhile.
    bad = [copy.when for copy in found if not Database.is_whole(copy.path, key) and copy.path.exists()]
    if bad:
        says = f"the snapshot of {', '.join(bad)} is damaged"
        return Check("snapshots", State.WRONG, says, "remove the damaged file: nanolocal vault status names it")
    good = f"all daily copies of the database can be read ({len(found)})"
    return Check("snapshots", State.OK, good if found else "there is no daily copy of the database yet")


def _judged(name: str, good: str, wrong: list[str]) -> Check:
    return Check(name, State.WRONG, "; ".join(wrong), REPAIR) if wrong else Check(name, State.OK, good)
