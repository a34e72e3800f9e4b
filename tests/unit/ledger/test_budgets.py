import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanolocal.chat.messages import Usage
from nanolocal.errors import OutOfCredit, UsageError
from nanolocal.ledger.budgets import Scope
from nanolocal.ledger.wallet import Wallet
from nanolocal.vault.database import Database
from nanolocal.vault.keys import DatabaseKey
from tests.fakes.homes import BUILD, DEVICE, MIGRATIONS, fork, reserve

KEY = DatabaseKey(bytes(range(32)), bytes(range(16)))
DAY_S = 86_400
NOON = 1_800_014_400.0  # noon of a day in UTC


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database.create(tmp_path / "x.db", KEY, MIGRATIONS)
    yield made
    made.close()


@pytest.fixture
def wallet(database: Database, clock: Clock) -> Wallet:
    return Wallet.open(database, DEVICE, (0, "0" * 64), lambda seq, head: None, clock=clock)


def spend(
    database: Database, wallet: Wallet, micro: int, held: int = 0, chat_id: str | None = None, key: str | None = None
) -> None:
    """An answer that costs ``micro``; ten tokens cost one."""
    hold = reserve(database, wallet, max(micro, held), chat_id=chat_id, key=key)
    with database.transaction() as tx:
        assert wallet.settle(tx, hold, BUILD, Usage(completion_tokens=10 * micro), chat_id) == micro


def refused(database: Database, wallet: Wallet, micro: int, chat_id: str | None = None, key: str | None = None) -> int:
    """What the refusal says is left."""
    with pytest.raises(OutOfCredit) as error:
        reserve(database, wallet, micro, chat_id=chat_id, key=key)
    return error.value.room_micro


def limit(wallet: Wallet, scope: str, micro: int | None) -> None:
    wallet.set_budget(Scope.parse(scope), micro)


def test_a_day_may_spend_its_budget_to_the_last_micro_credit_and_no_more(
    database: Database, wallet: Wallet, clock: Clock
) -> None:
    limit(wallet, "day", 100)
    spend(database, wallet, 60, held=100)
    assert refused(database, wallet, 41) == 40
    spend(database, wallet, 40)
    assert refused(database, wallet, 1) == 0
    clock.now += DAY_S
    spend(database, wallet, 100)
    wallet.verify()


def test_what_is_only_held_counts_too(database: Database, wallet: Wallet) -> None:
    limit(wallet, "day", 100)
    hold = reserve(database, wallet, 70)
    assert refused(database, wallet, 31) == 30
    wallet.void(hold)
    spend(database, wallet, 100)


def test_an_answer_that_ends_after_midnight_counts_for_the_day_it_was_asked_on(
    database: Database, wallet: Wallet, clock: Clock
) -> None:
    limit(wallet, "day", 100)
    hold = reserve(database, wallet, 80)
    clock.now += DAY_S
    with database.transaction() as tx:
        wallet.settle(tx, hold, BUILD, Usage(completion_tokens=800), None)
    spend(database, wallet, 100)
    clock.now -= DAY_S
    assert refused(database, wallet, 21) == 20
    wallet.verify()


def test_a_month_adds_up_its_days(database: Database, wallet: Wallet, clock: Clock) -> None:
    limit(wallet, "month", 100)
    limit(wallet, "day", 60)
    spend(database, wallet, 60)
    clock.now += DAY_S
    assert refused(database, wallet, 41) == 40
    spend(database, wallet, 40)
    clock.now += 31 * DAY_S
    spend(database, wallet, 60)


@pytest.mark.parametrize("scope", ["chat", "chat:a", "chat:a/day", "chat/month"])
def test_a_conversation_has_its_own_budget(database: Database, wallet: Wallet, scope: str) -> None:
    limit(wallet, scope, 100)
    spend(database, wallet, 90, chat_id="a")
    assert refused(database, wallet, 11, chat_id="a") == 10
    spend(database, wallet, 100, chat_id="b")
    spend(database, wallet, 500)


