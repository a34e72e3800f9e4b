"""Choosing from somebody else's table."""

import pytest

from nanolocal.chat.routes import Task
from nanolocal.routing.tables import Row, choose, named
from nanolocal.routing.tasks import Guess

SURE = Guess(Task.MATH, 0.95, "7 + 5", "math/word_problem", {"math/word_problem": 0.95, "chat": 0.05})
UNSURE = Guess(Task.MATH, 0.25, "", "math/word_problem", {"math/word_problem": 0.25, "chat": 0.2})
ALL_ROUND = Row("all-round", 8, {"math": 0.5, "code": 0.6, "*": 0.6})
RECKONER = Row("reckoner", 7, {"math/word_problem": 0.9, "*": 0.4})


def test_the_candidate_that_is_better_at_the_task_is_chosen() -> None:
    assert choose(SURE, [ALL_ROUND, RECKONER]).id == "reckoner"


def test_without_a_sure_task_the_best_all_round_answers() -> None:
    assert choose(UNSURE, [ALL_ROUND, RECKONER]).id == "all-round"


def test_a_candidate_that_is_better_at_everything_is_never_left() -> None:
    best = Row("best", 70, {"math": 0.95, "*": 0.9})
    assert choose(SURE, [ALL_ROUND, RECKONER, best]).id == "best"


def test_of_equal_candidates_the_smaller_is_taken() -> None:
    twins = [Row("large", 70, {"*": 0.5}), Row("small", 7, {"*": 0.5})]
    assert choose(SURE, twins).id == "small"


def test_names_that_others_use_and_names_nobody_knows_are_no_trouble() -> None:
    rows = [Row("a", 7, {"gsm8k": 0.9, "falconry": 0.1}), Row("b", 7, {"gsm8k": 0.2, "falconry": 0.7, "*": 0.5})]
    assert choose(SURE, rows).id == "a"
    assert choose(SURE, [Row("empty", 0, {}), *rows]).id == "a"


def test_keys_are_read_however_they_are_written_and_what_means_the_same_is_averaged() -> None:
    assert named({"MATH-500": 0.4, "aime": 0.2, "Code": 0.5}) == {"math/competition": pytest.approx(0.3), "code": 0.5}


def test_one_sub_task_alone_says_less_of_its_kin_than_several() -> None:
    steady = Row("steady", 7, {"math/word_problem": 0.66, "*": 0.6})
    one = Row("one", 8, {"math/logic": 0.72, "*": 0.5})
    several = Row("several", 8, {"math/logic": 0.72, "math/competition": 0.72, "math/arithmetic": 0.72, "*": 0.5})
    assert choose(SURE, [steady, one]).id == "steady"
    assert choose(SURE, [steady, several]).id == "several"
