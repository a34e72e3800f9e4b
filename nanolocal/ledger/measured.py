"""Price cards from a trial of a build: measured seconds, and measured power where this machine has a meter."""

from datetime import date

from nanolocal.chat.routes import Build
from nanolocal.chat.trial import Trial
from nanolocal.ledger.prices import Electricity, PriceCard

MEASURED = "electricity, measured"
FROM_SPEED = "electricity, from measured speed"
_PER_MILLION_TOKENS = 3_600_000 * 1_000 * 10**9 // 10**6  # J per kWh, mW per W, ns per s, tokens
_ONCE = 3_600_000 * 1_000 * 10**9


def card(build: Build, trial: Trial, power: Electricity, day: date) -> PriceCard:
    """What the trial cost in electricity, as the build's price; text from a cache costs nothing to read again."""
    milliwatts = power.watts * 1000 if trial.milliwatts is None else trial.milliwatts

    def micro(nanoseconds: int, divisor: int) -> int:
        return -(-milliwatts * power.tariff_micro_per_kwh * nanoseconds // divisor)

    return PriceCard(
        build_id=build.id,
        build_sha256=build.sha256,
        prompt=micro(trial.prompt_ns, _PER_MILLION_TOKENS),
        cached=0,
        completion=micro(trial.completion_ns, _PER_MILLION_TOKENS),
        pixel_steps=micro(trial.picture_ns, _ONCE),
        load=micro(trial.load_ns, _ONCE),
        minimum=1,
        source=FROM_SPEED if trial.milliwatts is None else MEASURED,
        evidence=_evidence(trial, milliwatts, power, day),
    )


def _evidence(trial: Trial, milliwatts: int, power: Electricity, day: date) -> str:
    speeds = [
        f"{_tenths(10**10, trial.prompt_ns)} prompt tokens/s" if trial.prompt_ns else "",
        f"{_tenths(10**10, trial.completion_ns)} answer tokens/s" if trial.completion_ns else "",
        f"{_thousandths(milliwatts * trial.completion_ns, 10**9)} J per answer token" if trial.completion_ns else "",
        f"{_thousandths(trial.picture_ns, 10**6)} s per million pixel-steps" if trial.picture_ns else "",
        f"{_thousandths(trial.load_ns, 10**6)} s to load" if trial.load_ns else "",
    ]
    watts = f"{_thousandths(milliwatts, 1)} W"
    meter = trial.power_source.removeprefix("measured: ")
    drawn = f"{watts} as set" if trial.milliwatts is None else f"{watts} on average ({meter})"
    tariff = f"{power.tariff_micro_per_kwh} micro-credits/kWh"
    return f"{', '.join(filter(None, speeds))}; {drawn} x {tariff}; {trial.what} on {day.isoformat()}"


def _tenths(amount: int, divisor: int) -> str:
    whole, rest = divmod(amount // divisor, 10)
    return f"{whole}.{rest}"


def _thousandths(amount: int, divisor: int) -> str:
    whole, rest = divmod(amount // divisor, 1000)
    return f"{whole}.{rest:03d}"
