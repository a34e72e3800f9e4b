"""``nanolocal route --batch``: one JSON line out for each line in."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from nanolocal.cli.main import main
from tests.fakes.sounds import wav

STARTERS = ("nanolocal-starter-text:Q8_0", "nanolocal-starter-text:Q4_MIX")
TABLE = [
    {"id": "round", "params_b": 8, "quality": {"*": 0.6}},
    {"id": "coder", "params_b": 7, "quality": {"code": 0.9, "*": 0.4}},
]
CODE = "Write a Python function that reverses a linked list and explain its complexity."


class Batch:
    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self._home, self._monkeypatch, self._capfd = home, monkeypatch, capfd

    def __call__(self, *lines: object, code: int = 0, prefer: str = "balanced") -> list[dict[str, Any]]:
        text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
        self._monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        assert main(["--home", str(self._home), "route", "--batch", "--prefer", prefer]) == code
        told = self._capfd.readouterr()
        assert told.err == ""
        return [json.loads(line) for line in told.out.splitlines()]


@pytest.fixture
def batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Batch:
    return Batch(tmp_path / "home", monkeypatch, capfd)


def test_a_prompt_is_routed_over_the_stored_builds(batch: Batch) -> None:
    (told,) = batch({"id": 7, "text": CODE, "attachments": []})
    assert (told["id"], told["task"]) == (7, "code")
    assert told["pick"] in STARTERS
    assert told["subtask"].startswith("code/") and 0 < told["confidence"] <= 1 and told["why"]


def test_of_two_builds_of_one_model_the_better_or_the_quicker_answers_and_why_is_told(batch: Batch) -> None:
    text = "Tell me a story about a fox."
    for prefer, pick, why in (
        ("quality", STARTERS[0], "it keeps the most of the model"),
        ("fast", STARTERS[1], "the quickest for what it loses"),
    ):
        (told,) = batch({"text": text}, prefer=prefer)
        assert told["pick"] == pick
        assert any(why in reason and "2 builds of one model" in reason for reason in told["why"])


def test_given_candidates_the_one_that_is_better_at_the_task_is_picked(batch: Batch) -> None:
    told = batch({"id": "a", "prompt": CODE, "candidates": TABLE}, {"id": "b", "prompt": "Hello!", "candidates": TABLE})
    assert [(line["id"], line["pick"]) for line in told] == [("a", "coder"), ("b", "round")]
    assert set(told[0]) == {"id", "pick", "task", "subtask", "confidence", "why"}


def test_a_file_counts_and_what_nobody_can_answer_has_its_task_all_the_same(batch: Batch, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "a.wav").write_bytes(wav())
    picture, sound, after = batch(
        {"id": 1, "text": "What is in this picture?", "attachments": [str(tmp_path / "a.png")]},
        {"id": 3, "text": "What is said?", "attachments": [str(tmp_path / "a.wav")]},
        {"id": 2, "text": "Hello!"},
        code=4,
    )
    assert picture["pick"] == "nanolocal-starter-vision:Q8_0"
    assert sound["pick"] is None and "listen to sounds" in sound["error"] and sound["task"]
    assert after["pick"] in STARTERS


@pytest.mark.parametrize(
    "line",
    [
        "rubbish",
        "[1]",
        "[" * 100_000,
        {"id": 1},
        {"id": 1, "text": 3},
        {"id": 1, "text": "a", "attachments": "b"},
        {"id": 1, "text": "a", "attachments": ["/nowhere/at/all"]},
        {"id": 1, "prompt": "a", "candidates": []},
        {"id": 1, "prompt": "a", "candidates": {}},
        {"id": 1, "prompt": "a", "candidates": [{"id": "x"}]},
        {"id": 1, "prompt": "a", "candidates": [TABLE[0], TABLE[0]]},
        {"id": 1, "prompt": "a", "candidates": [{"id": "x", "quality": {"*": True}}]},
        {"id": 1, "prompt": "a", "candidates": [{"id": "x", "quality": {"*": "much"}, "params_b": 7}]},
    ],
)
def test_a_line_that_makes_no_sense_gets_an_error_and_the_next_one_its_answer(batch: Batch, line: object) -> None:
    bad, good = batch(line, {"id": 2, "text": "Hello!"}, code=2)
    assert bad["error"] and bad["hint"]
    assert good["pick"] in STARTERS


def test_nothing_in_is_nothing_out(batch: Batch) -> None:
    assert batch("", "   ") == []
