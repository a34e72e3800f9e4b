"""The issuers whose vouchers this wallet takes: the newest word on each is an entry of the chain."""

from dataclasses import dataclass, replace

from nanolocal.errors import UsageError
from nanolocal.ledger import base32, book
from nanolocal.ledger.chain import Entry, EntryKind, Term
from nanolocal.ledger.sql import SINCE_ACCEPTED, Source, SqlTransaction
from nanolocal.ledger.vouchers import key_id
from nanolocal.ledger.wallet import Wallet

LONGEST_NAME = 60


@dataclass(frozen=True, slots=True)
class Issuer:
    """An issuer known here, what its owner is called, and how many micro-credits were redeemed from it."""

    public_key: bytes
    name: str
    trusted: bool
    redeemed_micro: int = 0

    @property
    def key_id(self) -> str:
        """The eight hexadecimal digits that vouchers and accounts name it by."""
        return key_id(self.public_key).hex()


def trust(wallet: Wallet, public_key: bytes, name: str | None = None) -> Issuer:
    """Take vouchers of that issuer from here on. Without a name it keeps the one it has, or is called by its key id."""
    kid = key_id(public_key).hex()
    given = (name or "").strip()
    if len(given) > LONGEST_NAME:
        raise UsageError(f"the name has {len(given)} characters", f"{LONGEST_NAME} are kept")
    with wallet.writing() as tx:
        known = find(tx, kid)
        if known is not None and known.public_key != public_key:
            raise UsageError(
                f"another issuer with the number {kid} is known here: {known.name}", "ask this issuer for another key"
            )
        called = given or (known.name if known is not None else kid)
        return _declare(wallet, tx, Issuer(public_key, called, trusted=True))


def distrust(wallet: Wallet, which: str) -> Issuer:
    """Take no more vouchers of the issuer with that key, key id or name. What was redeemed stays."""
    with wallet.writing() as tx:
        return _declare(wallet, tx, replace(_named(tx, which), trusted=False))


def issuers(source: Source) -> list[Issuer]:
    """Every issuer that was ever trusted here, by name."""
    rows = source.execute(f"SELECT body FROM entry WHERE kind = 'issuer' AND seq > {SINCE_ACCEPTED} ORDER BY seq")  # noqa: S608
    newest = {issuer.key_id: issuer for issuer in (_issuer(source, Entry.from_body(row[0])) for row in rows)}
    return sorted(newest.values(), key=lambda issuer: (issuer.name, issuer.key_id))


def find(source: Source, kid: str) -> Issuer | None:
    """The issuer with that key id, trusted or not."""
    newest = book.newest(source, EntryKind.ISSUER, kid)
    return None if newest is None else _issuer(source, newest)


def _named(source: Source, which: str) -> Issuer:
    wanted = which.strip()
    if base32.tidy(wanted).startswith(base32.ISSUER.prefix):
        wanted = key_id(base32.ISSUER.read(wanted)).hex()
    matches = [issuer for issuer in issuers(source) if wanted in (issuer.key_id, issuer.name)]
    if len(matches) == 1:
        return matches[0]
    found = "more than one issuer is" if matches else "no issuer is"
    raise UsageError(f"{found} called {which[:80]!r} here", "nanolocal credits voucher issuers")


def _issuer(source: Source, entry: Entry) -> Issuer:
    terms = entry.terms or {}
    rows = source.execute("SELECT debits_posted FROM account WHERE id = ?", (f"issuer:{entry.ref}",))
    redeemed = int(rows[0][0]) if rows else 0
    return Issuer(bytes.fromhex(str(terms["public_key"])), str(terms["name"]), bool(terms["trusted"]), redeemed)


def _declare(wallet: Wallet, tx: SqlTransaction, issuer: Issuer) -> Issuer:
    terms: dict[str, Term] = {"public_key": issuer.public_key.hex(), "name": issuer.name, "trusted": issuer.trusted}
    wallet.declare(tx, EntryKind.ISSUER, issuer.key_id, terms)
    return issuer
