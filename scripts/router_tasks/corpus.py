"""All training rows, in a fixed order, and noisy copies of some."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from router_tasks import noise, public
from router_tasks.pieces import Texts, texts_of
from router_tasks.rows import Row
from router_tasks.slots import prompts_from_seeds, seed_files

LABELLED = ("dolly", "oasst", "selfinstruct", "gsm8k", "fairytaleqa")
"""Public prompts with labels: sources that can be left out and tested on."""
_NOISY = 0.15


def family(row: Row) -> str:
    """The source without its part: dolly for "dolly open_qa"."""
    return row.source.partition(" ")[0]


def collect(data: Path, seed: int) -> list[Row]:
    """Our own prompts and the labelled public ones."""
    rng = random.Random(seed)
    texts = texts_of(data, rng)
    rows = list(prompts_from_seeds(texts, rng, seed_files()))
    rows += public.word_problems(data, rng, 1800)
    rows += public.fairy_tales(data, rng, 1400)
    rows += public.labelled_by_hand(data, "chat_oasst_en100", "labels_oasst")
    rows += public.labelled_by_hand(data, "chat_selfinstruct_human", "labels_selfinstruct")
    return rows + public.dolly(data, rng)


def own(seed: int) -> list[Row]:
    """Those of our own prompts that need no public text."""
    return list(prompts_from_seeds(Texts({}), random.Random(seed), seed_files()))


def without(rows: Sequence[Row], families: Collection[str]) -> list[Row]:
    """The rows of the other sources."""
    return [row for row in rows if family(row) not in families]


def to_train_on(rows: Sequence[Row], seed: int) -> list[Row]:
    """The rows with labels as training takes them, and a copy of some with typing errors, a greeting or thanks."""
    rows = public.to_learn_from(rows)
    rng = random.Random(seed)
    changes = (noise.mistyped, noise.mistyped, noise.greeted, noise.thanked)
    copies = [replace(row, text=rng.choice(changes)(row.text, rng)) for row in rows if rng.random() < _NOISY]
    return [*rows, *copies]
