"""The gate: nothing that is kept is worse than stock, whatever proposed it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanolocal.compress.gate import Difference, Measured, decide
from nanolocal.errors import UsageError


def measured(name: str, size: int, kld: float, *, is_stock: bool = False, is_topped: bool = False) -> Measured:
    return Measured(name, f"/{name}", size, kld, kld / 30, f"/{name}.npy", is_stock, is_topped)


def by_means(width: float = 0.0) -> Difference:
    def difference(one: Measured, other: Measured) -> tuple[float, float, float]:
        mean = one.kld - other.kld
        return mean, mean - width, mean + width

    return difference


files = st.lists(
    st.tuples(st.integers(1, 100), st.floats(0, 10), st.sampled_from(["stock", "topped", "other"])),
    min_size=1,
    max_size=12,
)


@given(files, st.integers(1, 100), st.floats(0, 5))
def test_what_is_kept_is_never_worse_than_stock_and_never_too_large(
    drawn: list[tuple[int, float, str]], most: int, width: float
) -> None:
    candidates = [
        measured(str(n), size, kld, is_stock=kind == "stock", is_topped=kind == "topped")
        for n, (size, kld, kind) in enumerate(drawn)
    ]
    stock = [each for each in candidates if each.is_stock and each.size_bytes <= most]
    if not stock:
        with pytest.raises(UsageError):
            decide(candidates, most, by_means(width))
        return
    verdict = decide(candidates, most, by_means(width))
    assert verdict.winner.size_bytes <= most
    assert verdict.winner.kld <= min(each.kld for each in stock)
    assert verdict.winner.is_stock or verdict.winner.is_topped or verdict.difference[2] < 0


def test_a_lead_that_may_be_chance_is_no_win() -> None:
    candidates = [measured("stock", 10, 0.010, is_stock=True), measured("new", 10, 0.009)]
    assert decide(candidates, 10, by_means(0.002)).winner.name == "stock"
    assert decide(candidates, 10, by_means(0.0005)).winner.name == "new"


def test_what_is_stock_or_finer_everywhere_has_to_be_no_worse_and_no_more() -> None:
    stock = measured("stock", 10, 0.010, is_stock=True)
    same, worse = (measured("topped", 11, kld, is_topped=True) for kld in (0.010, 0.0101))
    assert decide([stock, same], 11, by_means(0.002)).winner.name == "topped"
    assert decide([stock, worse], 11, by_means(0.002)).winner.name == "stock"


def test_the_second_best_may_win_where_the_best_is_uncertain() -> None:
    candidates = [measured("stock", 10, 0.010, is_stock=True), measured("wild", 10, 0.005), measured("calm", 10, 0.006)]

    def difference(one: Measured, other: Measured) -> tuple[float, float, float]:
        mean = one.kld - other.kld
        width = 0.02 if one.name == "wild" else 0.001
        return mean, mean - width, mean + width

    assert decide(candidates, 10, difference).winner.name == "calm"


def test_a_loss_that_is_no_number_never_wins() -> None:
    candidates = [measured("stock", 10, 0.010, is_stock=True), measured("broken", 10, math.nan)]
    assert decide(candidates, 10, by_means()).winner.name == "stock"
