"""Public prompts with labels. The card names the licences."""

from __future__ import annotations

import gzip
import json
import lzma
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from router_tasks.rows import PROMPTS, Row, labels_by_row

_TALK = ("chat/short_fact", "chat/explain", "chat/advice", "chat/ideas")
DOLLY: dict[str, tuple[str, ...]] = {
    "open_qa": _TALK,
    "general_qa": _TALK,
    "brainstorming": _TALK,
    "creative_writing": ("writing/story", "writing/essay", "writing/letter", "writing/poem"),
    "summarization": ("summarize",),
    "closed_qa": ("extract/passage",),
    "information_extraction": ("extract/fields", "extract/passage"),
    "classification": ("extract/classify",),
}
"""Dolly's categories as our labels; where several are named, training finds the best of them."""


TOLERATED: dict[str, tuple[str, ...]] = {
    "dolly summarization": ("extract/passage", "extract/fields"),
    "dolly closed_qa": ("summarize",),
    "dolly information_extraction": ("summarize",),
    "dolly creative_writing": _TALK,
    "dolly classification": _TALK,
}
"""What else training may take a row of Dolly for: its categories are the writers' own, and many rows fit another."""
_SUMMARY = re.compile(
    r"summar|tl;?dr|overview|main (?:idea|point)|key (?:point|takeaway)|brief|in short|sentence", re.IGNORECASE
)
_MOST_OF_A_PART = 900


def read(data: Path, name: str) -> list[dict[str, Any]]:
    """The records of ``data/text/NAME.jsonl.xz``."""
    with lzma.open(data / "text" / f"{name}.jsonl.xz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def dolly(data: Path, rng: random.Random) -> list[Row]:
    """Dolly's prompts, with their context before, behind or around."""
    with gzip.open(data / "tasks" / "dolly_dev.jsonl.gz", "rt", encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    return [Row(_joined(each, rng), DOLLY[each["category"]], f"dolly {each['category']}") for each in records]


def to_learn_from(rows: Sequence[Row]) -> list[Row]:
    """The rows as training takes them: at most some hundreds of each part of Dolly, with what is tolerated."""
    taken: Counter[str] = Counter()
    kept = []
    for row in rows:
        taken[row.source] += 1
        if not row.source.startswith("dolly"):
            kept.append(row)
        elif taken[row.source] <= _MOST_OF_A_PART:
            is_plain = row.source == "dolly summarization" and _SUMMARY.search(row.text[:200] + row.text[-200:])
            kept.append(row if is_plain else replace(row, labels=row.labels + TOLERATED.get(row.source, ())))
    return kept


def _joined(record: Mapping[str, str], rng: random.Random) -> str:
    ask, context = record["instruction"].strip(), record["context"].strip()
    if not context:
        return ask
    forms = ("{ask}\n\n{context}", "{context}\n\n{ask}", "{ask} {context}", "{ask}\n{context}")
    return rng.choice(forms).format(ask=ask, context=context)


def first_turns(data: Path, name: str) -> list[str]:
    """What the user says first in each conversation."""
    return [record["messages"][0]["content"] for record in read(data, name)]


def labelled_by_hand(data: Path, name: str, labels: str) -> list[Row]:
    """First turns with the labels that lie beside the seeds."""
    turns = first_turns(data, name)
    rows = labels_by_row(PROMPTS / f"{labels}.txt")
    return [Row(turns[number], right, labels.removeprefix("labels_")) for number, right in sorted(rows.items())]


def word_problems(data: Path, rng: random.Random, count: int) -> list[Row]:
    """Word problems of GSM8K's training part."""
    return [Row(text, ("math/word_problem",), "gsm8k") for text in rng.sample(first_turns(data, "chat_gsm8k"), count)]


def fairy_tales(data: Path, rng: random.Random, count: int) -> list[Row]:
    """Questions over a section of a fairy tale, or over its last sentences."""
    turns = rng.sample(first_turns(data, "chat_fairytaleqa"), count)
    return [Row(_shortened(text, rng), ("extract/passage",), "fairytaleqa") for text in turns]


def _shortened(turn: str, rng: random.Random) -> str:
    passage, _, ask = turn.rpartition("\n\n")
    sentences = re.split(r"(?<=[.!?])\s+", passage)
    if rng.random() < 0.4 or len(sentences) < 3:
        return turn
    passage = " ".join(sentences[-rng.randint(1, 3) :])
    return rng.choice((f"{passage} {ask}", f"{passage}\n{ask}", f"{ask}\n\n{passage}", f"{ask} {passage}"))
