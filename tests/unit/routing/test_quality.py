"""What a build is expected to be good at, and what experience changes."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanolocal.chat.routes import Build, Kind, Tally
from nanolocal.library.catalogue import benchmarks, shelf
from nanolocal.library.retention import SMALL, retained
from nanolocal.routing.quality import expected_quality, lookup

PLAIN = Build("m:F16", "M", Kind.TEXT, Path("m"), "F16", 16 * 10**9, "a" * 64, 8_000_000_000)


def test_a_card_says_more_than_published_scores_and_those_more_than_the_size() -> None:
    scored = replace(PLAIN, strengths={"code": 0.1, "*": 0.0})
    carded = replace(scored, quality={"code": 0.9})
    assert expected_quality(PLAIN, "code").known == "its size"
    assert expected_quality(scored, "code").value == pytest.approx(expected_quality(PLAIN, "code").value + 0.1)
    assert expected_quality(carded, "code/write").value == pytest.approx(0.9)


def test_quantization_takes_its_share_of_what_is_above_chance() -> None:
    exam, poor = (
        replace(PLAIN, quality={"chat/exam": 0.65}),
        replace(PLAIN, quality={"chat/exam": 0.65}, quantization="Q2_K"),
    )
    assert expected_quality(exam, "chat/exam").value == pytest.approx(0.65)
    assert expected_quality(poor, "chat/exam").value == pytest.approx(0.25 + 0.40 * 0.768)


def test_a_large_model_keeps_more_of_itself() -> None:
    assert retained("IQ2_XS", 8_000_000_000) == pytest.approx(0.621)
    assert retained("IQ2_XS", 70_000_000_000) == pytest.approx(0.895)
    assert retained("IQ2_XS", 8_000_000_000) < retained("IQ2_XS", 20_000_000_000) < retained("IQ2_XS", 70_000_000_000)


@given(st.sampled_from(sorted(SMALL)), st.integers(10**6, 10**12))
def test_what_is_kept_is_a_share(quantization: str, parameters: int) -> None:
    assert 0 < retained(quantization, parameters) <= 1


@given(st.floats(0, 100), st.floats(0, 1))
def test_experience_moves_the_expectation_towards_what_was_seen(tries: float, rate: float) -> None:
    before = expected_quality(PLAIN, "chat").value
    after = expected_quality(PLAIN, "chat", Tally(tries * rate, tries)).value
    assert min(before, rate) - 1e-9 <= after <= max(before, rate) + 1e-9


def test_a_table_is_read_from_the_special_to_the_general() -> None:
    table = {"math/logic": 0.1, "math/competition": 0.3, "code": 0.5, "*": 0.9}
    assert lookup(table, "math/logic") == 0.1
    assert lookup(table, "math/arithmetic") == pytest.approx(0.2)
    assert lookup(table, "code/write") == 0.5
    assert lookup(table, "chat") == 0.9
    assert lookup({"code": 0.2}, "chat") is lookup({}, "chat") is None


def test_every_yardstick_names_a_benchmark_of_the_catalogue_and_strengths_are_bounded() -> None:
    models = shelf.load().models
    assert set(benchmarks.YARDSTICKS) <= {score.name for model in models for score in model.scores}
    for model in models:
        assert all(-0.5 <= gain <= 0.5 for gain in benchmarks.strengths(model, models).values()), model.id


def test_a_coder_is_better_at_code_than_at_anything_else() -> None:
    model = shelf.load().get("deepseek-coder-v2-lite-instruct")
    assert model is not None
    gains = benchmarks.strengths(model)
    assert gains["code"] > 0 > gains["chat/exam"]
