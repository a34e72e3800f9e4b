"""A run of the compression lab that is killed: nothing half-written is listed, and it goes on where it was."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fakes.tiny_gguf import write_tiny_gguf

ROOT = Path(__file__).parents[2]


def command(home: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "nanolocal", "--home", str(home), *words]


def listed(home: Path) -> list[str]:
    done = subprocess.run(command(home, "models", "list", "--json"), capture_output=True, check=True, cwd=ROOT)
    found = json.loads(done.stdout)
    assert found["refused"] == []
    return [build["build"] for build in found["builds"] if build["build"].startswith("tiny")]


def journal(home: Path) -> list[str]:
    """The keys of all that was found out, in order; those of a torn line are left out."""
    keys = []
    for path in (home / "data/models/.compressing").glob("*/journal.jsonl"):
        for line in path.read_text().splitlines():
            try:
                keys.append(json.loads(line)["key"])
            except ValueError:
                continue
    return keys


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home/data/models/tiny"
    folder.mkdir(parents=True)
    write_tiny_gguf(folder / "tiny-F32.gguf", n_ctx=64)
    return tmp_path / "home"


def test_killed_at_random_points_it_goes_on_and_repeats_one_step_at_most(home: Path) -> None:
    dice = random.Random(7)
    run = command(home, "compress", "tiny:F32", "--time", "1s", "--json")
    seen: list[str] = []
    for wanted in sorted(dice.sample(range(2, 10), 3)):
        process = subprocess.Popen(run, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while len(set(journal(home))) < wanted and process.poll() is None:
            time.sleep(dice.uniform(0, 0.02))
        process.kill()
        process.wait()
        assert listed(home) == ["tiny:F32"]
        after = journal(home)
        assert after[: len(seen)] == seen, "what was known is known still"
        assert len(after) == len(set(after)), "nothing that was known was found out again"
        seen = after
    done = subprocess.run(run, cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    made = json.loads(done.stdout)
    assert made["build"] in listed(home)
    assert not (home / "data/models/.compressing").exists()
    shown = subprocess.run(command(home, "models", "show", made["build"], "--json"), capture_output=True, cwd=ROOT)
    assert json.loads(shown.stdout)["compressed"]["sha256"] == json.loads(shown.stdout)["sha256"]


def test_ctrl_c_ends_it_cleanly_and_says_how_to_go_on(home: Path) -> None:
    run = command(home, "compress", "tiny:F32", "--time", "1s")
    process = subprocess.Popen(run, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while len(journal(home)) < 3 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert f"nanolocal compress tiny:F32 --time 1s --home {home}" in said
    assert listed(home) == ["tiny:F32"]
