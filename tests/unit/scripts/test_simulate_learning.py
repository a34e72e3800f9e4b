"""Learning, simulated for a few users."""

import argparse
import statistics
import sys
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import simulate_learning  # noqa: E402

ARGS = argparse.Namespace(builds=6, wrong=0.15, mood="even", use="even", turns=200)


def test_an_exam_helps_where_expectations_are_poor() -> None:
    gains = [simulate_learning.gains_of(seed, 0.3, ARGS) for seed in range(3)]
    ways = list(simulate_learning.WAYS)
    assert statistics.fmean(each[ways.index("exam")][0] for each in gains) > 1.0
    assert statistics.fmean(each[ways.index("both")][0] for each in gains) > 1.0
