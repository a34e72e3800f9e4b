import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import pytest

from nanolocal.chat.messages import Usage
from nanolocal.chat.ports import Hold
from nanolocal.errors import Damaged, OutOfCredit, UsageError
from nanolocal.ledger import book, issuers
from nanolocal.ledger.budgets import Scope
from nanolocal.ledger.chain import GENESIS, Entry, EntryKind, chain_hash
from nanolocal.ledger.losses import LedgerLosses
from nanolocal.ledger.owner import Owner
from nanolocal.ledger.schema import GUARDS
from nanolocal.ledger.signing import DeviceKey
from nanolocal.ledger.sql import Row, Value
from nanolocal.ledger.wallet import ALLOWANCE_MICRO, Wallet
from nanolocal.vault.database import Database
from nanolocal.vault.header import Anchor
from nanolocal.vault.keys import DatabaseKey
from tests.fakes.homes import BUILD, DEVICE, MIGRATIONS, fork, reserve

KEY = DatabaseKey(bytes(range(32)), bytes(range(16)))
USAGE = Usage(100, 20, 30, 0)  # 80 x 25,000 + 30 x 100,000 micro a million: 5 micro


class Anchors:
    """The vault header's part: remembers the newest anchor."""

    def __init__(self) -> None:
        self.kept = (0, "0" * 64)

    def keep(self, seq: int, head: str) -> None:
        self.kept = (seq, head)

    def accept(self, database: Database, why: str) -> None:
        with database.transaction() as tx:
            LedgerLosses().record_loss(tx, Anchor(*self.kept), why)
        self.kept = (0, "0" * 64)


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
    return Wallet.open(database, DEVICE, anchors.kept, anchors.keep)


def settle(database: Database, wallet: Wallet, hold: Hold, usage: Usage = USAGE, chat_id: str | None = None) -> int:
    with database.transaction() as tx:
        return wallet.settle(tx, hold, BUILD, usage, chat_id)


def test_a_new_wallet_has_the_allowance_once(database: Database, anchors: Anchors, wallet: Wallet) -> None:
    assert wallet.balance() == ALLOWANCE_MICRO == 100_000
    assert Wallet.open(database, DEVICE, anchors.kept, anchors.keep).balance() == 100_000


def test_a_settle_charges_the_cost_and_releases_the_rest(database: Database, wallet: Wallet) -> None:
    hold = reserve(database, wallet, 40_000)
    assert wallet.balance() == 60_000
    assert settle(database, wallet, hold) == 5
    assert wallet.balance() == 99_995


def test_a_settle_never_charges_more_than_the_hold(database: Database, wallet: Wallet) -> None:
    assert settle(database, wallet, reserve(database, wallet, 3)) == 3
    assert settle(database, wallet, reserve(database, wallet, 0)) == 0
    assert wallet.balance() == 99_997
    wallet.verify()


def test_a_void_charges_nothing(database: Database, wallet: Wallet) -> None:
    hold = reserve(database, wallet, 100_000)
    wallet.void(hold)
    assert wallet.balance() == 100_000
    assert settle(database, wallet, hold) == 0


def test_repeating_anything_changes_nothing(database: Database, wallet: Wallet) -> None:
    assert reserve(database, wallet, 50, "request") == reserve(database, wallet, 50, "request")
    hold = Hold("request", 50)
    assert settle(database, wallet, hold) == settle(database, wallet, hold) == 5
    wallet.void(hold)
    wallet.void(Hold("unknown", 1))
    assert wallet.top_up(7, "gift") == wallet.top_up(7, "gift") == 100_002
    assert wallet.verify().entries == 6  # device, allowance, price, hold, settle, gift


def test_a_note_is_kept_with_its_entry_and_hashed_with_it(database: Database, wallet: Wallet) -> None:
    for note in ("for the trip ✈", "\udc80\x1b]52;c;AA\x07", "x" * 500):
        wallet.top_up(7, note=note)
        assert [row.note for row in wallet.history(2)] == [note, wallet.history(2)[1].note]
    with pytest.raises(UsageError, match="501"):
        wallet.top_up(7, note="x" * 501)
    assert wallet.verify().entries == 5


