"""The fourteen invariants of the ledger, each a check with its number; the model says what is expected."""

import csv
import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from nanolocal.ledger.exports import writing
from nanolocal.ledger.exports.survey import Period
from nanolocal.vault.header import Anchor
from tests.fakes.homes import Home
from tests.unit.ledger.folding import Fold, Record, is_whole
from tests.unit.ledger.model import Model, Rates

Row = tuple[Any, ...]

_SUMS = "debits_posted, credits_posted, debits_pending, credits_pending"
_USAGE = ("prompt_tokens", "cached_tokens", "completion_tokens", "pixel_steps")
_RATES = ("prompt", "cached", "completion", "pixel_steps", "load", "minimum")


@dataclass
class Seen:
    """What is stored after a step, as the two processes read it, beside what the model expects."""

    homes: list[Home]
    model: Model
    rows: list[Row]
    earlier: list[Row]
    fold: Fold
    accounts: dict[str, Row] = field(init=False)
    anchor: Anchor = field(init=False)

    def __post_init__(self) -> None:
        self.accounts = {row[0]: row[1:] for row in self.read(f"SELECT id, {_SUMS} FROM account")}
        self.anchor = self.homes[0].vault.anchor
        for row in self.rows[self.fold.count :]:
            self.fold.add(row)

    def read(self, sql: str) -> list[Row]:
        return self.homes[0].vault.database.execute(sql)


def entry_rows(home: Home) -> list[Row]:
    return home.vault.database.execute("SELECT seq, body, prev, hash, sig FROM entry ORDER BY seq")


def i1_debits_equal_credits(seen: Seen) -> None:
    columns = list(zip(*seen.accounts.values(), strict=True))
    assert sum(columns[0]) == sum(columns[1])
    assert sum(columns[2]) == sum(columns[3])


def i2_the_wallet_is_never_overdrawn(seen: Seen) -> None:
    debits, credits, pending, _ = seen.accounts["wallet"]
    assert debits + pending <= credits
    assert min(number for sums in seen.accounts.values() for number in sums) >= 0
    assert credits - debits - pending == seen.model.free
    for home in seen.homes:
        assert home.wallet.balance() == seen.model.free


def i3_a_hold_is_resolved_once_and_pending_is_what_is_open(seen: Seen) -> None:
    assert sorted(seen.fold.holds) == sorted(seen.model.open_holds())
    assert sorted(row[0] for row in seen.read("SELECT idem FROM held")) == sorted(seen.fold.holds)
    assert seen.accounts["wallet"][2] == sum(hold["amount"] for hold in seen.fold.holds.values())


def i4_a_settle_is_at_most_its_hold(seen: Seen) -> None:
    for idem, entry in seen.fold.resolved.items():
        hold = seen.model.holds[idem]
        assert entry["amount"] == hold.posted <= hold.amount
        assert entry["held"] == hold.amount


def i5_the_sums_are_those_of_the_entries(seen: Seen) -> None:
    assert {name: list(sums) for name, sums in seen.accounts.items()} == seen.fold.accounts
    spent = {(row[0], row[1]): list(row[2:]) for row in seen.read("SELECT * FROM spent")}
    assert spent == seen.fold.spent


def i6_the_chain_has_no_gap_and_its_head_is_signed_and_anchored(seen: Seen) -> None:
    """Each row was checked when the fold took it; that it is the same since is I8."""
    assert seen.fold.count == len(seen.rows)
    assert seen.fold.key == seen.homes[0].wallet.device.public
    assert seen.rows[seen.anchor.seq - 1][3] == seen.anchor.head
    assert seen.fold.kinds == seen.model.kinds


def i8_entries_never_change(seen: Seen) -> None:
    assert seen.rows[: len(seen.earlier)] == seen.earlier


def i9_a_voucher_is_redeemed_once(seen: Seen) -> None:
    """Twice the same is refused by the fold; here: as many as were taken."""
    assert len(seen.fold.vouchers) == 2 * len(seen.model.vouchers)


def i10_nothing_is_spent_beyond_a_budget(seen: Seen) -> None:
    """The fold checks each entry; here: the budgets and the sums are those of the model."""
    assert seen.fold.budgets == {scope: limit for scope, limit in seen.model.budgets.items() if limit is not None}
    for scope, sums in seen.fold.windows.items():
        for under, spent in sums.items():
            assert spent == seen.model.spent(scope, under)


def i11_a_settle_has_one_price_and_its_answer_one_message(seen: Seen) -> None:
    cards: dict[str, Record] = {}
    for price_id, body in seen.read("SELECT id, body FROM price"):
        assert hashlib.sha256(b"nl-price-v1\0" + body.encode()).hexdigest() == price_id
        assert price_id not in cards
        cards[price_id] = json.loads(body)
    for entry in seen.fold.settles:
        card, usage = cards[entry["price_id"]], entry["usage"]
        rates = Rates(*(card[name] for name in _RATES))
        used = [*(usage[name] for name in _USAGE), usage.get("loads", 0)]
        assert entry["amount"] == min(rates.cost(*used), entry["held"])
        assert card["build_id"] == entry["build_id"]
    answers = seen.read("SELECT hold_id, cost_micro FROM message WHERE role = 'assistant' AND hold_id IS NOT NULL")
    expected = [(idem, hold.posted) for idem, hold in seen.model.holds.items() if hold.is_stored]
    assert sorted(answers) == sorted(expected)


def i12_a_dead_process_holds_nothing_after_recovery(seen: Seen) -> None:
    """The model knows which processes it let die, and when somebody has recovered since."""
    dead = {idem for idem, hold in seen.model.holds.items() if hold.is_dead and hold.is_open}
    assert {idem for idem in seen.fold.holds if seen.model.holds[idem].is_dead} == dead


def i13_the_exported_sums_are_the_balances(seen: Seen) -> None:
    with seen.homes[1].vault.database.snapshot() as source:
        *_, closing = writing.lines(source, "jsonl", Period())
        table = list(csv.DictReader(io.StringIO("".join(writing.lines(source, "csv", Period())))))
    assert json.loads(closing)["closing"]["accounts"] == {name: list(sums) for name, sums in seen.accounts.items()}
    debits, credits, pending, _ = seen.accounts["wallet"]
    assert sum(int(row["micro_credits"]) for row in table) == credits - debits
    assert sum(int(row["held_micro_credits"]) for row in table) == pending


def i14_everything_is_a_whole_number(seen: Seen) -> None:
    """The fold refuses anything else in an entry; here: the columns."""
    assert all(is_whole(number) for sums in seen.accounts.values() for number in sums)
    columns = "SELECT seq, amount, ts FROM entry UNION ALL SELECT posted, pending, 0 FROM spent"
    assert all(is_whole(number) for row in seen.read(columns) for number in row)


CHECKS: tuple[Callable[[Seen], None], ...] = (
    i8_entries_never_change,
    i1_debits_equal_credits,
    i2_the_wallet_is_never_overdrawn,
    i3_a_hold_is_resolved_once_and_pending_is_what_is_open,
    i4_a_settle_is_at_most_its_hold,
    i5_the_sums_are_those_of_the_entries,
    i6_the_chain_has_no_gap_and_its_head_is_signed_and_anchored,
    i9_a_voucher_is_redeemed_once,
    i10_nothing_is_spent_beyond_a_budget,
    i11_a_settle_has_one_price_and_its_answer_one_message,
    i12_a_dead_process_holds_nothing_after_recovery,
    i13_the_exported_sums_are_the_balances,
    i14_everything_is_a_whole_number,
)
"""All but I7, which the machine asks of the wallet: a replay changes nothing."""
