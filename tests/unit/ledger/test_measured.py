"""From nanoseconds and milliwatts to a price: exact, rounded up once, and with its evidence."""

from datetime import date
from fractions import Fraction
from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from nanolocal.chat.trial import Trial
from nanolocal.ledger import measured
from nanolocal.ledger.prices import Electricity
from tests.fakes.homes import BUILD

DAY = date(2026, 11, 27)
POWER = Electricity(watts=30, tariff_micro_per_kwh=300_000)
NS = st.integers(0, 10**13)


def test_forty_milliseconds_a_token_at_thirty_watts() -> None:
    card = measured.card(
        BUILD, Trial(2 * 10**9, 10**7, 4 * 10**7, 0, None, "", "210 prompt and 100 answer tokens"), POWER, DAY
    )
    # 40,000 s x 30 W are a third of a kWh, at 0.30 a kWh 0.1 credit.
    assert (card.completion, card.prompt, card.cached, card.pixel_steps, card.load) == (100_000, 25_000, 0, 0, 5)
    assert card.source == measured.FROM_SPEED
    assert card.evidence == (
        "100.0 prompt tokens/s, 25.0 answer tokens/s, 1.200 J per answer token, 2.000 s to load; "
        "30.000 W as set x 300000 micro-credits/kWh; 210 prompt and 100 answer tokens on 2026-11-27"
    )


def test_a_meter_replaces_the_watts_of_the_settings() -> None:
    trial = Trial(0, 0, 0, 9 * 10**8, 15_500, "measured: processor package by RAPL", "a picture of 64x64 in 4 steps")
    card = measured.card(BUILD, trial, POWER, DAY)
    assert card.pixel_steps == ceil(Fraction(155, 10) * Fraction(9, 10) * 300_000 / 3_600_000)
    assert card.source == measured.MEASURED
    assert "15.500 W on average (processor package by RAPL)" in card.evidence


@given(NS, NS, NS, NS, st.integers(0, 10**6) | st.none(), st.integers(0, 10**8))
def test_every_price_is_exact_and_rounded_up(
    load: int, prompt: int, completion: int, picture: int, milliwatts: int | None, tariff: int
) -> None:
    trial = Trial(load, prompt, completion, picture, milliwatts, "m", "w")
    card = measured.card(BUILD, trial, Electricity(30, tariff), DAY)
    watts = Fraction(30_000 if milliwatts is None else milliwatts, 1000)
    a_second = watts * tariff / 3_600_000
    assert card.completion == ceil(a_second * completion / 1000)
    assert card.prompt == ceil(a_second * prompt / 1000)
    assert card.pixel_steps == ceil(a_second * picture / 10**9)
    assert card.load == ceil(a_second * load / 10**9)
