"""A decision as data: stored, read back and recomputed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanolocal.errors import Damaged
from nanolocal.routing import case
from nanolocal.routing.case import Candidate, Weights
from nanolocal.routing.preferences import weights

BALANCED = weights("balanced", "chat", holds=False)
share = st.floats(0, 1, allow_nan=False)
seconds = st.floats(0, 1e5, allow_nan=False)


@st.composite
def cases(draw: st.DrawFn) -> case.Case:
    tasks = draw(st.dictionaries(st.sampled_from(["*", "code", "math/logic", "chat"]), share, min_size=1))
    count = draw(st.integers(1, 12))
    candidates = [
        Candidate(
            f"m{n}:Q4_K_M", {task: draw(share) for task in tasks}, "its size", draw(seconds), draw(seconds),
            draw(seconds), draw(share), draw(st.booleans()), draw(st.booleans()),
        )
        for n in range(count)
    ]  # fmt: skip
    counts = Weights(draw(share), draw(share), draw(share), draw(share), draw(st.floats(1, 100)))
    return case.made_of(tasks, counts, candidates)


@given(cases())
def test_a_stored_case_gives_the_same_ranking(decided: case.Case) -> None:
    stored = json.loads(json.dumps(case.to_record(decided)))
    assert case.from_record(stored).ranking() == decided.ranking()


def test_waiting_for_ever_costs_the_whole_weight_of_time_and_no_more() -> None:
    slow = Candidate("slow:Q8_0", {"*": 0.5}, write_s=1e9)
    quick = Candidate("quick:Q8_0", {"*": 0.5 - BALANCED.time + 0.001})
    assert case.made_of({"*": 1.0}, BALANCED, [slow, quick]).ranking()[0].build_id == "quick:Q8_0"
    terms = case.made_of({"*": 1.0}, BALANCED, [slow]).ranking()[0]
    assert terms.time == pytest.approx(BALANCED.time, abs=1e-4)


def test_equal_builds_are_ranked_by_id() -> None:
    twins = [Candidate(name, {"*": 0.5}) for name in ("b", "a")]
    assert [terms.build_id for terms in case.made_of({"*": 1.0}, BALANCED, twins).ranking()] == ["a", "b"]


@pytest.mark.parametrize(("small_s", "picked"), [(2.4, "m:Q8_0"), (1.7, "m:Q8_0"), (1.0, "m:Q4_K_M")])
def test_of_one_model_the_finest_build_answers_unless_it_is_clearly_slower(small_s: float, picked: str) -> None:
    fine = Candidate("m:Q8_0", {"*": 0.5}, write_s=2.0)
    small = Candidate("m:Q4_K_M", {"*": 0.4995}, write_s=small_s)
    weights = BALANCED._replace(time=0.3)
    assert case.made_of({"*": 1.0}, weights, [small, fine]).ranking()[0].build_id == picked


@pytest.mark.parametrize(
    "record", [{}, {"version": 99}, {"version": 1, "tasks": 3}, {"version": 1, "candidates": [{}]}]
)
def test_a_record_that_is_none_is_refused(record: dict[str, object]) -> None:
    with pytest.raises(Damaged):
        case.from_record(record)
