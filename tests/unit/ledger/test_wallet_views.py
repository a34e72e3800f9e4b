from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from nanolocal.errors import UsageError
from tests.fakes.homes import BUILD, Home, home


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Home]:
    with home(tmp_path / "vault", None) as opened:
        yield opened


def test_a_receipt_reckons_the_charge_and_names_what_it_rests_on(real: Home) -> None:
    _, _, answer_id = real.turn("a secret prompt", "a secret answer")
    hold = real.store.hold_of(answer_id)
    assert hold is not None
    receipt = real.wallet.receipt(hold)
    named = dict(receipt)
    charged = real.wallet.history(1)[0]
    card = real.wallet.shown_price(BUILD)
    assert named["entry"] == f"{charged.seq}, settle"
    assert (named["model"], named["price"], named["card"]) == (BUILD.id, card.source, card.id[:16])
    assert named["answer tokens"].startswith(f"30 x {card.completion} a million = ")
    assert named["prompt tokens"].startswith(f"80 x {card.prompt} a million = ")
    assert named["charged"] == named["rounded up"] == f"0.{-charged.amount_micro:06d} credits"
    assert named["held"] == "0.000050 credits"
    assert len(named["hash"]) == len(named["signed by"]) == 32
    assert "secret" not in str(receipt)
    assert real.wallet.receipt(str(charged.seq)) == receipt


def test_an_entry_whose_time_was_changed_beyond_every_calendar_can_still_be_read(real: Home) -> None:
    real.turn("hello", "an answer")
    with real.vault.database.transaction() as tx:
        tx.execute("DROP TRIGGER entry_is_final")
        tx.execute("UPDATE entry SET body = replace(body, '\"ts\":', '\"ts\":999') WHERE kind = 'settle'")
    row = real.wallet.history(1)[0]
    assert datetime.fromtimestamp(row.ts).year == 9999
    assert dict(real.wallet.receipt(str(row.seq)))["when"].startswith("9999-12-")


def test_a_voided_hold_charged_nothing(real: Home) -> None:
    hold = real.hold(50)
    real.wallet.void(hold)
    named = dict(real.wallet.receipt(hold.id))
    assert (named["held"], named["charged"]) == ("0.000050 credits", "0.000000 credits")


@pytest.mark.parametrize("name", ["", "0", "999", "-1", "1" * 400, "²", "nothing", "\x1b[31m"])
def test_there_is_no_receipt_for_what_is_no_entry(real: Home, name: str) -> None:
    with pytest.raises(UsageError, match="has no entry"):
        real.wallet.receipt(name)


def test_what_was_spent_today_and_this_month_counts_what_is_held(real: Home) -> None:
    assert real.wallet.spending() == (0, 0)
    real.turn("hello", "an answer")
    cost = -real.wallet.history(1)[0].amount_micro
    real.hold(7)
    assert real.wallet.spending() == (cost + 7, cost + 7)


def test_the_room_is_what_the_tightest_budget_leaves(real: Home) -> None:
    room = real.wallet.room
    assert room(BUILD) == real.wallet.balance()
    real.wallet.set_budget("month", 900)
    real.wallet.set_budget("key:anna/day", 300)
    real.wallet.set_budget("chat", 100)
    assert (room(BUILD), room(BUILD, key="anna"), room(BUILD, chat_id="new")) == (900, 300, 100)
    real.hold(60, chat_id="new")
    assert (room(BUILD), room(BUILD, chat_id="new"), room(BUILD, chat_id="other")) == (840, 40, 100)
