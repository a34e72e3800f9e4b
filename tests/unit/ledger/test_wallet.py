import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nanolocal.chat.messages import Usage
from nanolocal.chat.ports import Hold
from nanolocal.errors import Damaged, OutOfCredit, UsageError
from nanolocal.ledger.owner import Owner
from nanolocal.ledger.wallet import ALLOWANCE_MICRO, Wallet
from nanolocal.vault.database import Database
from nanolocal.vault.keys import DatabaseKey
from tests.fakes.homes import BUILD, MIGRATIONS, fork

KEY = DatabaseKey(bytes(range(32)), bytes(range(16)))
USAGE = Usage(100, 20, 30, 0)  # 80 x 25,000 + 30 x 100,000 micro a million: 5 micro


class Anchors:
    """The vault header's part: remembers the newest anchor."""

    def __init__(self) -> None:
        self.kept = (0, "0" * 64)

    def keep(self, seq: int, head: str) -> None:
        self.kept = (seq, head)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database.create(tmp_path / "x.db", KEY, MIGRATIONS)
    yield made
    made.close()


@pytest.fixture
def anchors() -> Anchors:
    return Anchors()


@pytest.fixture
def wallet(database: Database, anchors: Anchors) -> Wallet:
    return Wallet.open(database, anchors.kept, anchors.keep)


def settle(database: Database, wallet: Wallet, hold: Hold, usage: Usage = USAGE) -> int:
    with database.transaction() as tx:
        return wallet.settle(tx, hold, BUILD, usage, "chat")


def test_a_new_wallet_has_the_allowance_once(database: Database, anchors: Anchors, wallet: Wallet) -> None:
    assert wallet.balance() == ALLOWANCE_MICRO == 100_000
    assert Wallet.open(database, anchors.kept, anchors.keep).balance() == 100_000


def test_a_settle_charges_the_cost_and_releases_the_rest(database: Database, wallet: Wallet) -> None:
    hold = wallet.hold(BUILD, 40_000)
    assert wallet.balance() == 60_000
    assert settle(database, wallet, hold) == 5
    assert wallet.balance() == 99_995


def test_a_settle_never_charges_more_than_the_hold(database: Database, wallet: Wallet) -> None:
    assert settle(database, wallet, wallet.hold(BUILD, 3)) == 3
    assert settle(database, wallet, wallet.hold(BUILD, 0)) == 0
    assert wallet.balance() == 99_997
    wallet.verify()


def test_a_void_charges_nothing(database: Database, wallet: Wallet) -> None:
    hold = wallet.hold(BUILD, 100_000)
    wallet.void(hold)
    assert wallet.balance() == 100_000
    assert settle(database, wallet, hold) == 0


def test_repeating_anything_changes_nothing(database: Database, wallet: Wallet) -> None:
    assert wallet.hold(BUILD, 50, "request") == wallet.hold(BUILD, 50, "request")
    hold = Hold("request", 50)
    assert settle(database, wallet, hold) == settle(database, wallet, hold) == 5
    wallet.void(hold)
    wallet.void(Hold("unknown", 1))
    assert wallet.top_up(7, "gift") == wallet.top_up(7, "gift") == 100_002
    assert wallet.verify().entries == 4


def test_a_note_is_kept_with_its_entry_and_hashed_with_it(database: Database, wallet: Wallet) -> None:
    for note in ("for the trip ✈", "\udc80\x1b]52;c;AA\x07", "x" * 500):
        wallet.top_up(7, note=note)
        assert [row.note for row in wallet.history(2)] == [note, wallet.history(2)[1].note]
    with pytest.raises(UsageError, match="501"):
        wallet.top_up(7, note="x" * 501)
    assert wallet.verify().entries == 4


def test_a_key_used_for_something_else_is_refused(wallet: Wallet) -> None:
    wallet.hold(BUILD, 50, "request")
    wallet.top_up(7, "gift")
    for attempt in (
        lambda: wallet.hold(BUILD, 51, "request"),
        lambda: wallet.hold(replace(BUILD, id="other"), 50, "request"),
        lambda: wallet.hold(BUILD, 7, "gift"),
        lambda: wallet.top_up(8, "gift"),
        lambda: wallet.top_up(50, "request"),
    ):
        with pytest.raises(UsageError, match="already used"):
            attempt()