def test_a_key_used_for_something_else_is_refused(database: Database, wallet: Wallet) -> None:
    reserve(database, wallet, 50, "request")
    wallet.top_up(7, "gift")
    for attempt in (
        lambda: reserve(database, wallet, 51, "request"),
        lambda: reserve(database, wallet, 50, "request", build=replace(BUILD, id="other")),
        lambda: reserve(database, wallet, 7, "gift"),
        lambda: wallet.top_up(8, "gift"),
        lambda: wallet.top_up(50, "request"),
    ):
        with pytest.raises(UsageError, match="already used"):
            attempt()


def test_a_settle_for_an_unknown_hold_or_another_build_is_refused(database: Database, wallet: Wallet) -> None:
    hold = reserve(database, wallet, 50)
    for wrong_hold, build in ((Hold("unknown", 5), BUILD), (hold, replace(BUILD, id="other"))):
        with pytest.raises(UsageError), database.transaction() as tx:
            wallet.settle(tx, wrong_hold, build, USAGE, None)
    assert wallet.balance() == 99_950


def test_too_little_says_balance_and_need(database: Database, wallet: Wallet) -> None:
    with pytest.raises(OutOfCredit) as refused:
        reserve(database, wallet, 100_001)
    assert "0.100001" in refused.value.message
    assert "0.100000" in refused.value.message
    assert "topup" in refused.value.hint
    assert refused.value.room_micro == 100_000
    assert wallet.balance() == 100_000


def test_a_rolled_back_settle_leaves_the_hold_open(database: Database, wallet: Wallet, anchors: Anchors) -> None:
    hold, before = reserve(database, wallet, 50), anchors.kept
    with pytest.raises(ZeroDivisionError), database.transaction() as tx:
        wallet.settle(tx, hold, BUILD, USAGE, None)
        raise ZeroDivisionError
    assert anchors.kept == before
    assert wallet.balance() == 99_950
    assert settle(database, wallet, hold) == 5
    assert anchors.kept[0] == 5


@pytest.mark.parametrize("amount", [True, 1.0, float("nan"), -1, 2**63, "5", None])
def test_only_whole_amounts_are_taken(database: Database, wallet: Wallet, amount: object) -> None:
    with pytest.raises(UsageError):
        wallet.top_up(amount)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        reserve(database, wallet, amount)  # type: ignore[arg-type]
    hold = reserve(database, wallet, 50)
    for name in ("prompt_tokens", "cached_tokens", "completion_tokens", "pixel_steps"):
        with pytest.raises(UsageError):
            settle(database, wallet, hold, replace(USAGE, **{name: amount}))  # type: ignore[arg-type]
    assert wallet.balance() == 99_950


def test_the_largest_sum_is_kept_exactly_and_one_more_refused(database: Database, wallet: Wallet) -> None:
    assert wallet.top_up(2**63 - 1 - 100_000) == 2**63 - 1
    with pytest.raises(UsageError):
        wallet.top_up(1)
    assert settle(database, wallet, reserve(database, wallet, 2**63 - 1)) == 5
    assert wallet.balance() == 2**63 - 6
    wallet.verify()


def test_the_history_shows_what_each_entry_did_to_the_balance(database: Database, wallet: Wallet) -> None:
    settle(database, wallet, reserve(database, wallet, 50, chat_id="chat"), chat_id="chat")
    wallet.void(reserve(database, wallet, 60))
    rows = wallet.history(10)
    assert [(row.kind, row.amount_micro) for row in rows] == [("settle", -5), ("transfer", 100_000)]
    assert (rows[0].build_id, rows[0].chat_id, rows[0].usage) == (BUILD.id, "chat", USAGE)
    every = wallet.history(10, with_holds=True)
    assert [row.kind for row in every] == ["void", "hold", "settle", "hold", "price", "transfer", "device"]
    assert sum(row.amount_micro for row in every) == wallet.balance()
    assert wallet.history(1) == rows[:1]
    assert wallet.history(-1) == []


