"""What a device has seen of its builds."""

from dataclasses import replace
from pathlib import Path

import pytest

from nanolocal.chat.messages import Answer, Message, Role, Stopped, Timing, Usage
from nanolocal.chat.ports import Hold
from nanolocal.chat.routes import Build, Kind, Route, Speed, Task
from nanolocal.errors import UsageError
from nanolocal.ledger.schema import MIGRATIONS as LEDGER
from nanolocal.vault.conversations import Conversations
from nanolocal.vault.experience import Experience, tallied
from nanolocal.vault.schema import MIGRATIONS as VAULT
from nanolocal.vault.vault import Vault

SHA = "a" * 64
BUILD = Build("m:Q8_0", "M", Kind.TEXT, Path("m"), "Q8_0", 1, SHA)
ROUTE = Route(Task.MATH, BUILD, 1024, 0.9, 0.5, (), subtask="math/logic")
ANSWER = Answer(
    text="12", pictures=(), route=ROUTE, usage=Usage(), timing=Timing(1.0, 0.1, 100.0, 10.0), stopped=Stopped.END,
    cost_micro=0, balance_micro=0, energy_j=0.0, chat_id=None, message_id=None,
)  # fmt: skip
DAY = 86_400.0


class World:
    def __init__(self, folder: Path) -> None:
        self.now = 1e9
        self.vault = Vault.create(folder, None, (*VAULT, *LEDGER))
        self.store = Conversations(self.vault.database, self.vault.blobs, lambda: self.now)
        self.seen = Experience(self.vault.database, lambda: self.now)
        self.answers = 0

    def answer(self, chat_id: str | None = None, answer: Answer = ANSWER) -> tuple[str, str]:
        self.answers += 1
        with self.store.transaction() as tx:
            chat = chat_id or self.store.start_chat(tx, "t", None)
            asked = self.store.add_prompt(tx, chat, None, Message(Role.USER, "5 + 7"))
            return chat, self.store.add_answer(tx, chat, asked, answer, Hold(f"h{self.answers}", 1))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "vault")


def test_speeds_follow_what_is_measured_and_a_phase_that_did_not_happen_moves_nothing(world: World) -> None:
    world.answer()
    world.answer(answer=replace(ANSWER, timing=Timing(0.0, 0.1, 200.0, 0.0)))
    speed = world.seen.speeds()[SHA]
    assert (speed.load_s, speed.write_tok_s, speed.answers) == (1.0, 10.0, 2)
    assert speed.read_tok_s == pytest.approx(130.0)


def test_a_thumb_counts_for_the_sub_task_the_task_and_everything(world: World) -> None:
    _, message = world.answer()
    world.store.rate(message, "good")
    tallies = world.seen.tallies()
    assert {task for _, task in tallies} == {"math/logic", "math", "*"}
    assert all((tally.wins, tally.tries) == (1.0, 1.0) for tally in tallies.values())


def test_a_changed_mind_leaves_one_thumb_and_taking_it_back_leaves_none(world: World) -> None:
    _, message = world.answer()
    world.store.rate(message, "good")
    world.store.rate(message, "bad")
    assert world.seen.tallies()[SHA, "*"].wins == 0.0
    assert 0.9 < world.seen.tallies()[SHA, "*"].tries <= 1.0
    world.store.rate(message, None)
    assert world.seen.tallies() == {}


def test_one_conversation_counts_five_at_most(world: World) -> None:
    chat, message = world.answer()
    world.seen.learn(message, "good")
    for _ in range(9):
        world.seen.learn(world.answer(chat)[1], "good")
    assert world.seen.tallies()[SHA, "*"].tries == 5.0
    world.seen.learn(world.answer()[1], "copied")
    assert world.seen.tallies()[SHA, "*"].tries == pytest.approx(5.3)


def test_what_was_seen_fades_by_half_in_ninety_days(world: World) -> None:
    world.seen.learn(world.answer()[1], "won")
    world.now += 90 * DAY
    assert world.seen.tallies()[SHA, "*"].tries == pytest.approx(0.5)


def test_an_exam_counts_in_full_and_is_replaced_by_the_next(world: World) -> None:
    world.seen.keep_exam(SHA, "math", 3, 20)
    world.seen.keep_exam(SHA, "math", 12, 20)
    assert world.seen.tallies()[SHA, "math"].wins == 12


def test_a_deleted_conversation_teaches_nothing_any_more(world: World) -> None:
    chat, message = world.answer()
    world.seen.learn(message, "bad")
    world.store.delete_chat(chat)
    assert world.seen.tallies() == {}


def test_forgetting_begins_anew_and_unknown_signals_are_refused(world: World) -> None:
    _, message = world.answer()
    world.seen.learn(message, "bad")
    world.seen.forget()
    assert (world.seen.tallies(), world.seen.speeds()) == ({}, {})
    with pytest.raises(UsageError):
        world.seen.learn(message, "adored")


def test_blame_from_somebody_who_only_complains_counts_less_than_from_one_who_praises_too() -> None:
    def tries(praise: int) -> float:
        signals = [*[("1", SHA, "chat", -1.0, 0.0)] * 5, *[(f"{n}", "b" * 64, "chat", 1.0, 0.0) for n in range(praise)]]
        return tallied([], signals, 0.0)[SHA, "chat"].tries

    assert tries(praise=50) == 5.0
    assert tries(praise=0) < 5.0


def test_a_speed_that_was_measured_on_purpose_replaces_what_answers_said(world: World) -> None:
    world.answer()
    world.seen.keep_speed(SHA, Speed(0.5, 0.0, 25.0, 1))
    assert world.seen.speeds()[SHA] == Speed(0.5, 100.0, 25.0, 2)
