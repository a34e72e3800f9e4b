import json
import random
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "train_starter_text.py"
STORY = "<|im_start|>user\nTell me a short story about a fox.<|im_end|>\n<|im_start|>assistant\n"
TEXTS = (STORY, "In 1984 she paid 12.50 for 3 pens.", "Grüße, 日本語 🦊🦊!", "a\tb\n\n  c", "don't  I'LL", "")
GREEDY = """
import json, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from starter_text.export import load
from starter_text.model import SHAPES
print(json.dumps(load(Path(sys.argv[2]), SHAPES["smoke"]).model().greedy(json.loads(sys.argv[3]), 2, 12)))
"""


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=280, check=False)


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `out` and `work` of a smoke run without any data folder."""
    folder = tmp_path_factory.mktemp("starter")
    done = run(SCRIPT, "--smoke", "--data", folder / "none", "--out", folder / "out", "--work", folder / "work")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_smoke_build_reads_and_writes_as_the_trained_model(smoke: Path) -> None:
    from llama_cpp import Llama
    from tokenizers import Tokenizer

    llama = Llama(str(smoke / "work/nanolocal-starter-text-F16.gguf"), n_ctx=256, n_threads=1, verbose=False)
    tokenizer = Tokenizer.from_file(str(smoke / "work/tokenizer.json"))
    for text in TEXTS:
        assert llama.tokenize(text.encode(), add_bos=False, special=True) == tokenizer.encode(text).ids
    ids = tokenizer.encode(STORY).ids
    written: list[int] = []
    for token in llama.generate(ids, temp=0.0, repeat_penalty=1.0):
        if token == llama.token_eos() or len(written) == 12:
            break
        written.append(token)
    expected = run("-c", GREEDY, SCRIPT.parent, smoke / "work", json.dumps(ids))
    assert written == json.loads(expected.stdout)


@pytest.mark.slow
def test_export_is_the_same_each_time_and_its_card_fits(smoke: Path) -> None:
    from llama_cpp import Llama

    build = smoke / "out/nanolocal-starter-text-Q8_0.gguf"
    before = {path.name: path.read_bytes() for path in build.parent.iterdir()}
    again = run(SCRIPT, "--smoke", "--export-only", "--out", smoke / "out", "--work", smoke / "work")
    assert again.returncode == 0, again.stderr
    assert {path.name: path.read_bytes() for path in build.parent.iterdir()} == before
    card = json.loads(before["card.json"])
    assert card["files"][0]["sha256"] == sha256(before[build.name]).hexdigest()
    metadata = Llama(str(build), n_ctx=64, n_threads=1, verbose=False).metadata
    assert metadata["llama.context_length"] == str(card["context"])
    assert metadata["general.license"] == "apache-2.0"


def test_generated_text_has_no_open_gaps_and_keeps_to_its_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    from starter_text.chat import mixed_chat
    from starter_text.stories import story_chat

    rng = random.Random(5)
    for subject in ("fox", "queen", "lighthouse"):
        for _ in range(300):
            prompt, story = story_chat(rng, subject)[0]
            assert subject in story.lower()
            assert "{" not in prompt + story
    for _ in range(3000):
        for question, answer in mixed_chat(rng):
            assert question.strip() == question != ""
            assert answer.strip() == answer != ""
            assert "{" not in question + answer


def test_a_checkpoint_is_not_overwritten_unasked(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"hours of work")
    refused = run(SCRIPT, "--work", tmp_path, "--out", tmp_path / "out", "--minutes", "0.01")
    assert refused.returncode == 2
    assert "holds a checkpoint" in refused.stderr
    assert (tmp_path / "checkpoint.pt").read_bytes() == b"hours of work"


def test_export_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    refused = run(SCRIPT, "--export-only", "--work", tmp_path, "--out", tmp_path / "out")
    assert refused.returncode == 2
    assert "no checkpoint" in refused.stderr