def test_the_price_of_a_build_is_recorded_once_and_kept(database: Database, wallet: Wallet, anchors: Anchors) -> None:
    card = wallet.price(BUILD)
    assert wallet.price(BUILD) == card
    assert Wallet.open(database, DEVICE, anchors.kept, anchors.keep).price(BUILD) == card
    assert wallet.price(replace(BUILD, sha256="cd" * 32)).id != card.id
    assert database.execute("SELECT count(*) FROM price") == [(2,)]


def test_a_clock_that_runs_backwards_changes_no_order(database: Database, anchors: Anchors) -> None:
    times = cycle([4e9, 2e9, 1.8e9, 3e9])
    wallet = Wallet.open(database, DEVICE, anchors.kept, anchors.keep, clock=lambda: next(times))
    settle(database, wallet, reserve(database, wallet, 50))
    assert [row.seq for row in wallet.history(9, with_holds=True)] == [5, 4, 3, 2, 1]
    wallet.verify(anchors.kept)


@pytest.mark.parametrize("seconds", [0.0, -5.0, 1e9, 1e13])
def test_a_clock_that_was_never_set_puts_nothing_on_the_record(
    database: Database, wallet: Wallet, anchors: Anchors, seconds: float
) -> None:
    hold, before = reserve(database, wallet, 50), wallet.verify().head
    strange = Wallet.open(database, DEVICE, anchors.kept, anchors.keep, clock=lambda: seconds)
    for attempt in (
        lambda: strange.top_up(1),
        lambda: reserve(database, strange, 1),
        lambda: strange.set_budget(Scope("all", None, "day"), 5),
        lambda: strange.set_price(replace(strange.price(BUILD), prompt=1)),
    ):
        with pytest.raises(UsageError, match="clock"):
            attempt()
    assert strange.verify().head == before
    assert settle(database, strange, hold) == 5, "an answer that was begun is paid for all the same"
    assert [row.ts for row in strange.history(1)] >= [1.7e9]


def test_an_anchor_that_cannot_be_written_does_not_lose_the_payment(database: Database) -> None:
    def fail(seq: int, head: str) -> None:
        raise OSError(28, "No space left on device")

    wallet = Wallet.open(database, DEVICE, (0, "0" * 64), fail)
    assert settle(database, wallet, reserve(database, wallet, 50)) == 5
    assert Wallet.open(database, DEVICE, (0, "0" * 64), fail).balance() == 99_995


# dead and living owners


def test_holds_of_dead_processes_are_released_and_living_ones_kept(tmp_path: Path, anchors: Anchors) -> None:
    Database.create(tmp_path / "y.db", KEY, MIGRATIONS).close()

    def hold_and_die(report: object) -> None:
        database = Database.open(tmp_path / "y.db", KEY, MIGRATIONS)
        reserve(database, Wallet.open(database, DEVICE, (0, "0" * 64), anchors.keep), 1000)

    def hold_and_wait(report: object) -> None:
        hold_and_die(report)
        report("held")  # type: ignore[operator]
        while True:
            pass

    fork(hold_and_die).finish()
    alive = fork(hold_and_wait)
    assert next(alive.lines) == "held"
    database = Database.open(tmp_path / "y.db", KEY, MIGRATIONS)
    wallet = Wallet.open(database, DEVICE, (0, "0" * 64), anchors.keep)
    own = reserve(database, wallet, 7)
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


def read_only(database: Database, wallet: Wallet) -> str:
    """Check that a wallet can be read and spends nothing; returns why."""
    assert wallet.problem is not None
    before = (wallet.balance(), database.execute("SELECT count(*) FROM entry"))
    for attempt in (
        lambda: wallet.top_up(1),
        lambda: reserve(database, wallet, 1),
        lambda: wallet.set_budget(Scope("all", None, "day"), 5),
        wallet.verify,
    ):
        with pytest.raises(Damaged):
            attempt()
    assert before == (wallet.balance(), database.execute("SELECT count(*) FROM entry"))
    return wallet.problem.message


def attack(database: Database, *statements: str) -> None:
    """What someone with the key and patience could do: drop the guards, write, and put the guards back."""
    with database.transaction() as tx:
        for name in GUARDS:
            tx.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            tx.execute(statement)
        for guard in GUARDS.values():
            tx.execute(guard)


