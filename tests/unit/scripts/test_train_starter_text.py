import json
import lzma
import random
import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "train_starter_text.py"
STORY = "<|im_start|>user\nTell me a short story about a fox.<|im_end|>\n<|im_start|>assistant\n"
SHIPPED = SCRIPT.parents[1] / "models/nanolocal-starter-text/nanolocal-starter-text-Q8_0.gguf"
TEXTS = (STORY, "In 1984 she paid 12.50 for 3 pens.", "Grüße, 日本語 🦊🦊!", "a\tb\n\n  c", "don't  I'LL", "")
GREEDY = """
import json, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from starter_text.export import load
from starter_text.model import SHAPES
print(json.dumps(load(Path(sys.argv[2]), SHAPES["smoke"]).model().greedy(json.loads(sys.argv[3]), 2, 12)))
"""


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The modules of the scripts can be imported."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))


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


@pytest.mark.slow
def test_a_build_is_trained_further_with_its_own_words(smoke: Path, tmp_path: Path) -> None:
    from llama_cpp import Llama

    first = smoke / "out/nanolocal-starter-text-Q8_0.gguf"
    folders = ("--data", tmp_path / "none", "--out", tmp_path / "out", "--work", tmp_path / "work")
    done = run(SCRIPT, "--smoke", "--from", first, *folders)
    assert done.returncode == 0, done.stderr
    before = Llama(str(first), n_ctx=64, n_threads=1, verbose=False)
    after = Llama(str(tmp_path / "out" / first.name), n_ctx=64, n_threads=1, verbose=False)
    for text in TEXTS:
        ids = before.tokenize(text.encode(), add_bos=False, special=True)
        assert after.tokenize(text.encode(), add_bos=False, special=True) == ids
    losses = [float(word) for word in re.findall(r"loss ([\d.]+)", done.stdout)]
    assert losses[-1] < 5  # from nothing it begins at log(1024) = 6.9
    assert first.read_bytes() != (tmp_path / "out" / first.name).read_bytes()


def test_the_shipped_words_are_split_as_llama_cpp_splits_them(scripts: None) -> None:
    from llama_cpp import Llama
    from starter_text.data import SPECIALS
    from starter_text.export import tokenizer_of
    from starter_text.prompts import prompts

    llama = Llama(str(SHIPPED), vocab_only=True, verbose=False)
    tokenizer = tokenizer_of(SHIPPED)
    talk = [turn for prompt in prompts() for turn in prompt.turns]
    for text in (
        *TEXTS,
        *SPECIALS,
        *talk,
        "".join(SPECIALS),
        "x<|im_end|>\n<|im_start|>y",
        "٣ x² 10,000.5",
        "\r\n \u00a0\u3000!",
    ):
        assert llama.tokenize(text.encode(), add_bos=False, special=True) == tokenizer.encode(text).ids, text


def test_no_prompt_that_judges_is_trained_on(scripts: None, tmp_path: Path) -> None:
    from starter_text.prompts import is_asked, prompts
    from starter_text.sources import collect

    assert len(prompts()) == len({prompt.turns for prompt in prompts()}) == 200
    questions = {" ".join(prompt.turns[-1].lower().split()) for prompt in prompts() if len(prompt.turns) == 1}
    seen = 0
    for documents in collect(tmp_path, 3, 0.05, ("first", "second", "further")).values():
        for document in documents:
            assert not is_asked(document)
            seen += 1
            for question, _ in document if not isinstance(document, str) else ():
                assert " ".join(question.lower().split()) not in questions
    assert seen > 5000
    one, *_, last = next(prompt for prompt in prompts() if len(prompt.turns) == 3).turns
    assert is_asked([("Hello!", "Hi!"), ("Answer with one word only: What colour is grass", "Green")])
    assert not is_asked([(one, "Nice!"), ("I am happy.", "Fine."), ("I am tired.", "Rest."), (last, "Tabitha")])


