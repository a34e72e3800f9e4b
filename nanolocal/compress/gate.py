"""Which file is kept: the best of those that were measured, and never one that is worse than the stock recipe.

Sensitivities, loss tables and the integer program only propose. What decides is the KL divergence of the real file on
text that nothing was taken from; a proposal has to beat stock for certain, so a wrong one costs time and no quality.
A file that has stock's types, or finer ones, in every tensor has nothing to prove: it is kept unless it measures worse.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from nanolocal.errors import UsageError


@dataclass(frozen=True, slots=True)
class Measured:
    """A file as it was measured. ``kld`` is the mean in nats a token, ``error`` its standard error.

    ``is_topped`` is a file that has the types of the stock one in every tensor, or finer ones.

    ``scores`` is the file with the divergence of each token. ``speed`` is in tokens a second and ``memory`` in bytes, 0
    where that was not measured.
    """

    name: str
    path: str
    size_bytes: int
    kld: float
    error: float
    scores: str
    is_stock: bool
    is_topped: bool = False
    speed: float = 0.0
    memory: int = 0


Difference: TypeAlias = Callable[[Measured, Measured], tuple[float, float, float]]
"""The mean of what the first has more than the second at each token, and the ends of its interval."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who won and over which stock file; the difference in nats a token with its interval, 0 where stock won itself."""

    winner: Measured
    stock: Measured
    difference: tuple[float, float, float] = (0.0, 0.0, 0.0)


def decide(candidates: Sequence[Measured], max_bytes: int, difference: Difference) -> Verdict:
    """The candidate of at most ``max_bytes`` that is kept; raises ``UsageError`` where no stock file is among them.

    Stock is kept unless the paired difference of the best other one lies below zero with all of its interval, or a
    topped one measures no worse.
    """
    fitting = [each for each in candidates if each.size_bytes <= max_bytes]
    stock = min((each for each in fitting if each.is_stock), key=_order, default=None)
    if stock is None:
        raise UsageError("no stock recipe makes a file of that size", "a larger target")
    for challenger in sorted((each for each in fitting if not each.is_stock and each.kld <= stock.kld), key=_order):
        found = difference(challenger, stock)
        if found[2] < 0.0 or challenger.is_topped:
            return Verdict(challenger, stock, found)
    return Verdict(stock, stock)


def _order(each: Measured) -> tuple[float, int, str]:
    return each.kld, each.size_bytes, each.name
