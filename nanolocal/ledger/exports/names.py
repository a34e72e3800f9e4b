"""Account names and foreign text as accounting programs take them.

Build ids, key names and notes come from users. Account names are reduced to ASCII letters, digits and hyphens, which
hledger and beancount both accept; two ledger accounts never get the same name.
"""

import hashlib
import re

from nanolocal.ledger.chain import ADJUST, WALLET
from nanolocal.safetext import safe_line

WALLET_NAME = "Assets:Nanolocal:Wallet"
HELD_NAME = "Assets:Nanolocal:Held"
_LONGEST_PART = 40
_LONGEST_TEXT = 500
_ROOTS = {"usage": "Expenses:Nanolocal", "issuer": "Income:Nanolocal:Issuer", "grant": "Equity:Nanolocal:Grant"}


class Names:
    """Gives each ledger account one name, the same in every format; who comes first gets the plain one."""

    def __init__(self) -> None:
        self._given = {WALLET: WALLET_NAME}
        self._taken = {WALLET_NAME.casefold(), HELD_NAME.casefold()}

    def of(self, account: str, label: str | None = None) -> str:
        """The name of ``account``; the first ``label`` that it comes with (a build's id) makes it readable."""
        if account in self._given:
            return self._given[account]
        kind, _, rest = account.partition(":")
        root = _ROOTS.get(kind, "Equity:Nanolocal:Other")
        plain = "Equity:Nanolocal:Adjust" if account == ADJUST else f"{root}:{_part(label or rest or kind)}"
        digest = hashlib.sha256(account.encode("utf-8", "surrogatepass")).hexdigest()
        name = next(
            name for name in (plain, f"{plain}-{digest[:8]}", f"{plain}-{digest}") if name.casefold() not in self._taken
        )
        self._taken.add(name.casefold())
        self._given[account] = name
        return name


def _part(text: str) -> str:
    """One part of an account name: it begins with a capital letter or a digit."""
    kept = re.sub(r"[^A-Za-z0-9]+", "-", text)[:_LONGEST_PART].strip("-")
    return kept[:1].upper() + kept[1:] or "Unnamed"


def one_line(text: str) -> str:
    """Foreign text as one line without control characters, two spaces in a row, or more than 500 characters."""
    return safe_line(text)[:_LONGEST_TEXT].strip()
