"""Pictures that are attached, through the whole program, with a tiny build of random weights that can see."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.e2e.conftest import Program
from tests.e2e.terminal import NANOLOCAL, Terminal
from tests.fakes.tiny_gguf import write_tiny_gguf
from tests.fakes.tiny_projector import write_tiny_projector

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def looker(program: Program) -> Path:
    """Its folder."""
    folder = program.home / "data" / "models" / "see"
    folder.mkdir(parents=True)
    (program.home / "data").chmod(0o700)
    write_tiny_gguf(folder / "looker-F32.gguf", layers=2)
    write_tiny_projector(folder / "mmproj-looker-F32.gguf")
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> dict[str, str]:
    paths = {colour: tmp_path / f"{colour}.png" for colour in ("red", "blue")}
    for colour, path in paths.items():
        Image.new("RGB", (64, 48), colour).save(path)
    return {colour: str(path) for colour, path in paths.items()}


def ask(program: Program, *args: str) -> dict[str, object]:
    done = program("ask", "what is this", "--json", "--temperature", "0", "--max-tokens", "24", *args)
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_the_answer_follows_from_the_picture_which_is_counted_and_paid(
    program: Program, pictures: dict[str, str]
) -> None:
    red, blue, again = (ask(program, "--attach", pictures[colour]) for colour in ("red", "blue", "red"))
    assert red["build"] == "looker:F32"
    assert red["text"] == again["text"] != blue["text"]
    blind = ask(program, "--model", "looker")
    tokens = [answer["usage"]["prompt_tokens"] for answer in (red, blind)]  # type: ignore[index]
    assert tokens[0] == tokens[1] + 16
    second = ask(program, "--chat", str(red["chat_id"]), "--model", "looker")
    assert second["usage"]["prompt_tokens"] > tokens[0] + 16  # type: ignore[index]
    assert not second.get("remarks")


def test_a_bad_picture_or_projector_is_one_error_and_costs_nothing(
    program: Program, pictures: dict[str, str], looker: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(Path(pictures["red"]).read_bytes()[:50])
    failed = program("ask", "what", "--attach", str(bad))
    assert (failed.returncode, failed.stdout) == (2, "")
    assert "nanolocal: error: the picture cannot be read" in failed.stderr
    write_tiny_projector(looker / "mmproj-looker-F32.gguf", embedding=64)
    failed = program("ask", "what", "--attach", pictures["red"])
    assert failed.stdout == ""
    assert "mismatch between text model" in failed.stderr
    assert json.loads(program("credits", "balance", "--json").stdout)["balance_micro"] == 100_000


@pytest.fixture
def app(program: Program) -> Iterator[Terminal]:
    terminal = Terminal(program.home, program=NANOLOCAL)
    yield terminal
    terminal.close()


def test_the_app_shows_a_picture_to_the_model(program: Program, app: Terminal, pictures: dict[str, str]) -> None:
    app.wait_for("Welcome to nanolocal")
    app.type("\r")
    app.wait_for("This machine")
    app.type("\r")
    app.wait_for("fox")
    app.type("\x15" * 3)
    app.wait_for(lambda shown: "fox" not in shown)
    app.type(f"/attach {pictures['red']}\r")
    app.wait_for("red.png")
    app.type("what is this")
    app.wait_for("what is this")
    app.type("\r")
    app.wait_for(lambda shown: bool(re.search(r"looker.*\d+ tok", shown, re.IGNORECASE | re.DOTALL)))
    chats = json.loads(program("chats", "list", "--json").stdout)["chats"]
    messages = json.loads(program("chats", "show", chats[0]["id"], "--json").stdout)["messages"]
    assert messages[0]["attachments"] == ["red.png"]