@pytest.mark.parametrize("scope", ["key", "key:anna", "key:anna/day"])
def test_a_key_has_its_own_budget(database: Database, wallet: Wallet, scope: str) -> None:
    limit(wallet, scope, 100)
    spend(database, wallet, 100, key="anna")
    assert refused(database, wallet, 1, key="anna") == 0
    spend(database, wallet, 100, key="ben")
    spend(database, wallet, 500)


def test_a_model_has_its_own_budget(database: Database, wallet: Wallet) -> None:
    limit(wallet, "model:tiny:Q8_0/day", 100)
    spend(database, wallet, 100)
    assert refused(database, wallet, 1) == 0
    other = replace(BUILD, id="other/model:Q4_K_M")
    wallet.void(reserve(database, wallet, 50, build=other))
    limit(wallet, "model:other/model:Q4_K_M", 0)
    with pytest.raises(OutOfCredit, match=r"other/model:Q4_K_M has 0\.000000 left"):
        reserve(database, wallet, 1, build=other)


def test_a_budget_set_later_knows_what_was_spent_before(database: Database, wallet: Wallet) -> None:
    spend(database, wallet, 90, chat_id="a", key="anna")
    for scope in ("day", "month", "chat", "chat:a", "model", "key:anna/month"):
        limit(wallet, scope, 100)
        assert refused(database, wallet, 11, chat_id="a", key="anna") == 10
        limit(wallet, scope, None)
    spend(database, wallet, 11, chat_id="a", key="anna")


def test_budgets_are_listed_with_what_is_spent_and_are_on_the_record(database: Database, wallet: Wallet) -> None:
    limit(wallet, "day", 100)
    limit(wallet, "chat", 50)
    limit(wallet, "key:anna", 7)
    limit(wallet, "key:anna", None)
    limit(wallet, "day", 200)
    limit(wallet, "day", 200)
    spend(database, wallet, 30, chat_id="a")
    listed = [(str(budget.scope), budget.limit_micro, spent) for budget, spent in wallet.budgets()]
    assert listed == [("chat", 50, None), ("day", 200, 30)]
    recorded = [row for row in wallet.history(99, with_holds=True) if row.kind == "budget"]
    assert len(recorded) == 5, "saying the same again adds nothing"
    wallet.verify()


@pytest.mark.parametrize("text", ["", "week", "days", "chat:", "user:anna", "day/day", "model:/day", "x" * 400])
def test_what_no_budget_can_limit_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="budget can limit"):
        Scope.parse(text)


@pytest.mark.parametrize("micro", [-1, 1.5, float("nan"), True, 2**63])
def test_only_whole_amounts_are_limits(database: Database, wallet: Wallet, micro: object) -> None:
    with pytest.raises(UsageError):
        wallet.set_budget(Scope.parse("day"), micro)  # type: ignore[arg-type]
    assert wallet.budgets() == []


def is_a_name(text: str) -> bool:
    return not text.startswith("/") and not text.endswith(("/day", "/month"))


@given(
    st.sampled_from(["chat", "model", "key"]),
    st.one_of(st.none(), st.text(min_size=1, max_size=20).filter(is_a_name)),
    st.sampled_from(["", "day", "month"]),
)
def test_a_scope_is_written_as_it_is_read(kind: str, name: str | None, period: str) -> None:
    scope = Scope(kind, name, period)
    assert Scope.parse(str(scope)) == scope


def test_processes_at_once_never_pass_a_budget(tmp_path: Path, database: Database, wallet: Wallet) -> None:
    limit(wallet, "day", 1000)

    def work(report: Callable[[str], None]) -> None:
        chance = random.Random()
        mine = Database.open(tmp_path / "x.db", KEY, MIGRATIONS)
        own = Wallet.open(mine, DEVICE, (0, "0" * 64), lambda seq, head: None, clock=lambda: NOON)
        for _ in range(40):
            try:
                hold = reserve(mine, own, chance.randint(1, 60))
            except OutOfCredit:
                continue
            with mine.transaction() as tx:
                report(str(own.settle(tx, hold, BUILD, Usage(completion_tokens=chance.randint(1, 600)), None)))

    children = [fork(work) for _ in range(3)]
    charged = sum(int(line) for child in children for line in child.finish())
    ((_, spent),) = wallet.budgets()
    assert charged == spent
    assert 940 < charged <= 1000
    wallet.verify()
