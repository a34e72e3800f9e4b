"""``nanolocal credits voucher trust``, ``distrust`` and ``issuers``: whose vouchers are taken here."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nanolocal.chat.amounts import format_credits
from nanolocal.cli import output
from nanolocal.cli.common import Subparsers, open_vault, wants_json
from nanolocal.ledger.base32 import ISSUER
from nanolocal.ledger.vouchers import key_id

if TYPE_CHECKING:
    from nanolocal.ledger.issuers import Issuer
    from nanolocal.ledger.wallet import Wallet
    from nanolocal.vault.database import Database


def add(parts: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the three parts."""
    trust = parts.add_parser("trust", parents=[common], help="take the vouchers of an issuer from now on")
    trust.add_argument("key", metavar="KEY", help="NLK-..., as the issuer gives it")
    trust.add_argument("--name", metavar="NAME", help="what you call this issuer")
    trust.set_defaults(run=run_trust)
    distrust = parts.add_parser("distrust", parents=[common], help="take no more vouchers of an issuer")
    distrust.add_argument("issuer", metavar="ISSUER", help="its name, number or key")
    distrust.set_defaults(run=run_distrust)
    known = parts.add_parser("issuers", parents=[common], help="whose vouchers are taken here, and your own keys")
    known.set_defaults(run=run_issuers)


@contextmanager
def opened_wallet(args: argparse.Namespace) -> "Iterator[tuple[Wallet, Database]]":
    """The wallet of the vault, and the database that it is in, closed at the end of the block."""
    from nanolocal import bootstrap

    with open_vault(args) as vault:
        yield bootstrap.open_wallet(vault), vault.database


def run_trust(args: argparse.Namespace) -> int:
    """Trust an issuer's key."""
    from nanolocal.ledger import issuers

    public_key = ISSUER.read(args.key)
    with opened_wallet(args) as (wallet, _):
        _tell_issuer(args, issuers.trust(wallet, public_key, args.name))
    return 0


def run_distrust(args: argparse.Namespace) -> int:
    """Trust an issuer no more; what was redeemed stays."""
    from nanolocal.ledger import issuers

    with opened_wallet(args) as (wallet, _):
        _tell_issuer(args, issuers.distrust(wallet, args.issuer))
    return 0


def run_issuers(args: argparse.Namespace) -> int:
    """List the issuers known here, and this device's own issuer keys."""
    from nanolocal.ledger import issuers, issuing

    with opened_wallet(args) as (_, source):
        known, own = issuers.issuers(source), issuing.issuer_keys(source)
    if wants_json(args):
        mine = [{"name": key.name, "key": ISSUER.write(key.public_key)} for key in own]
        output.as_json({"issuers": [_issuer_facts(issuer) for issuer in known], "own_keys": mine})
        return 0
    rows = [
        (one.key_id, "trusted" if one.trusted else "not trusted", format_credits(one.redeemed_micro), one.name)
        for one in known
    ]
    output.table(rows, ("ISSUER", "HERE", "REDEEMED", "NAME"))
    for key in own:
        output.line()
        output.line(f"your own issuer key {key_id(key.public_key).hex()} ({key.name}), to give to who redeems:")
        output.line(ISSUER.write(key.public_key))
    return 0


def _tell_issuer(args: argparse.Namespace, issuer: "Issuer") -> None:
    if wants_json(args):
        output.as_json(_issuer_facts(issuer))
        return
    words = "vouchers are taken from now on" if issuer.trusted else "vouchers are taken no more"
    output.line(f"issuer {issuer.key_id} ({issuer.name}): {words}")


def _issuer_facts(issuer: "Issuer") -> dict[str, object]:
    return {
        "issuer": issuer.key_id,
        "name": issuer.name,
        "key": ISSUER.write(issuer.public_key),
        "trusted": issuer.trusted,
        "redeemed_micro": issuer.redeemed_micro,
    }