ATTACKS = {
    "amount raised": ["UPDATE entry SET body = replace(body, '\"amount\":100000', '\"amount\":900000') WHERE seq = 2"],
    "charge lowered": ["UPDATE entry SET body = replace(body, '\"amount\":5,', '\"amount\":0,') WHERE seq = 5"],
    "time changed": ["UPDATE entry SET body = replace(body, '\"ts\":', '\"ts\":9') WHERE seq = 4"],
    "spaces added": ["UPDATE entry SET body = replace(body, ',', ', ') WHERE seq = 5"],
    "one deleted": ["DELETE FROM entry WHERE seq = 5"],
    "the last deleted": ["DELETE FROM entry WHERE seq = 7"],
    "the last two deleted": ["DELETE FROM entry WHERE seq >= 6"],
    "the first deleted": ["DELETE FROM entry WHERE seq = 1"],
    "all deleted": ["DELETE FROM entry"],
    "hash changed": [f"UPDATE entry SET hash = '{'0' * 64}' WHERE seq = 4"],
    "previous hash changed": [f"UPDATE entry SET prev = '{'0' * 64}' WHERE seq = 4"],
    "signature changed": ["UPDATE entry SET sig = randomblob(64) WHERE seq = 4"],
    "signature removed": ["UPDATE entry SET sig = NULL WHERE seq = 4"],
    "all signatures removed": ["UPDATE entry SET sig = NULL"],
    "two exchanged": [
        "CREATE TABLE copy AS SELECT seq, body, prev, hash, sig FROM entry WHERE seq IN (6, 7)",
        "DELETE FROM entry WHERE seq IN (6, 7)",
        "INSERT INTO entry (seq, body, prev, hash, sig) "
        "SELECT 13 - seq, replace(body, '\"seq\":' || seq, '\"seq\":' || (13 - seq)), prev, hash, sig FROM copy",
    ],
    "one inserted": [
        "INSERT INTO entry (seq, body, prev, hash, sig) SELECT 8, replace(replace(body, '\"seq\":2', '\"seq\":8'), "
        "'grant:first', 'grant:mine'), (SELECT hash FROM entry WHERE seq = 7), lower(hex(randomblob(32))), sig "
        "FROM entry WHERE seq = 2"
    ],
    "balance raised": ["UPDATE account SET credits_posted = credits_posted + 1 WHERE id = 'wallet'"],
    "overdraft allowed": ["UPDATE account SET no_overdraft = 0 WHERE id = 'wallet'"],
    "account invented": ["INSERT INTO account (id, no_overdraft) VALUES ('mine', 0)"],
    "budget spending forgotten": ["UPDATE spent SET posted = 0"],
    "budget spending removed": ["DELETE FROM spent"],
    "hold invented": ["INSERT INTO held VALUES ('mine')"],
    "price lowered": ["UPDATE price SET body = replace(body, '\"completion\":100000', '\"completion\":1')"],
}  # fmt: skip


@pytest.mark.parametrize("statements", ATTACKS.values(), ids=ATTACKS.keys())
def test_tampering_is_reported_and_accepted_only_on_the_record(
    database: Database, wallet: Wallet, anchors: Anchors, statements: list[str]
) -> None:
    for _ in range(2):
        settle(database, wallet, reserve(database, wallet, 50))
    wallet.verify(anchors.kept)
    database.execute("PRAGMA foreign_keys=OFF")
    attack(database, *statements)
    database.execute("PRAGMA foreign_keys=ON")
    with pytest.raises(Damaged) as found:
        wallet.verify(anchors.kept)
    assert found.value.hint == "nanolocal vault restore"
    again = Wallet.open(database, DEVICE, anchors.kept, anchors.keep)
    assert read_only(database, again) == found.value.message
    assert_acceptance_heals(database, anchors, found.value.message)


def test_what_was_changed_does_not_count_once_it_is_accepted(
    database: Database, wallet: Wallet, anchors: Anchors
) -> None:
    settle(database, wallet, reserve(database, wallet, 50))
    wallet.top_up(7)
    reserve(database, wallet, 1000)
    attack(database, ATTACKS["amount raised"][0])
    with pytest.raises(Damaged):
        wallet.verify()
    anchors.accept(database, "I saw it")
    again = Wallet.open(database, DEVICE, anchors.kept, anchors.keep)
    assert again.balance() == 7 - 5, "the gift and the answer count; the raised allowance and the hold do not"


