"""A small part of what the stress script does, and the conversations that once went wrong."""

import random
import sys
from collections import Counter
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import stress_router  # noqa: E402


def test_no_pick_breaks_a_limit_and_every_stored_decision_recomputes() -> None:
    tried = [stress_router.tried(random.Random(seed)) for seed in range(300)]
    assert [wrong for _, wrong in tried if wrong] == []
    outcomes = Counter(outcome for outcome, _ in tried)
    assert set(outcomes) == {"picked", "NoBuildFits", "UsageError"}
    assert outcomes["picked"] > 80


@pytest.mark.parametrize("task", stress_router.PROMPTS)
def test_ten_turns_on_one_task_never_change_the_build(task: str) -> None:
    chance = random.Random(task)
    builds, _ = stress_router.script(chance, is_mixed=False)
    prompt = stress_router.PROMPTS[task][0]
    assert len({route.build.id for route in stress_router.conversation(chance, builds, [prompt] * 10)}) == 1


@pytest.mark.parametrize("seed", range(40))
def test_a_mixed_conversation_changes_the_build_no_more_often_than_the_task(seed: int) -> None:
    chance = random.Random(seed)
    routes = stress_router.conversation(chance, *stress_router.script(chance, is_mixed=True))
    swaps = stress_router.moves(route.build.id for route in routes)
    assert swaps <= stress_router.moves(str(route.task) for route in routes)
