"""The entries: canonical bodies, their hash chain, and what each kind does to the accounts. Pure."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from nanolocal.chat.messages import Usage
from nanolocal.errors import Damaged
from nanolocal.ledger.owner import Owner

WALLET = "wallet"
ADJUST = "adjust"
GENESIS = "0" * 64
_DOMAIN = b"nl-ledger-v1\0"


class EntryKind(StrEnum):
    """What an entry records."""

    TRANSFER = "transfer"
    HOLD = "hold"
    SETTLE = "settle"
    VOID = "void"
    RESTORE = "restore"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger: ``amount`` micro-credits from account ``debit`` to account ``credit``.

    ``idem`` makes a repeated request harmless. ``ref`` is the hold that a settle or void resolves, and ``held`` that
    hold's amount. ``note`` is the owner's own remark. ``ts`` is in milliseconds since 1970, but the order is ``seq``,
    which is 0 until the entry is posted.
    """

    idem: str
    kind: EntryKind
    debit: str
    credit: str
    amount: int
    ts: int
    seq: int = 0
    ref: str | None = None
    held: int = 0
    build_id: str | None = None
    price_id: str | None = None
    usage: Usage | None = None
    chat_id: str | None = None
    owner: Owner | None = None
    note: str | None = None

    def body(self) -> str:
        """The entry as canonical JSON: what is hashed, exported and signed."""
        record: dict[str, object] = {name: getattr(self, name) for name in _PLAIN}
        record["v"] = 1
        record["usage"] = _plain(self.usage, ("prompt_tokens", "cached_tokens", "completion_tokens", "pixel_steps"))
        record["owner"] = _plain(self.owner, ("boot", "pid", "start"))
        if self.note is not None:
            record["note"] = self.note
        return json.dumps(record, sort_keys=True, separators=(",", ":"))

    @staticmethod
    def from_body(body: str) -> "Entry":
        """Read what ``body`` gave; raises ``Damaged``."""
        try:
            record = json.loads(body)
            usage, owner = record["usage"], record["owner"]
            return Entry(
                **{name: record[name] for name in _PLAIN if name != "kind"},
                kind=EntryKind(record["kind"]),
                usage=None if usage is None else Usage(**usage),
                owner=None if owner is None else Owner(**owner),
                note=record.get("note"),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise Damaged("a ledger entry is damaged", "restore the vault from a backup") from error


_PLAIN = (
    "seq", "idem", "kind", "debit", "credit", "amount", "ts", "ref", "held", "build_id", "price_id", "chat_id",
)  # fmt: skip


def _plain(value: object, names: tuple[str, ...]) -> dict[str, object] | None:
    return None if value is None else {name: getattr(value, name) for name in names}


def chain_hash(prev: str, body: str) -> str:
    """The hash of an entry: it covers the whole ledger up to it."""
    return hashlib.sha256(_DOMAIN + bytes.fromhex(prev) + body.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Move:
    """A change of one account: of its posted and its pending sum, on the debit or on the credit side."""

    account: str
    side: str
    posted: int
    pending: int


def moves(entry: Entry) -> Iterator[Move]:
    """What an entry does to its two accounts; debits and credits always change alike."""
    match entry.kind:
        case EntryKind.TRANSFER:
            posted, pending = entry.amount, 0
        case EntryKind.HOLD:
            posted, pending = 0, entry.amount
        case EntryKind.SETTLE:
            posted, pending = entry.amount, -entry.held
        case EntryKind.RESTORE:
            posted, pending = 0, 0
        case EntryKind.VOID:
            posted, pending = 0, -entry.held
    yield Move(entry.debit, "debits", posted, pending)
    yield Move(entry.credit, "credits", posted, pending)
