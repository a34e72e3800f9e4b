from dataclasses import replace
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanolocal.chat.messages import Usage
from nanolocal.chat.routes import Kind
from nanolocal.errors import Damaged, UsageError
from nanolocal.ledger.prices import Electricity, PriceCard, electricity_card
from tests.fakes.homes import BUILD

CARD = PriceCard("b", "00", 25_000, 2_500, 100_000, 70, 4, 1, "user", "said so")
BIG = st.integers(0, 2**40)


@settings(max_examples=200, deadline=None)
@given(BIG, BIG, BIG, BIG)
def test_the_cost_is_exact_and_rounded_up_once(prompt: int, cached: int, completion: int, pixels: int) -> None:
    cached = min(cached, prompt)
    exact = Fraction((prompt - cached) * 25_000 + cached * 2_500 + completion * 100_000 + pixels * 70, 10**6)
    used = bool(prompt or completion or pixels)
    assert CARD.cost(Usage(prompt, cached, completion, pixels)) == (max(1, ceil(exact)) if used else 0)


def test_loads_cost_extra_and_an_answer_never_costs_nothing() -> None:
    assert CARD.cost(Usage(loads=2)) == 8
    free = replace(CARD, prompt=0, cached=0, completion=0, pixel_steps=0)
    assert free.cost(Usage(5, 5, 0, 0)) == 1
    assert CARD.cost(Usage()) == 0
    assert CARD.cost(Usage(prompt_tokens=5, cached_tokens=9)) == 1


@pytest.mark.parametrize("wrong", [True, 0.5, float("nan"), -1, 2**63, None])
def test_only_whole_numbers_are_prices_and_quantities(wrong: object) -> None:
    for name in ("prompt", "cached", "completion", "pixel_steps", "load", "minimum"):
        with pytest.raises(UsageError):
            replace(CARD, **{name: wrong})  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        CARD.cost(Usage(wrong))  # type: ignore[arg-type]


def test_the_id_is_the_content() -> None:
    assert PriceCard.from_body(CARD.body()) == CARD
    assert PriceCard.from_body(CARD.body()).id == CARD.id
    assert len({replace(CARD, **{name: getattr(CARD, name) * 2}).id for name in CARD.__slots__} | {CARD.id}) == 11
    for body in ("", "null", "[]", "{}", CARD.body().replace("25000", '"x"'), CARD.body().replace("25000", "1.5")):
        with pytest.raises(Damaged):
            PriceCard.from_body(body)


def test_the_default_card_is_an_estimate_of_electricity_and_says_so() -> None:
    card = electricity_card(BUILD, Electricity())
    # 800 MB at 20 GB/s are 25 tokens a second; 40,000 s x 30 W are a third of a kWh, at 0.30 a kWh 0.1 credit.
    assert (card.completion, card.prompt, card.cached, card.pixel_steps, card.minimum) == (100_000, 25_000, 0, 0, 1)
    assert "estimated" in card.source
    assert "25.0 tokens/s" in card.evidence
    assert electricity_card(BUILD, Electricity(watts=60)).completion == 200_000


def test_thirty_watts_for_ten_seconds_are_twenty_five_micro() -> None:
    ten_seconds = replace(BUILD, kind=Kind.IMAGE, size_bytes=200_000_000 * 92 // 10)
    assert electricity_card(ten_seconds, Electricity()).cost(Usage(pixel_steps=10**6)) == 25


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(Kind), st.integers(0, 2**45), st.integers(1, 1000))
def test_every_build_has_a_price_and_every_answer_costs_something(kind: Kind, size: int, watts: int) -> None:
    card = electricity_card(replace(BUILD, kind=kind, size_bytes=size), Electricity(watts=watts))
    assert card.cost(Usage(1, 0, 1, 0)) >= 1
    assert card.cost(Usage(pixel_steps=1)) >= 1
