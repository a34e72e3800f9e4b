"""How many tries an expectation counts as, by how far the expectations of these builds were off on this device.

Empirical Bayes by the method of moments: squared distances between what was seen and what was expected, less what
chance explains, are the variance of the expectations' errors; a Beta distribution as wide as that is worth so many
tries. It starts from a small error, so that a few tries move little.
"""

from collections.abc import Mapping, Sequence

from nanolocal.chat.routes import Build, Tally
from nanolocal.routing.labels import LABELS
from nanolocal.routing.quality import expected_quality

_USUAL_ERROR = 0.08
"""Standard deviation of expectations around what a build does here, until more is known."""
_USUAL_CELLS = 8.0
"""Pairs of build and task, much tried, after which what was seen here counts as much as what is usual."""
_MUCH_TRIED = 8.0
_SPREAD = 0.24
"""Variance of one try at the usual quality."""
_LEAST, _MOST = 4.0, 60.0


def prior_tries(builds: Sequence[Build], tallies: Mapping[tuple[str, str], Tally]) -> float:
    """The tries that each expectation is worth, 4 to 60; ``tallies`` are by SHA-256 and task."""
    known = {build.sha256: build for build in builds}
    weights, squares = _USUAL_CELLS, _USUAL_CELLS * _USUAL_ERROR**2
    for (sha256, task), seen in tallies.items():
        if sha256 not in known or task not in LABELS or seen.tries < 1:
            continue
        expected = expected_quality(known[sha256], task).value
        weight = seen.tries / (seen.tries + _MUCH_TRIED)
        off = seen.wins / seen.tries - expected
        weights += weight
        squares += weight * (off * off - expected * (1 - expected) / seen.tries)
    variance = max(squares / weights, _SPREAD / _MOST)
    return max(_LEAST, _SPREAD / variance)


class Trust:
    """``prior_tries`` of the builds and tallies asked about last, reckoned once."""

    def __init__(self) -> None:
        self._last: tuple[Sequence[Build], Mapping[tuple[str, str], Tally], float] | None = None

    def tries(self, builds: Sequence[Build], tallies: Mapping[tuple[str, str], Tally]) -> float:
        """As ``prior_tries``."""
        last = self._last
        if last is None or last[1] is not tallies or list(last[0]) != list(builds):
            self._last = last = (builds, tallies, prior_tries(builds, tallies))
        return last[2]
