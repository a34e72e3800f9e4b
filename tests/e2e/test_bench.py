"""``nanolocal bench`` as a user runs it, with the starter build that ships."""

import json
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import Program

pytestmark = pytest.mark.slow

TEXT = "nanolocal-starter-text:Q8_0"
SMALL = ("--rounds", "1", "--tokens", "8", "--prompt-tokens", "300")


def left_in(home: Path) -> set[str]:
    return {path.name for path in home.rglob("*") if path.is_file()}


def test_the_best_text_build_is_measured_and_nothing_is_left_of_it(program: Program) -> None:
    result = program("bench", *SMALL, "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["build"] == TEXT
    assert found["prompt_tokens"] >= 300 and found["answer_tokens"] == 8
    figures = {figure["name"]: figure for figure in found["figures"]}
    assert {"reads", "writes", "first word, cold", "first word, next turn", "memory"} <= set(figures)
    assert {"first word, after a swap", "first word, after a restart"} <= set(figures)
    for figure in figures.values():
        assert figure["ratio"] > 0 and len(figure["rounds"]["ours"]) == 1
    assert left_in(program.home) == {"builds.json", "descriptions.json"}, "a vault or a kept conversation"


def test_the_table_and_the_bars_fit_a_terminal(program: Program) -> None:
    result = program("bench", TEXT, *SMALL)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert "RATIO" in lines[0] and "Seconds to the first word:" in lines
    assert sum(any(part in line for part in "▏▎▍▌▋▊▉█") for line in lines) >= 3
    assert "8 written, one round" in result.stderr
    assert program("bench", TEXT, *SMALL, "--quiet").stderr == ""


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_interrupted_it_ends_at_once_and_leaves_nothing(program: Program, how: signal.Signals, code: int) -> None:
    running = program.start("bench", TEXT, "--rounds", "50")
    while len(there := psutil.Process(running.pid).children(recursive=True)) < 2:
        time.sleep(0.02)
    running.send_signal(how)
    running.communicate(timeout=60)
    assert running.returncode == code
    _, alive = psutil.wait_procs(there, timeout=30)
    assert alive == []
    if how != signal.SIGKILL:
        assert left_in(program.home) == {"builds.json", "descriptions.json"}


@pytest.mark.parametrize(("words", "code", "said"), [
    (("nanolocal-starter-image",), 2, "writes no text"),
    (("nobody",), 2, "no build is called"),
    ((TEXT, "--prompt-tokens", "2000"), 2, "has a context of 1024 tokens"),
    ((TEXT, "--tokens", "500"), 2, "has a context of 1024 tokens"),
    ((TEXT, "--rounds", "0"), 2, "no number from 1 to 100"),
    ((TEXT, "--tokens", "many"), 2, "no number from 2 to"),
])  # fmt: skip
def test_what_cannot_be_measured_is_one_clear_error(
    program: Program, words: tuple[str, ...], code: int, said: str
) -> None:
    result = program("bench", *words)
    assert result.returncode == code
    assert said in result.stderr and "hint:" in result.stderr
    assert result.stdout == ""