def test_what_somebody_else_marked_as_accepted_is_reported(
    database: Database, wallet: Wallet, anchors: Anchors
) -> None:
    wallet.top_up(7)
    attack(database, "INSERT INTO finding (id, what, known, is_accepted) VALUES (1, 'never mind', '0:0', 1)")
    attack(database, ATTACKS["amount raised"][0])
    again = Wallet.open(database, DEVICE, anchors.kept, anchors.keep)
    assert "does not confirm it" in read_only(database, again)
    assert_acceptance_heals(database, anchors, "somebody was here")


def test_an_entry_that_names_no_budget_and_no_key_is_no_reason_to_fail(
    database: Database, wallet: Wallet, anchors: Anchors
) -> None:
    wallet.set_budget(Scope.parse("day"), 5)
    for change in ("json_remove(body, '$.ref')", "json_set(body, '$.terms', null)"):
        attack(database, f"UPDATE entry SET body = {change} WHERE kind IN ('budget', 'device')")
        with pytest.raises(Damaged):
            wallet.verify()
        anchors.accept(database, "odd entries")
        wallet = Wallet.open(database, DEVICE, anchors.kept, anchors.keep)
        assert wallet.budgets() == []
        wallet.verify(anchors.kept)


def test_entries_that_another_device_wrote_after_the_anchor_are_reported(
    database: Database, wallet: Wallet, anchors: Anchors
) -> None:
    """Whoever can write to the database can bring a key along, but not move the anchor."""
    wallet.set_budget(Scope.parse("day"), 5000)
    anchored = anchors.kept
    stranger = Wallet(database, DeviceKey(bytes(32)), lambda seq, head: None)
    with stranger.writing() as tx:
        stranger._sign_from_here(tx)
    stranger.top_up(10**6)
    stranger.set_budget(Scope.parse("day"), None)
    issuers.trust(stranger, DeviceKey(bytes(32)).public, "mallory")
    again = Wallet.open(database, DEVICE, anchored, anchors.keep)
    assert "was not written by this device" in read_only(database, again)
    assert_acceptance_heals(database, anchors, "a stranger was here")
    healed = Wallet.open(database, DEVICE, anchors.kept, anchors.keep)
    assert healed.balance() < 10**6
    assert [budget.limit_micro for budget, _ in healed.budgets()] == [5000]
    assert issuers.issuers(database) == []


@pytest.mark.parametrize("signed", [True, False])
def test_a_forged_beginning_does_not_count_once_the_change_is_accepted(
    database: Database, wallet: Wallet, anchors: Anchors, signed: bool
) -> None:
    """An entry without a signature, or under a key that it brings along, in the place of the first ones."""
    wallet.top_up(7)
    own, prev = DeviceKey(bytes(32)), GENESIS
    for seq, kind in ((1, EntryKind.DEVICE), (2, EntryKind.TRANSFER)):
        forged = Entry(f"forged {seq}", kind, "grant:self", "wallet", (seq - 1) * 10**6, 1_800_000_000_000, seq)
        if kind is EntryKind.DEVICE and signed:
            forged = replace(forged, terms={"public_key": own.public.hex()})
        body = forged.body()
        prev, before = chain_hash(prev, body), prev
        sig = own.sign(prev).hex() if signed else ""
        change = f"body = '{body}', prev = '{before}', hash = '{prev}', sig = " + (f"x'{sig}'" if signed else "NULL")
        attack(database, f"UPDATE entry SET {change} WHERE seq = {seq}")
    with pytest.raises(Damaged):
        wallet.verify(anchors.kept)
    assert_acceptance_heals(database, anchors, "a forged beginning")
    assert Wallet.open(database, DEVICE, anchors.kept, anchors.keep).balance() < 10**6


