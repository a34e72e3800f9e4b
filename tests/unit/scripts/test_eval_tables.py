"""Tables of every kind, with a classifier whose confidence is as good as its word."""

import random
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import eval_tables  # noqa: E402
from eval_tables import Prompt, Score  # noqa: E402

LABELS = ("chat/exam", "chat/short_fact", "code/write", "math/logic", "math/word_problem", "summarize", "translate")


def score(of: str, share: float) -> Score:
    chance = random.Random(of)
    prompts = [Prompt("", label) for label in LABELS for _ in range(40)]
    guesses = eval_tables.guessed(prompts, share, chance)
    tables = [table for table in eval_tables.made(LABELS, 6, chance) if table.kind == of]
    return eval_tables.scored(tables, prompts, guesses)[of]


@pytest.mark.parametrize("kind", ["mixed", "coarse", "specialists", "traps", "two sides"])
def test_a_good_classifier_has_most_of_the_gain_on_tables_of_every_kind(kind: str) -> None:
    found = score(kind, 0.9)
    assert (found.tables, found.below) == (6, 0)
    assert found.gained >= 0.75 * found.possible > 0


def test_one_that_dominates_is_always_picked() -> None:
    assert max(score("one dominates", 0.5).left) == 0.0


def test_a_poor_classifier_loses_next_to_nothing() -> None:
    assert score("specialists", 0.0).worst > -0.02
    assert score("traps", 0.0).worst > -0.02
