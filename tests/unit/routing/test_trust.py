"""How many tries an expectation counts as, by how far off expectations were on this device."""

from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from nanolocal.chat.routes import Build, Kind, Tally
from nanolocal.routing.trust import Trust, prior_tries

PLAIN = Build(
    "m:F16", "M", Kind.TEXT, Path("m"), "F16", 16 * 10**9, "0" * 64, 8_000_000_000, quality={"math": 0.5, "code": 0.5}
)
BUILDS = [replace(PLAIN, id=f"m{n}:F16", sha256=f"{n:064x}") for n in range(8)]


def seen(*shares: float, tries: float = 40.0) -> dict[tuple[str, str], Tally]:
    tasks = ("math/logic", "code/write")
    pairs = [(build.sha256, task) for build in BUILDS for task in tasks]
    return {pair: Tally(tries * shares[n % len(shares)], tries) for n, pair in enumerate(pairs)}


def test_where_nothing_was_tried_expectations_are_worth_some_dozens_of_tries() -> None:
    assert 20 < prior_tries(BUILDS, {}) < 60


def test_expectations_that_hold_here_are_trusted_more_and_others_less() -> None:
    usual = prior_tries(BUILDS, {})
    assert prior_tries(BUILDS, seen(0.5, 0.52)) > usual > prior_tries(BUILDS, seen(0.2, 0.8)) >= 4


def test_what_chance_explains_is_no_error() -> None:
    few = seen(0.34, 0.66, tries=6.0)
    assert prior_tries(BUILDS, few) > prior_tries(BUILDS, {key: Tally(20 * t.wins, 120.0) for key, t in few.items()})


def test_one_surprise_moves_little() -> None:
    one = dict(list(seen(0.1).items())[:1])
    assert prior_tries(BUILDS, one) > 2 * prior_tries(BUILDS, seen(0.1))


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 500)), max_size=16))
def test_it_is_always_a_number_of_tries(cells: list[tuple[float, float]]) -> None:
    pairs = [(build.sha256, task) for build in BUILDS for task in ("math/logic", "code/write")]
    tallies = {pair: Tally(share * tries, tries) for pair, (share, tries) in zip(pairs, cells, strict=False)}
    assert 4 <= prior_tries(BUILDS, tallies) <= 61


def test_strangers_and_sums_do_not_count() -> None:
    off = Tally(0.0, 100.0)
    strange = {("f" * 64, "math/logic"): off, (BUILDS[0].sha256, "*"): off, (BUILDS[0].sha256, "math"): off}
    assert prior_tries(BUILDS, strange) == prior_tries(BUILDS, {})


def test_it_is_reckoned_anew_for_other_builds_and_other_tallies() -> None:
    trust, right, wrong = Trust(), seen(0.5), seen(0.1, 0.9)
    assert trust.tries(BUILDS, right) == prior_tries(BUILDS, right)
    assert trust.tries(list(BUILDS), right) == prior_tries(BUILDS, right)
    assert trust.tries(BUILDS, wrong) == prior_tries(BUILDS, wrong)
    assert trust.tries(BUILDS[:1], wrong) == prior_tries(BUILDS[:1], wrong)
