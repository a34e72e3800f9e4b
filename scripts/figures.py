"""Figures of the benchmarks: their values, the target that they are held against, and how they are shown."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: what every round gave, and the target that the median has to reach, or not to pass."""

    name: str
    values: tuple[float, ...]
    target: float | None = None
    is_most: bool = False
    note: str = ""

    @property
    def median(self) -> float:
        """What is held against the target."""
        return statistics.median(self.values)

    @property
    def is_met(self) -> bool:
        """Whether it is, where there is one."""
        if self.target is None:
            return True
        return self.median <= self.target if self.is_most else self.median >= self.target

    def __str__(self) -> str:
        """A line for people."""
        wanted = "" if self.target is None else f"{'at most' if self.is_most else 'at least'} {self.target:.2f}"
        spread = f"{min(self.values):.2f} to {max(self.values):.2f}" if len(self.values) > 1 else ""
        mark = "" if self.target is None else ("ok" if self.is_met else "missed")
        return f"{self.name:48} {self.median:6.3f}  {spread:14} {wanted:13} {mark:6}  {self.note}".rstrip()


def as_json(rows: Sequence[Row]) -> str:
    """All of them as one object."""
    return json.dumps({"rows": [asdict(row) | {"median": row.median, "is_met": row.is_met} for row in rows]})
