import json
import lzma
import math
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "eval_starter_text.py"
SHIPPED = SCRIPT.parents[1] / "models/nanolocal-starter-text/nanolocal-starter-text-Q8_0.gguf"


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of stories and chats, a few of them held out."""
    folder = tmp_path_factory.mktemp("data")
    stories: list[dict[str, object]] = [
        {"text": f"The fox went to the river {number} times. It was cold."} for number in range(200)
    ]
    chats: list[dict[str, object]] = [
        {"messages": [{"role": "user", "content": f"Say {number}."}, {"role": "assistant", "content": "The fox sat."}]}
        for number in range(200)
    ]
    for name, records in (("stories_x", stories), ("chat_x", chats), ("facts_x", chats)):
        with lzma.open(folder / f"{name}.jsonl.xz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)
    return folder


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *words], capture_output=True, text=True, timeout=280, check=False)


def test_held_out_text_is_scored_as_torch_scores_it(data: Path) -> None:
    import torch
    from eval_starter_text import Meter, held_out, perplexities
    from starter_text.export import tokenizer_of, weights_of
    from starter_text.model import SHAPES, Llama

    found = perplexities([SHIPPED], data, 1000)
    assert set(found) == {"stories_x", "chat_x"}
    model, tokenizer = Llama(SHAPES["small"]), tokenizer_of(SHIPPED)
    model.load_state_dict(weights_of(SHIPPED))
    (text, _), *_ = held_out(data, "stories_x")[0]
    ids = [0, *tokenizer.encode(text).ids]
    with torch.no_grad():
        loss = float(model.eval().loss(torch.tensor([ids[:-1]]), torch.tensor([ids[1:]])))
    meter = Meter(SHIPPED)
    one = meter.score([(text, True)])
    meter.close()
    assert one.tokens == len(ids) - 1
    assert one.nats / one.tokens == pytest.approx(loss, rel=0.02)
    assert one.bits_per_byte == pytest.approx(one.nats / math.log(2) / len(text.encode()))
    records = held_out(data, "chat_x")
    assert found["chat_x"][0].bytes == len("The fox sat.") * len(records)  # the answers alone


@pytest.mark.slow
def test_without_data_it_says_so_and_asks_the_prompts_through_the_application(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    done = run(SHIPPED, "--data", tmp_path / "none", "--kind", "units", "--kind", "memory", "--json", figures)
    assert done.returncode == 0, done.stderr
    assert "no held-out text" in done.stdout
    (build,) = json.loads(figures.read_text())["builds"]
    asked = build["prompts"]
    assert len(asked) == 40
    units = [one for one in asked if one["kind"] == "units"]
    assert all(one["told"] and not one["fails"] for one in units if one["helpers"])
    assert not any(one["told"] for one in asked if not one["helpers"])
    again = run(SHIPPED, "--data", tmp_path / "none", "--only", "perplexity", "--against", figures)
    assert again.returncode == 0, again.stderr
    assert "with helpers" in again.stdout


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    refused = run(tmp_path / "no.gguf")
    assert refused.returncode == 2
    assert "there is no file" in refused.stderr


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        ("says ice / snow", "A glacier is ice.", "It is nice."),
        ("says mathematic*", "A mathematician.", "A path."),
        ("says large", "It is large.", "Ask a larger model."),
        ("all shark / clown", "The shark met a clown.", "The shark slept."),
        ("lacks Marco", "Elif owns it.", "Marco owns it."),
        ("has Ag", "The symbol is Ag.", "It is ag."),
        ("is yes", '"Yes."', "Yes, I do."),
        ("exact I have two dogs", "I have two dogs.", "i have two dogs"),
        ("starts well", "Well, I am fine.", "I am well."),
        ("ends the end.", "He slept. The end.", "The end. He slept."),
        ("count 3 apple", "apple apple apple", "apple apple"),
        ("words 1-5", "Good night, dear friend!", "Good night, my very dear friend!"),
        ("sentences 2-2", "It is old. It is big.", "It is old."),
        ("lines 2-2", "one\n\ntwo", "one"),
        ("items 3 colour", "1. Red\n2. Blue\n3. Green", "Red, blue and table."),
        ("items 3 colour", "Red, blue and green.", "Red, red and green."),
        ("items 2 fruit", "Apples and cherries", "Apples"),
        ("english", "I do not know that.", "Guten Tag, mein Freund, wie geht es"),
        ("steady", "The fox ran. The hen slept.", "The fox ran away. The hen slept. The fox ran away."),
        ("honest", "I cannot know that.", "It will rain."),
        ("honest or says doctor", "Ask a doctor.", "Take two."),
        ("matches \\d{3},\\d{3}", "It is 364,036.", "It is 36."),
    ],
)
def test_a_check_tells_good_answers_from_bad_ones(check: str, good: str, bad: str) -> None:
    from starter_text.judging import holds

    assert holds(check, good)
    assert not holds(check, bad)


def test_every_check_of_the_prompts_is_one_that_is_known() -> None:
    from starter_text.judging import RULES, failed
    from starter_text.prompts import prompts, things

    for prompt in prompts():
        for check in prompt.checks:
            for one in check.split(" or "):
                assert one.split(" ")[0] in RULES, one
                if one.startswith("items ") and len(one.split(" ")) > 2:
                    assert len(things(one.split(" ")[2])) >= 2
        assert failed(prompt, "", True) == ["says something"]
        assert "ends by itself" in failed(prompt, "x", False)
