"""Stored entries as JSON records, and the checks that need nothing but the record itself."""

from collections.abc import Mapping

from nanolocal.errors import Damaged, UsageError
from nanolocal.ledger.chain import Entry, EntryKind, Link, chain_hash
from nanolocal.ledger.money import whole
from nanolocal.ledger.prices import PriceCard, check_usage
from nanolocal.ledger.signing import is_signed
from nanolocal.ledger.strictjson import bytes_of, canonical, object_of, text_of

HINT = "ask for the file again; what it says is not what the ledger says"
_TEXTS = ("idem", "debit", "credit")
_OPTIONAL_TEXTS = ("ref", "build_id", "price_id", "chat_id", "note", "day", "key")
LINK_FIELDS = frozenset({"body", "prev", "hash", "sig"})


def record_of(link: Link) -> dict[str, object]:
    """A stored entry as a JSON record, with the names of ``LINK_FIELDS``."""
    from json import loads

    return {"body": loads(link.body), "prev": link.prev, "hash": link.hash, "sig": link.sig and link.sig.hex()}


def link_of(record: Mapping[str, object]) -> Link:
    """Read what ``record_of`` gave, unchecked but for the types; raises ``ValueError``."""
    fields = object_of(record, LINK_FIELDS)
    body = canonical(fields["body"])
    try:
        entry = Entry.from_body(body)
        _check_types(entry)
    except (Damaged, UsageError, TypeError) as error:
        raise ValueError("its body is no entry of a ledger") from error
    sig = None if fields["sig"] is None else bytes_of(fields["sig"], 64)
    return Link(entry, body, bytes_of(fields["prev"], 32).hex(), bytes_of(fields["hash"], 32).hex(), sig)


def card_of(value: object) -> PriceCard:
    """Read a price card; raises ``ValueError``."""
    try:
        card = PriceCard.from_body(canonical(value))
    except Damaged as error:
        raise ValueError("its price is no price card") from error
    for text in (card.build_id, card.build_sha256, card.source, card.evidence):
        text_of(text)
    return card


def _check_types(entry: Entry) -> None:
    for name in ("seq", "amount", "held", "ts"):
        whole(getattr(entry, name), name)
    for name in _TEXTS:
        text_of(getattr(entry, name))
    for name in _OPTIONAL_TEXTS:
        text_of(getattr(entry, name) or "")
    if entry.usage is not None:
        check_usage(entry.usage)
    if entry.terms is not None and not isinstance(entry.terms, Mapping):
        raise ValueError("its terms are no object")


def check_link(link: Link, public: bytes | None) -> None:
    """Raise ``Damaged`` unless the body is canonical, the hash its own, and the signature by ``public``.

    ``None`` as key: the entry is older than the first device key and must be unsigned.
    """
    number = link.entry.seq
    if link.entry.body() != link.body:
        raise Damaged(f"ledger entry {number} is not written as a ledger writes it", HINT)
    if chain_hash(link.prev, link.body) != link.hash:
        raise Damaged(f"ledger entry {number} was changed: its hash is another", HINT)
    if public is None and link.sig is not None:
        raise Damaged(f"ledger entry {number} is signed, but there is no key for it", HINT)
    if public is not None and not is_signed(public, link.hash, link.sig or b""):
        raise Damaged(f"ledger entry {number} is not signed by this device key", HINT)


def check_charge(entry: Entry, card: PriceCard | None) -> None:
    """Raise ``Damaged`` unless the amount is what usage and price card give, and no more than was held."""
    if entry.kind is EntryKind.VOID and entry.amount:
        raise Damaged(f"ledger entry {entry.seq} releases a hold and charges for it", HINT)
    if entry.kind is not EntryKind.SETTLE:
        return
    if entry.usage is None or card is None:
        raise Damaged(f"ledger entry {entry.seq} charges without a usage and a price", HINT)
    try:
        cost = card.cost(entry.usage)
    except UsageError as error:
        raise Damaged(f"ledger entry {entry.seq} has a usage that cannot be", HINT) from error
    if min(cost, entry.held) != entry.amount:
        raise Damaged(f"ledger entry {entry.seq} charges {entry.amount} micro-credits; its usage costs {cost}", HINT)


def device_of(entry: Entry) -> bytes | None:
    """The public key that a ``device`` entry puts in force, for itself already; raises ``Damaged``."""
    if entry.kind is not EntryKind.DEVICE:
        return None
    try:
        return bytes_of((entry.terms or {}).get("public_key"), 32)
    except ValueError as error:
        raise Damaged(f"ledger entry {entry.seq} names no device key", HINT) from error