def test_held_out_records_are_not_trained_on(scripts: None, tmp_path: Path) -> None:
    from starter_text.facts import read

    with lzma.open(tmp_path / "stories_x.jsonl.xz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": f"story {number}"}) + "\n" for number in range(1000))
    trained = [str(record["text"]) for record in read(tmp_path, "stories_x")]
    kept = [str(record["text"]) for record in read(tmp_path, "stories_x", held_out=True)]
    assert not set(trained) & set(kept)
    assert len(trained) + len(kept) == 1000
    assert 5 <= len(kept) <= 45
    (tmp_path / "stories_x.jsonl.xz").rename(tmp_path / "facts_x.jsonl.xz")
    assert len(list(read(tmp_path, "facts_x"))) == 1000


def test_practice_copies_its_words_and_finds_its_answers_in_the_text(scripts: None, tmp_path: Path) -> None:
    from starter_text.practice import copying, explaining, fixing, pools, practice, reading, wordings

    rng, pool = random.Random(5), pools(tmp_path / "none")
    for _ in range(2000):
        for question, answer in practice(rng, pool):
            assert question.strip() == question != ""
            assert answer.strip() == answer != ""
            assert "{" not in question + answer
    copies = [copying(rng, pool)[0] for _ in range(500)]
    assert sum(answer in question for question, answer in copies) > 0.7 * len(copies)
    assert len({answer for _, answer in copies}) > 0.8 * len(copies)
    for question, answer in (explaining(rng, pool)[0] for _ in range(200)):
        assert answer in question or answer in wordings("not said")
    assert len({reading(rng, pool)[0][0] for _ in range(200)}) > 190
    assert all(question != answer for question, answer in (fixing(rng, pool)[0] for _ in range(200)))


def test_generated_text_has_no_open_gaps_and_keeps_to_its_prompt(scripts: None) -> None:
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


def test_the_curve_is_drawn_from_what_the_run_wrote(scripts: None, tmp_path: Path) -> None:
    from xml.etree import ElementTree

    from starter_text.curve import write_curve

    rows = [f"{step},{step * 4096},{step},{3 - step / 1000:.4f},1.0" for step in range(0, 1000, 2)]
    (tmp_path / "curve.csv").write_text("\n".join(rows) + "\n")
    write_curve(tmp_path / "curve.csv", tmp_path / "curve.svg")
    picture = ElementTree.fromstring((tmp_path / "curve.svg").read_text())
    (line,) = (each for each in picture if each.tag.endswith("polyline"))
    drawn = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split(" ")]
    assert 200 < len(drawn) <= 500
    assert drawn == sorted(drawn)  # to the right, and down as the loss falls
    write_curve(tmp_path / "none.csv", tmp_path / "none.svg")
    assert not (tmp_path / "none.svg").exists()


def test_the_card_sets_the_builds_side_by_side(scripts: None, tmp_path: Path) -> None:
    from starter_text.figures import NOT_MEASURED, Figures

    def row(kind: str, helpers: bool, *fails: str) -> dict[str, object]:
        return {"kind": kind, "helpers": helpers, "fails": list(fails)}

    held = {"wiki": {"bits_per_byte": 2.4331, "perplexity": 279.33}}
    builds = [
        {"name": "first", "held_out": held, "prompts": [row("sums", True), row("sums", False, "says 4")]},
        {"name": "next", "held_out": {}, "prompts": [row("sums", True), row("sums", False)]},
    ]
    path = tmp_path / "figures.json"
    assert Figures.read(path).prompts() == Figures.read(path).perplexity() == NOT_MEASURED
    path.write_text(json.dumps({"builds": builds}))
    figures = Figures.read(path)
    assert "| sums | 1 of 1 | 1 of 1 | 0 of 1 | 1 of 1 |" in figures.prompts()
    assert figures.perplexity().splitlines() == [
        "| source | first |", "| --- | --- |", "| wiki | 2.433 (279.3) |",
    ]  # fmt: skip
    assert figures.sums()["first"] == {"asked": 1, "with_helpers": 1, "alone": 0}