def test_open_holds_are_found_without_reading_all_entries(database: Database, wallet: Wallet) -> None:
    first, second = reserve(database, wallet, 5), reserve(database, wallet, 6)
    asked = list[str]()

    class Listening:
        def execute(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
            asked.append(sql)
            return database.execute(sql, parameters)

    assert [held.idem for held in book.open_holds(Listening())] == [first.id, second.id]
    (sql,) = asked
    plan = [str(row[3]) for row in database.execute(f"EXPLAIN QUERY PLAN {sql}")]
    assert any(step.startswith("SEARCH entry") for step in plan)
    assert not any(step.startswith("SCAN entry") for step in plan)


def test_a_hold_that_was_taken_out_again_is_reported(database: Database, wallet: Wallet, anchors: Anchors) -> None:
    reserve(database, wallet, 50)
    assert anchors.kept[0] == wallet.verify().entries


def test_a_guard_that_was_removed_is_reported_and_put_back(
    database: Database, wallet: Wallet, anchors: Anchors
) -> None:
    with database.transaction() as tx:
        tx.execute("DROP TRIGGER entry_is_final")
    with pytest.raises(Damaged, match="guards"):
        wallet.verify()
    assert_acceptance_heals(database, anchors, "guards")


def assert_acceptance_heals(database: Database, anchors: Anchors, why: str) -> None:
    """The owner accepts: that is on the record, the wallet works again, and what was accepted is sealed."""
    anchors.accept(database, f"accepted although {why}")
    wallet = Wallet.open(database, DEVICE, anchors.kept, anchors.keep)
    assert wallet.problem is None
    restored = next(row for row in wallet.history(9, with_holds=True) if row.kind == "restore")
    assert why in (restored.note or "")
    assert wallet.balance() >= 0
    wallet.verify(anchors.kept)
    wallet.top_up(1000)
    assert settle(database, wallet, reserve(database, wallet, 50)) == 5
    wallet.verify(anchors.kept)
    if restored.seq > 1:
        attack(database, f"UPDATE entry SET body = replace(body, '\"ts\":', '\"ts\":8') WHERE seq < {restored.seq}")
        with pytest.raises(Damaged):
            wallet.verify(anchors.kept)


def test_a_ledger_behind_its_anchor_is_refused(
    tmp_path: Path, database: Database, wallet: Wallet, anchors: Anchors
) -> None:
    database.checkpoint()
    old = (tmp_path / "x.db").read_bytes()
    settle(database, wallet, reserve(database, wallet, 50))
    (tmp_path / "old.db").write_bytes(old)
    restored = Database.open(tmp_path / "old.db", KEY, MIGRATIONS)
    assert "an older copy was put back" in read_only(
        restored, Wallet.open(restored, DEVICE, anchors.kept, anchors.keep)
    )
    restored.close()


def test_a_ledger_that_was_replaced_is_refused(database: Database, wallet: Wallet, anchors: Anchors) -> None:
    wallet.top_up(5)
    assert "replaced" in read_only(database, Wallet.open(database, DEVICE, (3, "ab" * 32), anchors.keep))


def test_a_ledger_ahead_of_its_anchor_is_fine_if_it_continues_it(
    database: Database, wallet: Wallet, anchors: Anchors
) -> None:
    behind = anchors.kept
    settle(database, wallet, reserve(database, wallet, 50))
    Wallet.open(database, DEVICE, behind, anchors.keep)
    attack(database, "UPDATE entry SET body = replace(body, '\"amount\":5,', '\"amount\":0,') WHERE seq = 5")
    assert "entry 5 was changed" in read_only(database, Wallet.open(database, DEVICE, behind, anchors.keep))


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
    settle(database, wallet, reserve(database, wallet, 50))
    with pytest.raises(Exception, match=r"never|gap|CHECK|cannot store"), database.transaction() as tx:
        tx.execute(statement)
    wallet.verify()


def test_many_threads_never_overdraw(database: Database, wallet: Wallet) -> None:
    async def everything() -> list[bool]:
        return await asyncio.gather(*[asyncio.to_thread(one) for _ in range(40)])

    def one() -> bool:
        try:
            hold = reserve(database, wallet, 9_000)
        except OutOfCredit:
            return False
        return settle(database, wallet, hold, Usage(0, 0, 80_000)) == 8_000

    paid = sum(asyncio.run(everything()))
    assert 11 <= paid <= 12
    assert wallet.balance() == 100_000 - 8_000 * paid
    assert wallet.verify().open_holds == 0
