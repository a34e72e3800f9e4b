"""The entries: canonical bodies, their hash chain, and what each kind does to the accounts. Pure."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from nanolocal.chat.messages import Usage
from nanolocal.errors import Damaged, UsageError
from nanolocal.ledger.money import whole
from nanolocal.ledger.owner import Owner

WALLET = "wallet"
ADJUST = "adjust"
GENESIS = "0" * 64
_DOMAIN = b"nl-ledger-v1\0"
_LATEST_SHOWN_MS = 253_402_200_000_000  # 9999-12-30: a later day has no name in every time zone

Term: TypeAlias = str | int | bool | None


class EntryKind(StrEnum):
    """What an entry records. The last four move nothing: they say what holds from here on."""

    TRANSFER = "transfer"
    HOLD = "hold"
    SETTLE = "settle"
    VOID = "void"
    RESTORE = "restore"
    DEVICE = "device"
    BUDGET = "budget"
    ISSUER = "issuer"
    PRICE = "price"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger: ``amount`` micro-credits from account ``debit`` to account ``credit``.

    ``idem`` makes a repeated request harmless. ``ref`` is the hold that a settle or void resolves, and ``held`` that
    hold's amount; for a budget it is the scope. ``day`` is the local calendar day (``2026-11-27``) under which budgets
    and usage count it, ``key`` the name of who asked, where there is one. ``note`` is the owner's own remark, ``terms``
    are facts of the kind: a public key, a limit, a voucher. ``ts`` is in milliseconds since 1970, but the order is
    ``seq``, which is 0 until the entry is posted.
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
    day: str | None = None
    key: str | None = None
    terms: Mapping[str, Term] | None = None

    @property
    def seconds(self) -> float:
        """``ts`` in seconds, within what a calendar can show: an entry that was changed may lie beyond."""
        return min(self.ts, _LATEST_SHOWN_MS) / 1000

    def body(self) -> str:
        """The entry as canonical JSON: what is hashed, exported and signed."""
        record: dict[str, object] = {name: getattr(self, name) for name in _PLAIN}
        record["v"] = 1
        record["usage"] = _plain(self.usage, ("prompt_tokens", "cached_tokens", "completion_tokens", "pixel_steps"))
        if self.usage is not None and self.usage.loads:
            record["usage"] |= {"loads": self.usage.loads}  # type: ignore[operator]
        record["owner"] = _plain(self.owner, ("boot", "pid", "start"))
        record |= {name: value for name in _OPTIONAL if (value := getattr(self, name)) is not None}
        return json.dumps(record, sort_keys=True, separators=(",", ":"))

    @staticmethod
    def from_body(body: str) -> "Entry":
        """Read what ``body`` gave; raises ``Damaged``."""
        try:
            record = json.loads(body)
            usage, owner = record["usage"], record["owner"]
            for name in ("seq", "amount", "ts", "held"):
                whole(record[name], name)
            return Entry(
                **{name: record[name] for name in _PLAIN if name != "kind"},
                **{name: record[name] for name in _OPTIONAL if name in record},
                kind=EntryKind(record["kind"]),
                usage=None if usage is None else Usage(**usage),
                owner=None if owner is None else Owner(**owner),
            )
        except (KeyError, TypeError, ValueError, UsageError) as error:
            raise Damaged("a ledger entry is damaged", "nanolocal vault restore") from error


_PLAIN = (
    "seq", "idem", "kind", "debit", "credit", "amount", "ts", "ref", "held", "build_id", "price_id", "chat_id",
)  # fmt: skip
_OPTIONAL = ("note", "day", "key", "terms")


def _plain(value: object, names: tuple[str, ...]) -> dict[str, object] | None:
    return None if value is None else {name: getattr(value, name) for name in names}


@dataclass(frozen=True, slots=True)
class Link:
    """An entry as it is stored: its ``body``, the hash before it, its own, and the device's signature of that.

    ``sig`` is ``None`` in entries older than the first ``device`` entry.
    """

    entry: Entry
    body: str
    prev: str
    hash: str
    sig: bytes | None


def chain_hash(prev: str, body: str) -> str:
    """The hash of an entry: it covers the whole ledger up to it."""
    return hashlib.sha256(_DOMAIN + bytes.fromhex(prev) + body.encode()).hexdigest()


def changes(entry: Entry) -> tuple[int, int]:
    """What an entry adds, on both sides alike, to what is posted and to what is pending."""
    match entry.kind:
        case EntryKind.TRANSFER | EntryKind.RESTORE:
            return entry.amount, 0
        case EntryKind.HOLD:
            return 0, entry.amount
        case EntryKind.SETTLE:
            return entry.amount, -entry.held
        case EntryKind.VOID:
            return 0, -entry.held
        case _:
            return 0, 0
