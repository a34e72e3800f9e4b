"""What the same use would have cost elsewhere: exact sums over real entries, and never a charge."""

from collections.abc import Iterator
from datetime import date, datetime
from fractions import Fraction
from math import ceil
from pathlib import Path

import pytest

from nanolocal.chat.messages import Usage
from nanolocal.ledger import listprices, savings
from nanolocal.ledger.signing import DeviceKey
from nanolocal.ledger.wallet import Wallet
from tests.fakes.homes import BUILD, Home, home, reserve

LIST = listprices.load()


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Home]:
    with home(tmp_path / "vault") as opened:
        yield opened


def charge(here: Home, day: str, *usages: Usage) -> int:
    """Settle each usage on that day; returns what was charged."""
    moment = datetime.fromisoformat(f"{day}T12:00:00").timestamp()
    anchor = here.vault.anchor
    device = DeviceKey(here.vault.keys.device)
    wallet = Wallet.open(
        here.vault.database, device, (anchor.seq, anchor.head), here.vault.keep_anchor, clock=lambda: moment
    )
    charged = 0
    for usage in usages:
        hold = reserve(here.vault.database, wallet, 10_000)
        with here.store.transaction() as tx:
            charged += wallet.settle(tx, hold, BUILD, usage, None)
    return charged


def test_every_settled_answer_is_added_up_and_nothing_else(here: Home) -> None:
    charged = charge(here, "2026-01-31", Usage(1000, 400, 50), Usage(7, 0, 3, 0, 1))
    charged += charge(here, "2026-03-01", Usage(pixel_steps=81_920))
    here.wallet.void(here.hold(500))
    here.hold(500)
    used = savings.used(here.vault.database)
    assert (used.answers, used.usage, used.charged_micro) == (3, Usage(1007, 400, 53, 81_920, 1), charged)
    assert (used.months, used.first_day, used.last_day) == (2, "2026-01-31", "2026-03-01")
    assert savings.subscription_micro(used, LIST) == 40_000_000


def test_only_what_came_since_counts(here: Home) -> None:
    charge(here, "2026-01-31", Usage(1000, 0, 50))
    charge(here, "2026-02-01", Usage(10, 0, 5))
    assert savings.used(here.vault.database, date(2026, 2, 1)).usage == Usage(10, 0, 5)
    nothing = savings.used(here.vault.database, date(2026, 2, 2))
    assert (nothing.answers, nothing.usage, nothing.months, nothing.first_day) == (0, Usage(), 0, None)
    assert savings.elsewhere(nothing, list(LIST.prices)) == []


def test_text_and_pictures_are_compared_with_their_own_prices(here: Home) -> None:
    charge(here, "2026-01-31", Usage(1_000_001, 400_000, 50), Usage(pixel_steps=1_000_001))
    used = savings.used(here.vault.database)
    compared = {item.price.name: item.micro for item in savings.elsewhere(used, list(LIST.prices))}
    assert set(compared) == {price.name for price in LIST.prices}
    assert compared["gpt-4o-mini"] == ceil(Fraction(600_001 * 150_000 + 400_000 * 75_000 + 50 * 600_000, 10**6))
    assert compared["flux.1-schnell"] == 751


def test_a_comparison_changes_nothing(here: Home) -> None:
    charge(here, "2026-01-31", Usage(10, 0, 5))
    before = here.vault.database.execute("SELECT max(seq) FROM entry")
    savings.elsewhere(savings.used(here.vault.database), list(LIST.prices))
    assert here.vault.database.execute("SELECT max(seq) FROM entry") == before


def test_the_prices_that_are_shown_unasked_are_listed() -> None:
    assert [LIST.get(name).name for name in savings.COMPARED] == list(savings.COMPARED)
