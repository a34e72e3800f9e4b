"""The tables of a card from what `eval_starter_text.py --json` wrote."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

NOT_MEASURED = (
    "Not measured: run `scripts/eval_starter_text.py --json figures.json`, put it into --work, and export again."
)


@dataclass(frozen=True, slots=True)
class Figures:
    """The builds of such a file, side by side."""

    builds: tuple[dict[str, object], ...] = ()

    @classmethod
    def read(cls, path: Path) -> Figures:
        """The file's, none where it is not there."""
        if not path.exists():
            return cls()
        return cls(tuple(json.loads(path.read_text(encoding="utf-8"))["builds"]))

    @property
    def names(self) -> list[str]:
        """The heads of the columns."""
        return [str(build["name"]) for build in self.builds]

    def prompts(self) -> str:
        """Right answers for each kind of prompt, with the helpers and by the model alone."""
        if not self.builds:
            return NOT_MEASURED
        head = [f"{name}, {how}" for how in ("with helpers", "alone") for name in self.names]
        kinds = list(dict.fromkeys(str(one["kind"]) for build in self.builds for one in _rows(build)))
        lines = [(kind, *self._cells(kind)) for kind in kinds] + [("**all**", *self._cells(""))]
        return _table(["kind", *head], lines)

    def _cells(self, kind: str) -> list[str]:
        cells = []
        for helpers in (True, False):
            for build in self.builds:
                asked = [one for one in _rows(build) if one["helpers"] is helpers and kind in ("", one["kind"])]
                cells.append(f"{sum(not one['fails'] for one in asked)} of {len(asked)}")
        return cells

    def sums(self) -> dict[str, dict[str, int]]:
        """For each build how many prompts it was asked, and how many answers are right with helpers and alone."""
        return {
            name: {
                "asked": len(_rows(build)) // 2,
                "with_helpers": sum(not one["fails"] for one in _rows(build) if one["helpers"]),
                "alone": sum(not one["fails"] for one in _rows(build) if not one["helpers"]),
            }
            for name, build in zip(self.names, self.builds, strict=True)
        }

    def perplexity(self) -> str:
        """Bits per byte and perplexity per token for each source."""
        found = {name: build["held_out"] for name, build in zip(self.names, self.builds, strict=True)}
        tables = {name: table for name, table in found.items() if isinstance(table, dict) and table}
        if not tables:
            return NOT_MEASURED
        cell = "{bits_per_byte:.3f} ({perplexity:.1f})".format_map
        lines = [
            (source, *(cell(table[source]) for table in tables.values())) for source in next(iter(tables.values()))
        ]
        return _table(["source", *tables], lines)


def _rows(build: dict[str, object]) -> list[dict[str, object]]:
    rows = build["prompts"]
    assert isinstance(rows, list)
    return rows


def _table(head: list[str], lines: list[tuple[str, ...]]) -> str:
    rows = [tuple(head), ("---",) * len(head), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
