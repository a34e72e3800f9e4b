import json
from pathlib import Path

import pytest

from nanolocal.compress.work.tasks import (
    Base,
    BaseDone,
    Capture,
    Captured,
    Chunks,
    Divergence,
    DryRun,
    Measure,
    Plan,
    Probe,
    Quantize,
    Quantized,
    Result,
    Round,
    Source,
    Task,
    Tokenize,
    finish,
    perform,
    prepare,
    result_from_json,
    task_from_json,
    to_json,
)
from nanolocal.errors import EngineFailed, UsageError
from tests.unit.compress.conftest import say_nothing

SOURCE = Source("/models/x.gguf", "ab")
CHUNKS = Chunks(((1, 2, 3, 4), (5, 6, 7, 8)))
TASKS: tuple[Task, ...] = (
    Tokenize(SOURCE, "text", 4, 2, is_marked=True),
    Base(SOURCE, CHUNKS, "/w/b"),
    Capture(SOURCE, CHUNKS, "/w/c", ("a", "b")),
    Probe(SOURCE, "a", "Q4_K", CHUNKS, "/w/b"),
    Probe(SOURCE, "a", "Q4_K", CHUNKS, "/w/b", "/w/c", ("d",)),
    Quantize(SOURCE, "/w/q", {"a": "Q4_K"}, None, (1, 2), {"x": 1, "y": 0.5, "z": True, "s": "1"}),
    Round(SOURCE, "/w/q", {"a": "Q4_K"}, "/w/c"),
    DryRun(SOURCE, "Q4_K_M", None),
    Measure("/w/q", "/w/b", CHUNKS, "/w/m"),
)
RESULTS: tuple[Result, ...] = (
    CHUNKS,
    BaseDone(3, 1.0),
    Captured(3, 4, ("a",)),
    0.25,
    Quantized(12, ()),
    Plan({"a": "F16"}),
    Divergence(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, tokens=8),
)


def test_tasks_and_results_travel_as_json() -> None:
    for task in TASKS:
        assert task_from_json(json.loads(json.dumps(to_json(task)))) == task
    for result in RESULTS:
        assert result_from_json(json.loads(json.dumps(to_json(result)))) == result


@pytest.mark.parametrize("change", [
    {"kind": "Chunks"}, {"kind": "os.system"}, {"kind": None}, {"more": 1}, {"type": 3}, {"source": "x"},
    {"chunks": {"tokens": [["a"]]}}, {"chunks": {"tokens": 3}}, {"also": "abc"}, {"imatrix": 3},
])  # fmt: skip
def test_what_is_no_task_is_refused(change: dict[str, object]) -> None:
    data = json.loads(json.dumps(to_json(TASKS[3]))) | change
    with pytest.raises(UsageError):
        task_from_json(data)


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "q.gguf"
    task = Quantize(SOURCE, str(out), {})
    prepare(task)
    assert not out.exists()
    (tmp_path / "q.gguf.part").write_bytes(b"whole")
    finish(task)
    assert out.read_bytes() == b"whole"


def test_a_task_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match=r"x\.gguf"):
        perform(Base(SOURCE, CHUNKS, str(tmp_path / "b")), say_nothing, 1)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="cannot write"):
        perform(Base(SOURCE, CHUNKS, str(tmp_path / "no" / "b")), say_nothing, 1)
