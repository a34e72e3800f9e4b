"""The judgement of the busy machine's benchmark: ratios between medians, and a late heartbeat."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "scripts"))

from bench_busy import DEFAULT, Figures, Speed, p95, summarize  # noqa: E402


def figures(**decode: tuple[float, ...]) -> Figures:
    speeds = {name.replace("_", "-"): [Speed(2 * each, each) for each in speed] for name, speed in decode.items()}
    return Figures(speeds, [0.001] * 95 + [0.2] * 5)


def test_the_engine_is_compared_with_the_best_fixed_setting_of_each_situation() -> None:
    assert DEFAULT == "llama-bench"
    quiet = figures(llama_bench=(50.0, 54.0, 58.0), passive=(27.0,), engine=(54.0, 53.0, 2.0))
    busy = figures(llama_bench=(0.2,), passive=(12.0, 40.0, 35.0), engine=(28.0,))
    summary = summarize({"quiet": quiet, "busy": busy})
    assert summary["quiet_of_best"] == pytest.approx(53 / 54)
    assert summary["busy_of_best"] == summary["busy_prompt_of_best"] == pytest.approx(0.8)
    assert summary["busy_of_default"] == pytest.approx(140)


def test_the_heartbeat_is_the_nearest_rank() -> None:
    assert p95([0.001] * 95 + [0.2] * 5) == 0.001
    assert p95([0.001] * 94 + [0.2] * 6) == 0.2
