"""``models embed``: what comes out, in which form, what it costs, and what is refused."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from nanolocal.cli.main import main
from tests.fakes.tiny_bert import write_tiny_bert

BUILD = "bert:unknown"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    (home / "data" / "models").mkdir(parents=True)
    write_tiny_bert(home / "data" / "models" / "bert.gguf")
    return home


def embed(home: Path, *words: str) -> int:
    return main(["--home", str(home), "models", "embed", *words])


def test_each_form_holds_the_same_numbers(home: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    file = home / "lines.txt"
    file.write_text("the cat\na dog ran\n", encoding="utf-8")
    assert embed(home, str(file)) == 0
    rows = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    assert embed(home, "the cat", "a dog ran", "--json") == 0
    told = json.loads(capfdbinary.readouterr().out)
    assert embed(home, str(file), "--binary") == 0
    data = capfdbinary.readouterr().out
    numbers = np.array(struct.unpack(f"<{len(data) // 4}f", data)).reshape(2, -1)
    assert rows == told["embeddings"]
    assert np.array_equal(np.array(rows, np.float32), numbers.astype(np.float32))
    assert (told["model"], told["width"], told["stopped"]) == (BUILD, 64, "end")
    assert np.linalg.norm(numbers, axis=1) == pytest.approx(1.0, abs=1e-6)


def test_what_it_costs_is_charged_as_reading(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def used() -> tuple[int, int]:
        assert main(["--home", str(home), "credits", "usage", "--by", "model", "--json"]) == 0
        total = json.loads(capfd.readouterr().out)["total"]
        return total["prompt_tokens"], total["cost_micro"]

    before = used()
    assert embed(home, *(f"the cat {number}" for number in range(600)), "--json") == 0
    told = json.loads(capfd.readouterr().out)
    tokens, cost = used()
    assert len(told["embeddings"]) == 600
    assert tokens - before[0] == told["usage"]["prompt_tokens"] > 2400
    assert cost - before[1] == told["cost_micro"] > 0
    assert embed(home, "the cat", "the cat " * 400) == 2
    capfd.readouterr()
    assert used() == (tokens, cost)


def test_what_was_made_before_an_error_is_not_lost(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert embed(home, *(f"the cat {number}" for number in range(520)), "the cat " * 400, "--json") == 2
    told = capfd.readouterr()
    made = json.loads(told.out)
    assert (len(made["embeddings"]), made["stopped"]) == (512, "crash")
    assert made["cost_micro"] > 0 and "text 521 has 802 tokens" in told.err


def test_a_build_that_writes_text_does_with_a_note(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert embed(home, "hello", "--model", "nanolocal-starter-text") == 0
    told = capfd.readouterr()
    assert len(json.loads(told.out)) > 10
    assert "was not made for vectors" in told.err


def test_a_long_text_is_cut_when_that_is_wished(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert embed(home, "the cat " * 400, "--truncate", "--json") == 0
    told = capfd.readouterr()
    assert json.loads(told.out)["truncated"] == 1
    assert "1 of 1 texts were too long" in told.err


@pytest.mark.parametrize(
    ("wrong", "code", "named"),
    [
        (("one", ""), 2, "text 2 is empty"),
        (("--json", "--binary", "x"), 2, "two forms"),
        (("x", "--model", "nobody"), 2, "no build is called 'nobody'"),
        (("x", "--model", "nanolocal-starter-image"), 2, "draws pictures"),
        (("x", "the cat " * 400), 2, "text 2 has 802 tokens"),
        (("x", "--key", "a b"), 2, "no name to count under"),
    ],
)
def test_what_cannot_be_done(
    home: Path, capfd: pytest.CaptureFixture[str], wrong: tuple[str, ...], code: int, named: str
) -> None:
    assert embed(home, *wrong) == code
    told = capfd.readouterr()
    assert (told.out, told.err.count("nanolocal: error: ")) == ("", 1)
    assert named in told.err


def test_a_file_that_is_no_text_is_refused(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = home / "noise.bin"
    file.write_bytes(b"\xff\xfe\x00")
    assert embed(home, str(file)) == 2
    assert "is not UTF-8 text" in capfd.readouterr().err
