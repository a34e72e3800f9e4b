"""``models catalogue`` and ``models show`` for what is not stored here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nanolocal.cli.main import main


def told(tmp_path: Path, capsys: pytest.CaptureFixture[str], *args: str, code: int = 0) -> tuple[str, str]:
    assert main(["--home", str(tmp_path / "home"), "models", *args]) == code
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_the_whole_catalogue_fits_eighty_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = told(tmp_path, capsys, "catalogue")
    lines = out.splitlines()
    assert err == ""
    assert lines[0].split() == ["MODEL", "SIZE", "FOR", "CTX", "LICENCE"]
    assert len(lines) > 150
    assert max(len(line) for line in lines) <= 80
    assert sum(line.endswith("Apache-2.0") for line in lines) > 50
    assert not (tmp_path / "home").exists()


def test_words_and_a_kind_narrow_it_down(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = told(tmp_path, capsys, "catalogue", "flux", "non-commercial")
    rows = [line.split()[0] for line in out.splitlines()[1:]]
    assert "flux.1-dev" in rows
    assert "flux.1-schnell" not in rows
    out, _ = told(tmp_path, capsys, "catalogue", "--kind", "code", "--json")
    models = json.loads(out)["models"]
    assert len(models) >= 15
    assert all("code" in model["purposes"] for model in models)


def test_no_such_model_is_said_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(tmp_path, capsys, "catalogue", "no such model") == (
        "",
        "nanolocal: the catalogue has no such model\n",
    )
    _, err = told(tmp_path, capsys, "catalogue", "--kind", "poems", code=2)
    assert err.count("nanolocal: error: ") == 1


@pytest.mark.parametrize("name", ["llama-3.1-8b-instruct", "llama3.1:8b", "meta-llama/Llama-3.1-8B-Instruct"])
def test_a_model_that_is_not_stored_is_shown_from_the_catalogue(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    out, err = told(tmp_path, capsys, "show", name)
    assert "Llama 3.1 Community License, https://www.llama.com/llama3_1/license/" in out
    assert "Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf" in out
    assert "MMLU 69.4" in out
    assert err == "nanolocal: llama-3.1-8b-instruct is not stored here: these are the catalogue's facts\n"
    facts = json.loads(told(tmp_path, capsys, "show", name, "--json")[0])
    assert (facts["stored"], facts["parameters"], facts["context"]) == (False, 8_030_261_248, 131_072)
    assert "notes" not in facts and "active" not in facts


def test_what_is_stored_is_shown_as_it_is_stored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = told(tmp_path, capsys, "show", "nanolocal-starter-text")
    assert out.startswith("build ")
    assert err == ""


def test_a_name_that_nobody_knows_gets_one_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = told(tmp_path, capsys, "show", "no such model", code=2)
    assert out == ""
    assert "no build is called 'no such model'" in err
    assert "nanolocal models catalogue" in err


def test_listing_builds_does_not_read_the_catalogue(tmp_path: Path) -> None:
    program = (
        "import sys; from nanolocal.cli.main import main\n"
        f"assert main(['--home', {str(tmp_path / 'home')!r}, 'models', 'list']) == 0\n"
        "assert not [name for name in sys.modules if name.startswith('nanolocal.library.catalogue')]"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
