"""Which card is in force: the estimate follows its settings, a card that somebody chose stays until the next choice."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nanolocal.chat.messages import Usage
from nanolocal.errors import Damaged
from nanolocal.ledger import listprices
from nanolocal.ledger.prices import Electricity
from nanolocal.ledger.signing import DeviceKey
from nanolocal.ledger.wallet import Wallet
from tests.fakes.homes import BUILD, Home, home, reserve


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Home]:
    with home(tmp_path / "vault") as opened:
        yield opened


def with_power(here: Home, watts: int, tariff: int = 300_000) -> Wallet:
    anchor = here.vault.anchor
    device = DeviceKey(here.vault.keys.device)
    known = (anchor.seq, anchor.head)
    return Wallet.open(here.vault.database, device, known, here.vault.keep_anchor, Electricity(watts, tariff))


def entries(here: Home) -> int:
    return int(here.vault.database.execute("SELECT count(*) FROM entry")[0][0])


def test_the_estimate_follows_watts_and_tariff_there_and_back(here: Home) -> None:
    assert with_power(here, 30).price(BUILD).completion == 100_000
    assert with_power(here, 60).price(BUILD).completion == 200_000
    assert with_power(here, 60, 150_001).price(BUILD).completion == 100_001
    assert with_power(here, 30).price(BUILD).completion == 100_000
    assert [change.card.completion for change in here.wallet.price_changes(BUILD)] == [
        100_000,
        100_001,
        200_000,
        100_000,
    ]
    assert here.wallet.verify().entries == entries(here)


def test_the_same_price_from_other_watts_has_its_own_evidence(here: Home) -> None:
    assert "30 W" in with_power(here, 30).price(BUILD).evidence
    card = with_power(here, 60, 150_000).price(BUILD)
    assert (card.completion, "60 W x 150000" in card.evidence) == (100_000, True)


def test_asking_for_a_price_again_puts_nothing_on_the_record(here: Home) -> None:
    wallet = with_power(here, 45)
    first, before = wallet.price(BUILD), entries(here)
    assert (wallet.price(BUILD), wallet.shown_price(BUILD), entries(here)) == (first, first, before)


def test_showing_a_price_records_nothing(here: Home) -> None:
    before = entries(here)
    assert here.wallet.shown_price(BUILD) == here.wallet.estimate(BUILD)
    assert with_power(here, 99).shown_price(BUILD).evidence.startswith("99 W")
    assert (entries(here), here.wallet.price_changes(BUILD)) == (before, [])


def test_a_chosen_card_stays_when_the_tariff_changes(here: Home) -> None:
    card = listprices.like(BUILD, listprices.load().get("gpt-5-nano"))
    here.wallet.set_price(card)
    wallet = with_power(here, 60)
    assert wallet.price(BUILD) == card
    wallet.set_price(wallet.estimate(BUILD))
    assert wallet.price(BUILD).completion == 200_000
    assert with_power(here, 30).price(BUILD).completion == 100_000


def test_an_open_hold_keeps_its_card(here: Home) -> None:
    hold = reserve(here.vault.database, with_power(here, 30), 1000)
    dearer = with_power(here, 60)
    assert dearer.price(BUILD).completion == 200_000
    with here.store.transaction() as tx:
        assert dearer.settle(tx, hold, BUILD, Usage(completion_tokens=1000), None) == 100


def test_a_build_that_was_replaced_has_its_own_card(here: Home) -> None:
    here.wallet.set_price(replace(here.wallet.estimate(BUILD), prompt=7, source="owner"))
    other = replace(BUILD, sha256="cd" * 32)
    assert here.wallet.price(other).prompt == 25_000


def test_loading_is_charged_once(here: Home) -> None:
    here.wallet.set_price(replace(here.wallet.estimate(BUILD), load=40, completion=10**6, source="owner"))
    charged = []
    for loads in (1, 0):
        hold = here.hold(1000)
        with here.store.transaction() as tx:
            charged.append(here.wallet.settle(tx, hold, BUILD, Usage(completion_tokens=2, loads=loads), None))
    assert charged == [42, 2]
    assert here.wallet.verify().open_holds == 0


def test_a_price_that_was_changed_in_the_database_is_not_shown(here: Home) -> None:
    here.wallet.price(BUILD)
    with here.vault.database.transaction() as tx:
        tx.execute("DROP TRIGGER price_is_final")
        tx.execute("UPDATE price SET body = replace(body, '100000', '100001')")
    with pytest.raises(Damaged):
        here.wallet.price_changes(BUILD)
