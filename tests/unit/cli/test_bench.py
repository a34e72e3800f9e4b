"""``models bench`` refuses what it cannot do before anything runs."""

import json
from pathlib import Path

import pytest

from nanolocal.cli.main import main
from tests.fakes.tiny_gguf import write_tiny_gguf

IMAGE = "nanolocal-starter-image:f16"


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (("--items", "5"), "go with --quality"),
        (("--task", "math"), "go with --quality"),
        (("--quality", "--items", "0"), "at least one question"),
        (("--quality", "--task", "falconry"), "no exam of 'falconry'"),
        (("--quality", "--tune"), "three things to do"),
        (("nobody",), "no build is called 'nobody'"),
        ((IMAGE, "--quality"), "writes no text"),
    ],
)
def test_what_cannot_be_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: tuple[str, ...], named: str
) -> None:
    assert main(["--home", str(tmp_path / "home"), "models", "bench", *wrong]) == 2
    told = capsys.readouterr()
    assert (told.out, told.err.count("nanolocal: error: ")) == ("", 1)
    assert named in told.err


def test_a_build_is_tuned_shown_and_run_as_usual_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    home = ["--home", str(tmp_path)]
    (tmp_path / "data" / "models").mkdir(parents=True)
    write_tiny_gguf(tmp_path / "data" / "models" / "tiny.gguf")
    assert main([*home, "models", "bench", "--tune", "tiny", "--json"]) == 0
    (found,) = json.loads(capfd.readouterr().out)["builds"]
    assert [tried["what"] for tried in found["tried"]][-1] == "weights in memory of its own"
    assert (found["gain"] == 1.0) == (not any(found["tuning"][name] for name in ("threads", "batch", "flash")))
    assert main([*home, "models", "show", "tiny"]) == 0
    assert "tuned" in capfd.readouterr().out
    assert main([*home, "models", "bench", "tiny"]) == 0
    assert "--tune looks for" not in capfd.readouterr().err
    assert main([*home, "models", "bench", "--usual", "tiny"]) == 0
    assert "runs as usual again: tiny" in capfd.readouterr().out
    assert main([*home, "models", "bench", "--usual", "tiny"]) == 0
    assert "nothing was tuned" in capfd.readouterr().out
