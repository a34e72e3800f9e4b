"""Which price card is in force for a build, on the record since when."""

import secrets
import time
from collections.abc import Callable
from dataclasses import replace

from nanolocal.chat.routes import Build
from nanolocal.ledger import book
from nanolocal.ledger.book import PriceChange
from nanolocal.ledger.chain import ADJUST, Entry, EntryKind
from nanolocal.ledger.journal import Journal
from nanolocal.ledger.prices import Electricity, PriceCard, electricity_card, is_outdated
from nanolocal.ledger.signing import DeviceKey
from nanolocal.ledger.sql import Source, SqlDatabase, SqlTransaction


class Pricing(Journal):
    """A journal with prices; ``power`` is what the automatic estimates rest on."""

    def __init__(
        self,
        database: SqlDatabase,
        device: DeviceKey,
        keep_anchor: Callable[[int, str], None],
        power: Electricity | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(database, device, keep_anchor, clock)
        self.power = power or Electricity()

    def price(self, build: Build) -> PriceCard:
        """The card in force for a build; the estimate is made and recorded on first use, and when it has changed."""
        card = self._in_force(self._database, build)
        if card is not None:
            return card
        with self.writing() as tx:
            return self._price(tx, build)

    def shown_price(self, build: Build) -> PriceCard:
        """The card that the next hold would be made for, without recording it."""
        return self._in_force(self._database, build) or self.estimate(build)

    def estimate(self, build: Build) -> PriceCard:
        """What the build costs by the estimate of its electricity, whatever is in force."""
        return electricity_card(build, self.power)

    def price_changes(self, build: Build) -> list[PriceChange]:
        """Every card that was put in force for a build, the newest first."""
        return book.price_changes(self._database, build.id)

    def set_price(self, card: PriceCard) -> None:
        """Put a card in force for its build from now on; holds that are open keep theirs."""
        with self.writing() as tx:
            self._put_in_force(tx, card)

    def _price(self, tx: SqlTransaction, build: Build) -> PriceCard:
        return self._in_force(tx, build) or self._put_in_force(tx, self.estimate(build))

    def _in_force(self, source: Source, build: Build) -> PriceCard | None:
        """The card in force; ``None`` too where that is an estimate from other watts or another tariff."""
        card = book.price_in_force(source, build.id, build.sha256)
        return None if card is None or is_outdated(card, self.estimate(build)) else card

    def _put_in_force(self, tx: SqlTransaction, card: PriceCard) -> PriceCard:
        """Record a card and the word that it is in force; one whose record was changed is recorded anew."""
        tx.execute(
            "INSERT OR IGNORE INTO price (id, body, recorded_at) VALUES (?, ?, ?)", (card.id, card.body(), self.now())
        )
        if tx.execute("SELECT body FROM price WHERE id = ?", (card.id,)) != [(card.body(),)]:
            return self._put_in_force(tx, replace(card, evidence=f"{card.evidence} (recorded anew)"))
        idem = f"price:{secrets.token_hex(16)}"
        entry = Entry(idem, EntryKind.PRICE, ADJUST, ADJUST, 0, self.now(), build_id=card.build_id, price_id=card.id)
        self.post_final(tx, entry)
        return card
