"""Pictures and sounds that are attached, through the whole program, with a tiny build of random weights."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.e2e.conftest import Program
from tests.e2e.terminal import NANOLOCAL, Terminal
from tests.fakes.sounds import wav
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
    write_tiny_projector(folder / "mmproj-looker-F32.gguf", ears="ultravox", seed=5)
    (folder / "card.json").write_text(json.dumps({"quality": {"*": 0.5}}))
    return folder


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    paths = {name: tmp_path / name for name in ("red.png", "blue.png", "low.wav", "high.wav")}
    for colour in ("red", "blue"):
        Image.new("RGB", (64, 48), colour).save(paths[f"{colour}.png"])
    paths["low.wav"].write_bytes(wav(300, 7.0))
    paths["high.wav"].write_bytes(wav(2_000, 7.0))
    return {name: str(path) for name, path in paths.items()}


def ask(program: Program, *args: str) -> dict[str, object]:
    done = program("ask", "what is this", "--json", "--temperature", "0", "--max-tokens", "24", *args)
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize(
    ("one", "other", "becomes"), [("red.png", "blue.png", 16), ("low.wav", "high.wav", 150)], ids=["picture", "sound"]
)
def test_the_answer_follows_from_the_file_which_is_counted_and_paid(
    program: Program, files: dict[str, str], one: str, other: str, becomes: int
) -> None:
    first, second, again = (ask(program, "--attach", files[name]) for name in (one, other, one))
    assert first["build"] == "looker:F32"
    assert first["text"] == again["text"] != second["text"]
    alone = ask(program, "--model", "looker")
    tokens = [answer["usage"]["prompt_tokens"] for answer in (first, alone)]  # type: ignore[index]
    assert tokens[0] == tokens[1] + becomes
    later = ask(program, "--chat", str(first["chat_id"]), "--model", "looker")
    assert later["usage"]["prompt_tokens"] > tokens[0] + 24  # type: ignore[index]
    assert not later.get("remarks")


def test_a_sound_is_kept_and_exported_with_the_conversation(
    program: Program, files: dict[str, str], tmp_path: Path
) -> None:
    chat_id = str(ask(program, "--attach", files["low.wav"])["chat_id"])
    shown = json.loads(program("chats", "show", chat_id, "--json").stdout)["messages"]
    assert shown[0]["attachments"] == ["low.wav"]
    assert program("chats", "export", "--out", str(tmp_path / "out")).returncode == 0
    (written,) = (tmp_path / "out").rglob("*.wav")
    assert written.read_bytes() == Path(files["low.wav"]).read_bytes()


def test_a_sound_that_nobody_can_listen_to_is_refused_with_the_next_command(
    program: Program, files: dict[str, str], looker: Path
) -> None:
    write_tiny_projector(looker / "mmproj-looker-F32.gguf")
    refused = program("ask", "what is said?", "--attach", files["low.wav"])
    assert (refused.returncode, refused.stdout) == (4, "")
    assert "nanolocal: error: no stored build can listen to sounds" in refused.stderr
    assert "hint: nanolocal models catalogue --kind audio" in refused.stderr
    listed = program("models", "catalogue", "--kind", "audio", "--json")
    assert json.loads(listed.stdout)["models"]


def test_a_drawn_picture_is_looked_at_by_the_build_that_sees(program: Program, tmp_path: Path) -> None:
    drawn = program("image", "a red circle", "--steps", "2", "--seed", "3", "--out", str(tmp_path / "a.png"), "--json")
    chat_id = json.loads(drawn.stdout)["chat_id"]
    looked = program("ask", "what is in it?", "--chat", chat_id, "--json", "--temperature", "0", "--max-tokens", "8")
    assert looked.returncode == 0, looked.stderr
    answer = json.loads(looked.stdout)
    assert (answer["build"], answer["remarks"]) == ("looker:F32", [])
    assert "about the picture before it" in answer["route"]["reasons"][0]
    shown = json.loads(program("chats", "show", chat_id, "--json").stdout)["messages"]
    assert shown[-1]["route"]["looks"] is True
    again = program("ask", "how many circles?", "--chat", chat_id, "--json", "--temperature", "0", "--max-tokens", "8")
    assert json.loads(again.stdout)["usage"]["prompt_tokens"] > answer["usage"]["prompt_tokens"]


def test_a_bad_picture_or_projector_is_one_error_and_costs_nothing(
    program: Program, files: dict[str, str], looker: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(Path(files["red.png"]).read_bytes()[:50])
    failed = program("ask", "what", "--attach", str(bad))
    assert (failed.returncode, failed.stdout) == (2, "")
    assert "nanolocal: error: the picture cannot be read" in failed.stderr
    odd = tmp_path / "odd.wav"
    odd.write_bytes(b"OggS" * 40)
    failed = program("ask", "what", "--attach", str(odd))
    assert (failed.returncode, failed.stdout) == (2, "")
    assert "nanolocal: error: odd.wav: the sound is no WAV, MP3 or FLAC" in failed.stderr
    write_tiny_projector(looker / "mmproj-looker-F32.gguf", embedding=64)
    failed = program("ask", "what", "--attach", files["red.png"], "--model", "looker")
    assert failed.stdout == ""
    assert "mismatch between text model" in failed.stderr
    assert json.loads(program("credits", "balance", "--json").stdout)["balance_micro"] == 100_000


@pytest.fixture
def app(program: Program) -> Iterator[Terminal]:
    terminal = Terminal(program.home, program=NANOLOCAL)
    yield terminal
    terminal.close()


@pytest.mark.parametrize(("name", "token"), [("red.png", "red.png"), ("low.wav", "low.wav 0:07")])
def test_the_app_shows_a_file_to_the_model(
    program: Program, app: Terminal, files: dict[str, str], name: str, token: str
) -> None:
    app.wait_for("Welcome to nanolocal")
    app.type("\r")
    app.wait_for("This machine")
    app.type("\r")
    app.wait_for("fox")
    app.type("\x15" * 3)
    app.wait_for(lambda shown: "fox" not in shown)
    app.type(f"/attach {files[name]}\r")
    app.wait_for(token)
    app.type("what is this")
    app.wait_for("what is this")
    app.type("\r")
    app.wait_for(lambda shown: bool(re.search(r"looker.*\d+ tok", shown, re.IGNORECASE | re.DOTALL)))
    chats = json.loads(program("chats", "list", "--json").stdout)["chats"]
    messages = json.loads(program("chats", "show", chats[0]["id"], "--json").stdout)["messages"]
    assert messages[0]["attachments"] == [name]
