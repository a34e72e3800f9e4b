"""The training of the task classifier: the same bytes each time, and never on what it is measured with."""

import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).parents[3]
HELD_OUT = [ROOT / "tests/data" / name for name in ("router_heldout.jsonl", "router_clean.jsonl")]


def test_no_held_out_prompt_is_a_seed() -> None:
    seeds = (ROOT / "scripts/router_tasks/prompts").glob("*.txt")
    lines = {line.strip().lower() for path in seeds for line in path.read_text(encoding="utf-8").splitlines()}
    held_out = [json.loads(line)["text"] for path in HELD_OUT for line in path.read_text(encoding="utf-8").splitlines()]
    assert [text for text in held_out if text.lower() in lines] == []


def test_training_twice_writes_the_same_bytes(tmp_path: Path) -> None:
    def trained(name: str) -> list[str]:
        out = tmp_path / name
        command = [sys.executable, "scripts/train_router.py", "--tiny", "--out", str(out)]
        subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        return [sha256((out / file).read_bytes()).hexdigest() for file in ("tasks.npz", "tasks.json")]

    assert trained("one") == trained("two")