def test_a_settle_for_an_unknown_hold_or_another_build_is_refused(database: Database, wallet: Wallet) -> None:
    hold = wallet.hold(BUILD, 50)
    for wrong_hold, build in ((Hold("unknown", 5), BUILD), (hold, replace(BUILD, id="other"))):
        with pytest.raises(UsageError), database.transaction() as tx:
            wallet.settle(tx, wrong_hold, build, USAGE, None)
    assert wallet.balance() == 99_950


def test_too_little_says_balance_need_and_what_it_still_buys(wallet: Wallet) -> None:
    with pytest.raises(OutOfCredit) as refused:
        wallet.hold(BUILD, 100_001)
    assert "0.100001" in refused.value.message
    assert "0.100000" in refused.value.message
    assert "1000000 answer tokens" in refused.value.hint
    assert wallet.balance() == 100_000


def test_a_rolled_back_settle_leaves_the_hold_open(database: Database, wallet: Wallet, anchors: Anchors) -> None:
    before, hold = anchors.kept, wallet.hold(BUILD, 50)
    with pytest.raises(ZeroDivisionError), database.transaction() as tx:
        wallet.settle(tx, hold, BUILD, USAGE, None)
        raise ZeroDivisionError
    assert anchors.kept == before
    assert wallet.balance() == 99_950
    assert settle(database, wallet, hold) == 5
    assert anchors.kept[0] == 3


@pytest.mark.parametrize("amount", [True, 1.0, float("nan"), -1, 2**63, "5", None])
def test_only_whole_amounts_are_taken(database: Database, wallet: Wallet, amount: object) -> None:
    with pytest.raises(UsageError):
        wallet.top_up(amount)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        wallet.hold(BUILD, amount)  # type: ignore[arg-type]
    hold = wallet.hold(BUILD, 50)
    for name in ("prompt_tokens", "cached_tokens", "completion_tokens", "pixel_steps"):
        with pytest.raises(UsageError):
            settle(database, wallet, hold, replace(USAGE, **{name: amount}))  # type: ignore[arg-type]
    assert wallet.balance() == 99_950


def test_the_largest_sum_is_kept_exactly_and_one_more_refused(database: Database, wallet: Wallet) -> None:
    assert wallet.top_up(2**63 - 1 - 100_000) == 2**63 - 1
    with pytest.raises(UsageError):
        wallet.top_up(1)
    assert settle(database, wallet, wallet.hold(BUILD, 2**63 - 1)) == 5
    assert wallet.balance() == 2**63 - 6
    wallet.verify()


def test_the_history_shows_what_each_entry_did_to_the_balance(database: Database, wallet: Wallet) -> None:
    settle(database, wallet, wallet.hold(BUILD, 50))
    wallet.void(wallet.hold(BUILD, 60))
    rows = wallet.history(10)
    assert [(row.kind, row.amount_micro) for row in rows] == [("settle", -5), ("transfer", 100_000)]
    assert (rows[0].build_id, rows[0].chat_id, rows[0].usage) == (BUILD.id, "chat", USAGE)
    every = wallet.history(10, with_holds=True)
    assert [row.kind for row in every] == ["void", "hold", "settle", "hold", "transfer"]
    assert sum(row.amount_micro for row in every) == wallet.balance()
    assert wallet.history(1) == rows[:1]
    assert wallet.history(-1) == []


def test_the_price_of_a_build_is_recorded_once_and_kept(database: Database, wallet: Wallet, anchors: Anchors) -> None:
    card = wallet.price(BUILD)
    assert wallet.price(BUILD) == card
    assert Wallet.open(database, anchors.kept, anchors.keep).price(BUILD) == card
    assert wallet.price(replace(BUILD, sha256="cd" * 32)).id != card.id
    assert database.execute("SELECT count(*) FROM price") == [(2,)]


