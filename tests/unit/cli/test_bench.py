"""``models bench`` refuses what it cannot do before anything runs."""

from pathlib import Path

import pytest

from nanolocal.cli.main import main

IMAGE = "nanolocal-starter-image:f16"


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (("--items", "5"), "go with --quality"),
        (("--task", "math"), "go with --quality"),
        (("--quality", "--items", "0"), "at least one question"),
        (("--quality", "--task", "falconry"), "no exam of 'falconry'"),
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
