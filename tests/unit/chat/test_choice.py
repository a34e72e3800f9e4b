"""Who chooses the build that answers, and what an answer says about the one before."""

from dataclasses import replace

import pytest

from nanolocal.chat.choice import Choice, meant
from nanolocal.chat.lessons import lessons
from nanolocal.chat.messages import Answer, Message, Role, Stopped, Timing, Usage
from nanolocal.chat.ports import StoredMessage
from nanolocal.errors import UsageError
from tests.fakes.session import IMAGE_BUILD, ROUTE, TEXT_BUILD

RIVAL = replace(TEXT_BUILD, id="oak:Q8_0", aliases=("acorn:big",))
OLD = StoredMessage("m2", "m1", Message(Role.ASSISTANT, "so"), 0.0, (), build_id=RIVAL.id, task="chat", stopped="end")
NEW = Answer(
    text="yes", pictures=(), route=ROUTE, usage=Usage(), timing=Timing(), stopped=Stopped.END,
    cost_micro=0, balance_micro=0, energy_j=0.0, chat_id="c1", message_id="m4",
)  # fmt: skip


def test_once_goes_before_the_pin_and_auto_takes_both_back() -> None:
    choice = Choice()
    assert (choice.name(), choice.word) == (None, "auto")
    choice.pin("oak:Q4_K_M")
    choice.name_once("oak:Q8_0")
    assert (choice.name(), choice.word) == ("oak:Q8_0", "once")
    choice.once = None
    assert (choice.name(), choice.word) == ("oak:Q4_K_M", "pinned")
    choice.take("")
    assert (choice.name(), choice.word, choice.prefer) == (None, "auto", None)


def test_a_preference_holds_until_auto_is_said_without_one() -> None:
    choice = Choice()
    choice.take("Fast")
    assert (choice.prefer, choice.word) == ("fast", "auto fast")
    choice.take("")
    assert (choice.prefer, choice.word) == (None, "auto")
    with pytest.raises(UsageError, match="slowly"):
        choice.take("slowly")


def test_off_stays_with_who_answered_last_in_words() -> None:
    choice = Choice()
    choice.take("off")
    assert choice.name() is None
    choice.answered(TEXT_BUILD)
    choice.answered(IMAGE_BUILD)
    assert (choice.name(), choice.name(for_picture=True), choice.word) == (TEXT_BUILD.id, None, "auto off")


def test_a_name_such_as_auto_cheap_is_no_build() -> None:
    choice = Choice()
    choice.pin("auto:cheap")
    assert (choice.name(), choice.build_id, choice.word) == ("auto:cheap", None, "auto:cheap")


def test_another_conversation_keeps_what_is_for_the_session() -> None:
    choice = Choice(pinned="oak:Q8_0", once="x", prefer="fast", asks=True, is_switched=True)
    assert choice.elsewhere(keeps_pin=False) == Choice(prefer="fast", asks=True)
    assert choice.elsewhere(keeps_pin=True).pinned == "oak:Q8_0"


def test_a_build_is_meant_by_id_alias_or_a_part_that_only_it_has() -> None:
    builds = (TEXT_BUILD, RIVAL, IMAGE_BUILD)
    assert meant("oak:Q8_0", builds) == meant("acorn:big", builds) == meant("q8", builds) == RIVAL.id
    assert meant("nobody", builds) is None
    with pytest.raises(UsageError, match="fits 2 builds"):
        meant("oak", builds)


def test_asking_again_counts_against_the_first_answer() -> None:
    assert lessons(OLD, NEW, is_again=True, is_switched=False) == {"m2": "regenerated"}
    assert lessons(OLD, NEW, is_again=False, is_switched=False) == {}


def test_naming_another_build_for_the_same_task_counts_for_both() -> None:
    both = {"m2": "left", "m4": "chosen"}
    assert lessons(OLD, NEW, is_again=False, is_switched=True) == both
    assert lessons(OLD, NEW, is_again=True, is_switched=True) == both
    assert lessons(replace(OLD, task="code"), NEW, is_again=False, is_switched=True) == {}
    assert lessons(replace(OLD, build_id=TEXT_BUILD.id), NEW, is_again=False, is_switched=True) == {}


def test_nothing_is_learned_from_a_dead_engine_or_from_what_is_not_kept() -> None:
    assert lessons(replace(OLD, stopped="crash"), NEW, is_again=True, is_switched=False) == {}
    assert lessons(OLD, replace(NEW, message_id=None), is_again=True, is_switched=False) == {}
    assert lessons(None, NEW, is_again=True, is_switched=True) == {}
