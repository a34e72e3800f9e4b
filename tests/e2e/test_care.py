"""A build that fails, a licence before the first answer, and what other programs of the terminal see of both."""

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import Program
from tests.fakes.small_models import write_ending
from tests.fakes.tiny_gguf import write_tiny_gguf
from tests.fakes.tiny_pipeline import write_tiny_pipeline

pytestmark = pytest.mark.slow

FIRST_TIME = "answers for the first time. "


def own(program: Program, name: str, quality: float) -> Path:
    """A folder for a build of nanolocal's own; the build is ``name``."""
    folder = program.home / "data" / "models" / name
    folder.mkdir(parents=True)
    (program.home / "data").chmod(0o700)
    card = {"id": name, "name": name.title(), "licence": "cc-by-nc-4.0", "quality": {"*": quality}}
    (folder / "card.json").write_text(json.dumps(card))
    return folder


def test_after_two_failures_another_build_answers_and_route_says_why(program: Program) -> None:
    write_ending(own(program, "broken", 0.99) / "broken-F32.gguf")
    write_tiny_gguf(own(program, "sound", 0.5) / "sound-F32.gguf", answer="helo wrd!")
    balance = json.loads(program("credits", "balance", "--json").stdout)["balance_micro"]
    for hint in ("hint: try again", "hint: it is set aside now; nanolocal models verify broken:F32"):
        failed = program("ask", "hello", "--model", "broken")
        assert (failed.returncode, failed.stdout) == (1, "")
        assert "SIGABRT" in failed.stderr and hint in failed.stderr
    assert json.loads(program("credits", "balance", "--json").stdout)["balance_micro"] == balance
    third = program("ask", "hello")
    assert (third.returncode, third.stdout) == (0, "helo wrd!\n")
    told = program("route", "hello").stdout
    assert "broken:F32  health  it failed 2 times in a row" in told
    assert program("models", "release", "broken").returncode == 0
    instead = program("ask", "hello")
    assert (instead.returncode, instead.stdout) == (0, "helo wrd!\n")
    assert "broken:F32 could not answer" in instead.stderr


def test_a_licence_is_told_once_on_stderr_and_never_disturbs_a_pipe(program: Program) -> None:
    write_tiny_gguf(own(program, "sound", 0.9) / "sound-F32.gguf", answer="helo wrd!")
    quiet = program("ask", "hello", "--quiet")
    assert (quiet.stdout, quiet.stderr) == ("helo wrd!\n", "")
    first = program("ask", "hello")
    assert first.stdout == "helo wrd!\n"
    assert first.stderr == f"nanolocal: Sound {FIRST_TIME}Licence: cc-by-nc-4.0 (not for commercial use)\n"
    assert program("ask", "hello").stderr == ""


def test_the_licence_is_a_field_of_the_json(program: Program) -> None:
    write_tiny_gguf(own(program, "sound", 0.9) / "sound-F32.gguf", answer="helo wrd!")
    first = program("ask", "hello", "--json")
    assert FIRST_TIME in json.loads(first.stdout)["licence"]
    assert first.stderr == ""
    assert json.loads(program("ask", "hello", "--json").stdout)["licence"] is None


def test_the_starter_builds_show_none(program: Program) -> None:
    assert program("ask", "hello", "--max-tokens", "3").stderr == ""


def test_a_picture_model_that_the_catalogue_knows_tells_its_limit(program: Program, tmp_path: Path) -> None:
    write_tiny_pipeline(program.home / "data" / "models" / "sdxl-turbo")
    (program.home / "data").chmod(0o700)
    drawn = program(
        "image", "a fox", "--model", "sdxl-turbo", "--out", str(tmp_path / "f.png"), "--steps", "1", "--size", "64x64"
    )
    assert drawn.returncode == 0, drawn.stderr
    assert f"SDXL-Turbo {FIRST_TIME}Licence: sai-nc-community (not for commercial use), https://" in drawn.stderr


def test_in_line_mode_the_licence_stands_before_the_answer(program: Program) -> None:
    write_tiny_gguf(own(program, "sound", 0.9) / "sound-F32.gguf", answer="helo wrd!")
    said = program("chat", text="hello\n").stdout
    assert said.startswith("Assistant: (Sound answers for the first time.")
    assert said.rstrip().endswith("Assistant: helo wrd!")
