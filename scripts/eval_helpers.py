#!/usr/bin/env python
"""What the helpers answer, how much of it is right, and what they answer that they should leave alone.

    scripts/eval_helpers.py [--all] [--json]

The questions are in ``scripts/helper_questions``; prompts for writing, code, translation and the like from the router's
held-out prompts are to be left alone too. ``--all`` prints every answer.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from nanolocal.helpers.toolbox import Toolbox

ROOT = Path(__file__).resolve().parents[1]
QUESTIONS = ROOT / "scripts" / "helper_questions"
REFERENCE = ROOT / "models" / "nanolocal-reference" / "reference.nlref"
NOW = datetime(2026, 11, 28, 10, 30, tzinfo=UTC)
_ASKS_OF_MODELS = (
    "code/", "writing/", "translate", "summarize", "extract/", "roleplay/", "image_", "chat/advice", "chat/smalltalk",
    "chat/ideas", "math/word_problem", "math/logic", "math/competition",
)  # fmt: skip
"""Labels of the router's prompts that no helper may answer."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question, its kind, and texts of which a right answer contains one."""

    kind: str
    text: str
    right: tuple[str, ...]


@dataclass(slots=True)
class Score:
    """Of so many questions so many were answered, and so many of these rightly."""

    asked: int = 0
    answered: int = 0
    right: int = 0


def questions() -> Iterator[Question]:
    """The fixed set."""
    kind = ""
    for line in (QUESTIONS / "asked.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            kind = line[2:]
        elif line:
            text, _, right = line.partition(" => ")
            yield Question(kind, text, tuple(right.split(" | ")))


def left_alone() -> list[str]:
    """Prompts that are not to be answered."""
    own = (QUESTIONS / "left_alone.txt").read_text(encoding="utf-8").splitlines()
    router = (ROOT / "tests" / "data" / "router_heldout.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in router]
    return [*filter(None, own), *(row["text"] for row in rows if row["label"].startswith(_ASKS_OF_MODELS))]


def toolbox() -> Toolbox:
    """The helpers with a clock that stands still and dice that fall alike."""
    return Toolbox(REFERENCE, lambda: NOW, Random(1))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="what the helpers answer, rightly or wrongly")
    parser.add_argument("--all", action="store_true", help="every answer too")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    args = parser.parse_args()
    helpers, scores, began = toolbox(), dict[str, Score](), time.process_time()
    wrong: list[str] = []
    for question in questions():
        score = scores.setdefault(question.kind, Score())
        given = helpers.answer(question.text)
        is_right = given is not None and any(each in given.text for each in question.right)
        score.asked += 1
        score.answered += given is not None
        score.right += is_right
        if args.all or not is_right:
            wrong.append(f"{'right' if is_right else 'WRONG'}: {question.text} -> {given.told if given else 'nothing'}")
    prompts = left_alone()
    alarms = [f"{text[:100]} -> {given.told}" for text in prompts if (given := helpers.answer(text)) is not None]
    total = Score(*(sum(getattr(each, name) for each in scores.values()) for name in ("asked", "answered", "right")))
    asked = total.asked + len(prompts)
    milliseconds = (time.process_time() - began) / asked * 1000
    if args.json:
        table = {kind: {"asked": s.asked, "answered": s.answered, "right": s.right} for kind, s in scores.items()}
        alone = {"prompts": len(prompts), "false_alarms": len(alarms)}
        print(json.dumps({"kinds": table, "left_alone": alone, "cpu_ms_each": round(milliseconds, 3)}))
        return
    print(f"{'kind':12}  asked  answered  right")
    for kind, score in {**scores, "all": total}.items():
        print(f"{kind:12}  {score.asked:5}  {score.answered:8}  {score.right:5}")
    print(f"\n{len(alarms)} false alarms in {len(prompts)} prompts; {milliseconds:.2f} ms of CPU each")
    for line in (*wrong, *(f"FALSE ALARM: {each}" for each in alarms)):
        print(line)


if __name__ == "__main__":
    main()
