"""What fills the slots of the seeds: words written by hand, made-up numbers, and pieces of public text."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from router_tasks.pieces import Texts
from router_tasks.rows import PROMPTS, Row, seeds_in, unescaped

NO_SEEDS = ("fillers", "categories", "forms_", "labels_")
SLOT = re.compile(r"%([a-z]+\d?)%(?!\d)")
COPIES = 7
"""How often a seed with slots is filled."""
RICH_COPIES = 60
"""How often a seed is filled that is nothing but one slot of public text."""


def words_by_slot(path: Path) -> dict[str, list[str]]:
    """Read the slots' words: headings ``## slot`` or ``## slot.language``, then one value a line."""
    words: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            current = words.setdefault(line[3:].strip(), [])
        elif line and not line.startswith("# "):
            current.append(unescaped(line))
    return words


class Filler:
    """Fills slots; the same seed and texts give the same prompts."""

    def __init__(self, texts: Texts, rng: random.Random) -> None:
        self._words = words_by_slot(PROMPTS / "fillers.txt")
        self._rng = rng
        self._makers: dict[str, Callable[[], str]] = {
            "small": lambda: str(rng.randint(2, 30)),
            "int": lambda: str(rng.choice((rng.randint(20, 200), rng.randint(100, 10_000)))),
            **{name: self._from(list(values)) for name, values in texts.by_slot.items()},
        }

    def _from(self, values: list[str]) -> Callable[[], str]:
        return lambda: self._rng.choice(values)

    def fill(self, row: Row) -> Row:
        """The row with each of its slots filled anew."""
        return replace(row, text=SLOT.sub(lambda found: self._value(found[1], row.language), row.text))

    def can_fill(self, slots: Iterable[str], language: str) -> bool:
        """Whether there is something for each of ``slots``."""
        return all(s in self._makers or s in self._words or f"{s}.{language}" in self._words for s in slots)

    def _value(self, slot: str, language: str) -> str:
        words = self._words.get(f"{slot}.{language}")
        if words is None and slot in self._makers:
            return self._makers[slot]()
        return self._rng.choice(words or self._words[slot])


def prompts_from_seeds(texts: Texts, rng: random.Random, paths: Iterable[Path]) -> Iterator[Row]:
    """Every seed that the texts can fill, as often as its slots are worth; seeds without one come once."""
    filler = Filler(texts, rng)
    for path in paths:
        for seed in seeds_in(path):
            slots = SLOT.findall(seed.text)
            if not filler.can_fill(slots, seed.language):
                continue
            copies = 1 if not slots else RICH_COPIES if seed.text == f"%{slots[0]}%" else COPIES
            yield from (filler.fill(seed) for _ in range(copies))


def seed_files() -> list[Path]:
    """The files of seeds, by name."""
    return sorted(path for path in PROMPTS.glob("*.txt") if not path.stem.startswith(NO_SEEDS))