def test_a_clock_that_runs_backwards_changes_no_order(database: Database, anchors: Anchors) -> None:
    times = iter([1e9, -5.0, 3e9, 2.0, 1.0])
    wallet = Wallet.open(database, anchors.kept, anchors.keep, clock=lambda: next(times))
    settle(database, wallet, wallet.hold(BUILD, 50))
    assert [row.seq for row in wallet.history(9, with_holds=True)] == [3, 2, 1]
    wallet.verify(anchors.kept)


def test_an_anchor_that_cannot_be_written_does_not_lose_the_payment(database: Database) -> None:
    def fail(seq: int, head: str) -> None:
        raise OSError(28, "No space left on device")

    wallet = Wallet.open(database, (0, "0" * 64), fail)
    assert settle(database, wallet, wallet.hold(BUILD, 50)) == 5
    assert Wallet.open(database, (0, "0" * 64), fail).balance() == 99_995


# dead and living owners


def test_holds_of_dead_processes_are_released_and_living_ones_kept(tmp_path: Path, anchors: Anchors) -> None:
    Database.create(tmp_path / "y.db", KEY, MIGRATIONS).close()

    def hold_and_die(report: object) -> None:
        Wallet.open(Database.open(tmp_path / "y.db", KEY, MIGRATIONS), (0, "0" * 64), anchors.keep).hold(BUILD, 1000)

    def hold_and_wait(report: object) -> None:
        hold_and_die(report)
        report("held")  # type: ignore[operator]
        while True:
            pass

    fork(hold_and_die).finish()
    alive = fork(hold_and_wait)
    assert next(alive.lines) == "held"
    database = Database.open(tmp_path / "y.db", KEY, MIGRATIONS)
    wallet = Wallet.open(database, (0, "0" * 64), anchors.keep)
    own = wallet.hold(BUILD, 7)
    assert (wallet.recover(), wallet.verify().open_holds, wallet.balance()) == (0, 2, 100_000 - 1007)
    alive.kill()
    assert (wallet.recover(), wallet.balance()) == (1, 99_993)
    assert settle(database, wallet, own) == 5
    database.close()


def test_a_process_is_told_from_another_of_the_same_number() -> None:
    current = Owner.current()
    assert current.is_alive()
    assert not replace(current, start="1").is_alive()
    assert not replace(current, boot="another").is_alive()
    assert not replace(current, pid=2**22 + 1).is_alive()


# tampering


def attack(database: Database, *statements: str) -> None:
    """What someone with the key and patience could do: drop the guards, then write."""
    triggers = database.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name IN ('entry', 'price')"
    )
    with database.transaction() as tx:
        for (name,) in triggers:
            tx.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            tx.execute(statement)


ATTACKS = {
    "amount raised": ["UPDATE entry SET body = replace(body, '\"amount\":100000', '\"amount\":900000') WHERE seq = 1"],
    "charge lowered": ["UPDATE entry SET body = replace(body, '\"amount\":5,', '\"amount\":0,') WHERE seq = 3"],
    "time changed": ["UPDATE entry SET body = replace(body, '\"ts\":', '\"ts\":9') WHERE seq = 2"],
    "spaces added": ["UPDATE entry SET body = replace(body, ',', ', ') WHERE seq = 3"],
    "one deleted": ["DELETE FROM entry WHERE seq = 3"],
    "the last deleted": ["DELETE FROM entry WHERE seq = 5"],
    "the first deleted": ["DELETE FROM entry WHERE seq = 1"],
    "hash changed": [f"UPDATE entry SET hash = '{'0' * 64}' WHERE seq = 2"],
    "previous hash changed": [f"UPDATE entry SET prev = '{'0' * 64}' WHERE seq = 2"],
    "two exchanged": [
        "CREATE TABLE copy AS SELECT seq, body, prev, hash FROM entry WHERE seq IN (4, 5)",
        "DELETE FROM entry WHERE seq IN (4, 5)",
        "INSERT INTO entry (seq, body, prev, hash) "
        "SELECT 9 - seq, replace(body, '\"seq\":' || seq, '\"seq\":' || (9 - seq)), prev, hash FROM copy",
    ],
    "balance raised": ["UPDATE account SET credits_posted = credits_posted + 1 WHERE id = 'wallet'"],
    "overdraft allowed": ["UPDATE account SET no_overdraft = 0 WHERE id = 'wallet'"],
    "account invented": ["INSERT INTO account (id, no_overdraft) VALUES ('mine', 0)"],
    "price lowered": ["UPDATE price SET body = replace(body, '\"completion\":100000', '\"completion\":1')"],
}  # fmt: skip


