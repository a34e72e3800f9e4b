"""Bad input to ``credits prices`` and ``credits savings``: one clear error, exit code 2, nothing written."""

from pathlib import Path

import pytest

from nanolocal import bootstrap
from nanolocal.cli.main import main
from nanolocal.paths import Paths

TEXT = "nanolocal-starter-text:Q8_0"


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ((TEXT, "--prompt", "-1"), "'-1' is not an amount"),
        ((TEXT, "--prompt", "nan"), "'nan' is not an amount"),
        ((TEXT, "--prompt", ""), "'' is not an amount"),
        ((TEXT, "--completion", "9223372036854775808"), "is not an amount"),
        ((TEXT, "--load", "0.1234567"), "'0.1234567' is not an amount"),
        ((TEXT, "--load", "1e3"), "'1e3' is not an amount"),
        ((TEXT, "--like", "gpt-9"), "no list price is called 'gpt-9'"),
        ((TEXT, "--like", "flux.1-dev"), "a price for pictures"),
        ((TEXT, "--prompt", "1", "--electricity"), "your own amounts"),
        ((TEXT, "--prompt", "1", "--list"), "your own amounts"),
        ((TEXT, "--like", "gpt-5", "--measure"), "not allowed with"),
        (("no such build", "--electricity"), "no build is called 'no such build'"),
        (("no such build",), "no build is called 'no such build'"),
        (("--prompt", "1"), "say which build"),
        (("--measure",), "say which build"),
    ],
)
def test_a_price_that_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: tuple[str, ...], named: str
) -> None:
    assert main(["--home", str(tmp_path / "home"), "credits", "prices", *wrong]) == 2
    told = capsys.readouterr()
    assert (told.out, told.err.count("nanolocal: error: ")) == ("", 1)
    assert named in told.err
    paths = Paths.choose(tmp_path / "home")
    if paths.vault.exists():
        vault = bootstrap.open_vault(paths, None)
        assert vault.database.execute("SELECT 1 FROM entry WHERE kind = 'price'") == []
        vault.close()


@pytest.mark.parametrize("wrong", [("--since", "yesterday"), ("--since", "2026-02-30"), ("--like", "gpt-9")])
def test_savings_since_no_day_or_at_no_price(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: tuple[str, str]
) -> None:
    assert main(["--home", str(tmp_path / "home"), "credits", "savings", *wrong]) == 2
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "home").exists()
