"""``nanolocal compress``: what is refused, the plan, and what is said of runs and builds."""

import json
from pathlib import Path

import pytest

from nanolocal.cli.main import main
from nanolocal.compress import workspace
from tests.fakes.tiny_gguf import write_tiny_gguf


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "data/models/tiny"
    folder.mkdir(parents=True)
    write_tiny_gguf(folder / "tiny-F32.gguf", n_ctx=64)
    return tmp_path


def run(home: Path, *words: str) -> int:
    return main(["--home", str(home), "compress", *words])


@pytest.mark.parametrize(("words", "code", "says"), [
    (("nothing-like-it",), 2, "no build is called"),
    (("tiny:F32", "--target", "soon"), 2, "write it as 2.4GB, bpw=4.5 or ram=6GB"),
    (("tiny:F32", "--target", "10kB"), 2, "is the least for this model"),
    (("tiny:F32", "--target", "90GB"), 2, "is no less"),
    (("tiny:F32", "--max-kld", "none"), 2, "is no KL divergence"),
    (("tiny:F32", "--min-speed", "900000"), 4, "--min-speed"),
    (("tiny:F32", "--time", "0s"), 2, "is no time"),
    (("tiny:F32", "--calibrate", "/no/such/file"), 2, "cannot be read"),
    (("tiny:F32", "--calibrate", "chats", "--calibrate", "x.txt"), 2, "are not mixed"),
    (("tiny:F32", "--recipe", "/no/such/file"), 2, "holds no recipe"),
    (("tiny:F32", "--tls-key", "key.pem"), 2, "--scheduler"),
    (("tiny:F32", "other"), 2, "one build at a time"),
    (("nanolocal-starter-text",), 2, "--requantize"),
    (("compare", "tiny:F32"), 2, "two builds"),
    (("export", "tiny:F32"), 2, "--to"),
    (("discard", "tiny:F32"), 2, "no unfinished run"),
])  # fmt: skip
def test_refusals_come_before_any_work(
    home: Path, capfd: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, says: str
) -> None:
    assert run(home, *words) == code
    told = capfd.readouterr()
    assert says in told.err
    assert told.err.startswith("nanolocal: error: ")
    assert not (home / "data/models/.compressing").exists()


def test_a_broken_build_is_refused_as_damaged(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = home / "data/models/tiny/tiny-F32.gguf"
    path.write_bytes(path.read_bytes()[:5000])
    assert run(home, "tiny:F32") == 6
    assert "is not a usable GGUF file" in capfd.readouterr().err


def test_the_plan_tells_sizes_and_writes_nothing(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = sorted(home.rglob("*.gguf"))
    assert run(home, "tiny:F32", "--plan", "--json") == 0
    plan = json.loads(capfd.readouterr().out)
    assert plan["build"] == "tiny:F32"
    assert plan["least"] <= plan["most"] < plan["source_bytes"]
    assert run(home, "tiny:F32", "--plan", "--target", "500kB") == 0
    told = capfd.readouterr().out
    assert "asked for: 500 kB" in told
    assert all(len(line) <= 80 for line in told.splitlines())
    assert sorted(home.rglob("*.gguf")) == before
    assert not (home / "data/models/.compressing").exists()


def test_unfinished_runs_are_listed_and_can_be_discarded(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with workspace.opened(home / "data/models", "abc", "tiny:F32", "nanolocal compress tiny:F32 --target 1MB"):
        pass
    assert run(home, "list") == 0
    assert "nanolocal compress tiny:F32 --target 1MB" in capfd.readouterr().out
    assert run(home, "discard", "tiny") == 0
    assert run(home, "list") == 0
    assert "no run was left unfinished" in capfd.readouterr().out


def test_two_builds_are_compared_by_their_cards(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = home / "data/models/small"
    folder.mkdir()
    path = write_tiny_gguf(folder / "small-Q4_LAB.gguf", n_ctx=64, seed=2)
    report = {"file": path.name, "accuracy": {"mean": 0.0123, "error": 0.001}, "retained": {"share": 0.97}}
    (folder / "card.json").write_text(json.dumps({"compressed": report}))
    assert run(home, "compare", "small", "tiny:F32") == 0
    told = capfd.readouterr()
    assert "KL 0.0123 ± 0.001" in told.out
    assert "97.0% of the quality" in told.out
    assert "tiny:F32 was not made by the lab" in told.err
    assert run(home, "compare", "small", "tiny:F32", "--json") == 0
    first, second = json.loads(capfd.readouterr().out)["builds"]
    assert (first["report"]["retained"]["share"], second["report"]) == (0.97, {})


def test_a_hostile_card_is_data(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = home / "data/models/small"
    folder.mkdir()
    path = write_tiny_gguf(folder / "small-Q4_LAB.gguf", n_ctx=64, seed=3)
    report = {
        "file": path.name, "by": "\x1b]0;evil\x07", "made": 5, "accuracy": [1], "speed": {"write_tok_s": True},
        "retained": {"share": 7}, "candidates": [{"kld": "x"}, 3], "requantized": {"note": "\x1b[2J" * 900},
    }  # fmt: skip
    (folder / "card.json").write_text(json.dumps({"compressed": report}))
    assert main(["--home", str(home), "models", "show", "small"]) == 0
    assert "\x1b" not in capfd.readouterr().out