@pytest.mark.parametrize("statements", ATTACKS.values(), ids=ATTACKS.keys())
def test_tampering_is_reported(database: Database, wallet: Wallet, statements: list[str]) -> None:
    settle(database, wallet, wallet.hold(BUILD, 50))
    settle(database, wallet, wallet.hold(BUILD, 50))
    wallet.verify()
    attack(database, *statements)
    with pytest.raises(Damaged) as found:
        wallet.verify()
    assert found.value.hint


def test_a_ledger_behind_its_anchor_is_refused(
    tmp_path: Path, database: Database, wallet: Wallet, anchors: Anchors
) -> None:
    database.checkpoint()
    old = (tmp_path / "x.db").read_bytes()
    settle(database, wallet, wallet.hold(BUILD, 50))
    (tmp_path / "old.db").write_bytes(old)
    restored = Database.open(tmp_path / "old.db", KEY, MIGRATIONS)
    with pytest.raises(Damaged, match="an older copy was put back"):
        Wallet.open(restored, anchors.kept, anchors.keep)
    replaced = Wallet.open(restored, (0, "0" * 64), anchors.keep)
    replaced.void(replaced.hold(BUILD, 1))
    with pytest.raises(Damaged, match="replaced"):
        Wallet.open(restored, (3, "ab" * 32), anchors.keep)
    restored.close()


def test_a_ledger_ahead_of_its_anchor_is_fine_if_it_continues_it(
    database: Database, wallet: Wallet, anchors: Anchors
) -> None:
    behind = anchors.kept
    settle(database, wallet, wallet.hold(BUILD, 50))
    Wallet.open(database, behind, anchors.keep)
    attack(database, "UPDATE entry SET body = replace(body, '\"amount\":5,', '\"amount\":0,') WHERE seq = 3")
    with pytest.raises(Damaged, match="entry 3 was changed"):
        Wallet.open(database, behind, anchors.keep)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entry SET sig = x'00'",
        "DELETE FROM entry",
        "INSERT OR REPLACE INTO entry (seq, body, prev, hash) SELECT seq, body, prev, hash FROM entry WHERE seq = 1",
        "INSERT INTO entry (seq, body, prev, hash) SELECT 9, body, hash, prev FROM entry WHERE seq = 2",
        "UPDATE price SET recorded_at = 0",
        "DELETE FROM price",
        "UPDATE account SET debits_pending = credits_posted + 1 WHERE id = 'wallet'",
        "UPDATE account SET debits_posted = -1 WHERE id = 'wallet'",
        "UPDATE account SET debits_posted = 1.5 WHERE id = 'wallet'",
    ],
)
def test_sql_itself_refuses(database: Database, wallet: Wallet, statement: str) -> None:
    settle(database, wallet, wallet.hold(BUILD, 50))
    with pytest.raises(Exception, match=r"never|gap|CHECK|cannot store"), database.transaction() as tx:
        tx.execute(statement)
    wallet.verify()


def test_many_threads_never_overdraw(database: Database, wallet: Wallet) -> None:
    async def everything() -> list[bool]:
        return await asyncio.gather(*[asyncio.to_thread(one) for _ in range(40)])

    def one() -> bool:
        try:
            hold = wallet.hold(BUILD, 9_000)
        except OutOfCredit:
            return False
        return settle(database, wallet, hold, Usage(0, 0, 80_000)) == 8_000

    paid = sum(asyncio.run(everything()))
    assert 11 <= paid <= 12
    assert wallet.balance() == 100_000 - 8_000 * paid
    assert wallet.verify().open_holds == 0
