"""The exams that ship: whole, and each item tells right from wrong."""

import pytest

from nanolocal.errors import Damaged
from nanolocal.routing.exams import paper
from nanolocal.routing.exams.marking import is_right
from nanolocal.routing.exams.paper import Item

EXAMS = paper.load()
ITEMS = [
    pytest.param(item, id=f"{exam.task} {number}") for exam in EXAMS for number, item in enumerate(exam.items, start=1)
]
USELESS = (
    "",
    "   \n",
    "I don't know.",
    "Sorry, I cannot help with that.",
    "banana banana banana",
    "...",
    "Yes",
    "A B C D",
)


def test_there_is_an_exam_of_twenty_items_for_each_task() -> None:
    tasks = [exam.task for exam in EXAMS]
    assert len(set(tasks)) == len(tasks) >= 13
    assert all(len(exam.items) >= 20 for exam in EXAMS), {exam.task: len(exam.items) for exam in EXAMS}


def test_no_question_is_asked_twice() -> None:
    asked = [item.ask for exam in EXAMS for item in exam.items]
    assert len(set(asked)) == len(asked)


@pytest.mark.parametrize("item", ITEMS)
def test_an_item_tells_right_from_wrong(item: Item) -> None:
    assert is_right(item.right, item.checks)
    assert item.wrong
    assert [answer for answer in item.wrong if is_right(answer, item.checks)] == []


@pytest.mark.parametrize("item", ITEMS)
def test_neither_small_talk_nor_an_echo_passes(item: Item) -> None:
    passed = [answer for answer in (*USELESS, item.ask) if is_right(answer, item.checks)]
    assert [answer for answer in passed if answer.casefold().strip(".") != item.right.casefold().strip(".")] == []


@pytest.mark.parametrize(
    "text",
    ["", "task = 'chat'", "task='a'\nhow=''\nmax_tokens=1\nitems=[{ask='a', right='b', wrong=['c'], odd=1}]", "[["],
)
def test_an_exam_that_is_not_whole_is_named(text: str) -> None:
    with pytest.raises(Damaged, match=r"odd\.toml"):
        paper.read("odd.toml", text)
