"""A picture in text of size against quality: every file that was measured, smaller to the left, better further down."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nanolocal.chat.amounts import sized

_LABEL = 8
_KEPT, _STOCK, _TRIED, _BOTH = "◆", "○", "·", "◈"
LEGEND = f"{_KEPT} kept  {_STOCK} stock recipes  {_TRIED} tried"


@dataclass(frozen=True, slots=True)
class Point:
    """A file: its bytes, its mean KL divergence in nats a token, and whether it is stock or the one that is kept."""

    label: str
    size_bytes: int
    kld: float
    is_stock: bool = False
    is_kept: bool = False


def picture(points: Sequence[Point], columns: int, rows: int) -> list[str]:
    """At most ``rows`` lines of ``columns`` columns; the divergence on a logarithmic scale. Empty without points."""
    shown = [point for point in points if point.kld >= 0 and math.isfinite(point.kld)]
    width, height = columns - _LABEL - 2, rows - 3
    if not shown or width < 10 or height < 2:
        return []
    floor = max(min((p.kld for p in shown if p.kld > 0), default=1e-6), 1e-7)
    heights = [math.log10(max(point.kld, floor)) for point in shown]
    low, high = _spread(min(heights), max(heights), 0.1)
    sizes = [point.size_bytes for point in shown]
    small, large = _spread(min(sizes), max(sizes), 0.02 * max(sizes))
    grid = [[" "] * width for _ in range(height)]
    for point, at in sorted(zip(shown, heights, strict=True), key=lambda pair: (pair[0].is_kept, pair[0].is_stock)):
        column = round((point.size_bytes - small) / (large - small) * (width - 1))
        row = round((high - at) / (high - low) * (height - 1))
        grid[row][column] = _mark(point)
    labels = {0: f"{10**high:.1e}", height - 1: f"{10**low:.1e}"}
    lines = [f"{labels.get(n, ''):>{_LABEL}} │{''.join(line)}".rstrip() for n, line in enumerate(grid)]
    left, right = sized(small), sized(large)
    axis = f"{'KL':>{_LABEL}} └{'─' * width}"
    return [*lines, axis, f"{'':{_LABEL}}  {left}{right:>{width - len(left)}}", f"{'':{_LABEL}}  {LEGEND}"[:columns]]


def _mark(point: Point) -> str:
    if point.is_kept:
        return _BOTH if point.is_stock else _KEPT
    return _STOCK if point.is_stock else _TRIED


def _spread(low: float, high: float, least: float) -> tuple[float, float]:
    """The ends of an axis, apart even where all values are one."""
    margin = max((high - low) * 0.05, least)
    return low - margin, high + margin
