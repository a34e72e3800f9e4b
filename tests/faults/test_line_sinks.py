"""No text makes a terminal do anything: every place where text reaches what the commands print, by a real terminal."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from nanolocal.chat.messages import Attachment
from nanolocal.paths import Paths
from tests.e2e.terminal import NANOLOCAL, Terminal
from tests.fakes.homes import home
from tests.fakes.tiny_gguf import CHATML, write_tiny_gguf
from tests.faults import hostile
from tests.faults.hostile import FILE, acted_on

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TEXT = hostile.LINE.encode("utf-8", "replace").decode()
"""What a vault can store: all payloads without the lone surrogates."""
ARGUMENT = TEXT.replace("\0", "")
SAYS = "\x1b]52;czq\x07\x9b\u202e"
"""No byte of it comes twice, as the tiny build wants it."""
OWN = re.compile("\r(?!zqx)")
"""A progress line begins with a carriage return; no escape sequence is the commands' own."""
REFUSES = f"{{{{ raise_exception({json.dumps(FILE)}) }}}}"
CRASH = """
import logging, sys, threading, warnings
from nanolocal.cli import doctor, main
from tests.faults import hostile
def fail(*_):
    raise LookupError(hostile.ALL)
def run(args):
    warnings.warn(hostile.ALL)
    logging.getLogger("library").error(hostile.ALL)
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    fail()
doctor.run = run
main.entry()
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A home with hostile words everywhere, in a directory that is called so too."""

    home: Path
    chat_id: str

    def on_terminal(self, *args: str, program: tuple[str, str] = NANOLOCAL, **env: str) -> Terminal:
        return Terminal(self.home, *args, columns=80, rows=24, program=program, **env | {"PYTHONPATH": str(ROOT)})

    def shown(self, *args: str, program: tuple[str, str] = NANOLOCAL, **env: str) -> bytes:
        """Everything that a command writes to its terminal; it was nothing to act on."""
        terminal = self.on_terminal(*args, program=program, **env)
        try:
            terminal.wait_for_end()
        finally:
            terminal.close()
        assert acted_on(bytes(terminal.raw), own=OWN) == []
        assert b"Traceback" not in terminal.raw
        return bytes(terminal.raw)

    def piped(self, *args: str) -> dict[str, object]:
        """The JSON that a program reads."""
        command = [sys.executable, *NANOLOCAL, "--home", str(self.home), *args, "--json"]
        done = subprocess.run(command, capture_output=True, check=True, stdin=subprocess.DEVNULL)
        value: dict[str, object] = json.loads(done.stdout)
        return value


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    directory = tmp_path_factory.mktemp("lines") / f"home{FILE}"
    paths = Paths.choose(directory)
    for name in ("says", "refuses"):
        (paths.models / f"{name}{FILE}").mkdir(mode=0o700, parents=True)
        card = {"id": f"{name}{FILE}", "licence": TEXT, "quality": {"*": 0.99 if name == "says" else 0.01, TEXT: 1}}
        (paths.models / f"{name}{FILE}" / "card.json").write_text(json.dumps(card))
    paths.data.chmod(0o700)
    write_tiny_gguf(paths.models / f"says{FILE}" / f"{FILE}.gguf", answer=SAYS, template=CHATML, name=TEXT)
    write_tiny_gguf(paths.models / f"refuses{FILE}" / f"{FILE}.gguf", template=REFUSES, name=TEXT)
    (paths.models / f"broken{FILE}.gguf").write_bytes(b"GGUF\x03")
    with home(paths.vault, None) as here:
        file = Attachment(f"{FILE}.txt", "text/plain", TEXT.encode())
        chat_id, _, _ = here.turn(TEXT, TEXT, None, (file,), title=TEXT, system=TEXT)
        for note in (TEXT[:400], TEXT[-400:]):
            here.wallet.top_up(1, note=note)
    return Place(directory, chat_id)


LISTS = [
    ("chats",), ("chats", "show", "ID"), ("chats", "search", "zqxA"), ("models",), ("models", "show", f"says{FILE}"),
    ("route", "hello"), ("credits", "history"), ("vault", "status"), ("doctor",),
]  # fmt: skip


@pytest.mark.parametrize("way", ["plain", "json", "NO_COLOR"])
@pytest.mark.parametrize("command", LISTS, ids=lambda command: " ".join(command)[:14])
def test_what_a_command_lists(place: Place, command: tuple[str, ...], way: str) -> None:
    args = [place.chat_id if word == "ID" else word.replace("\0", "") for word in command]
    env = {"NO_COLOR": "1"} if way == "NO_COLOR" else {}
    shown = place.shown(*args, *(["--json"] if way == "json" else []), program=NANOLOCAL, **env)
    assert hostile.MARK.encode() in shown


def test_programs_read_the_exact_text_from_json(place: Place) -> None:
    messages = place.piped("chats", "show", place.chat_id)["messages"]
    assert isinstance(messages, list)
    assert [message["text"] for message in messages if message["role"] != "system"] == [TEXT, TEXT]


WRONG: list[tuple[str, ...]] = [
    (f"x{ARGUMENT}",), (f"--{ARGUMENT}",), ("--passphrase-file", f"/{FILE}", "chats"),
    *[("ask", "hi", option, ARGUMENT) for option in ("--chat", "--max-tokens", "--max-credits", "--prefer")],
    ("ask", "hi", "--model", f"x{ARGUMENT}"), ("ask", "hi", "--model", f"/{FILE}"),
    ("ask", "hi", "--attach", f"/{FILE}"),
    ("image", "x", "--size", ARGUMENT), ("image", "x", "--out", f"/{FILE}/{FILE}"),
    ("chats", "show", ARGUMENT), ("chats", "search", "--has", ARGUMENT), ("chats", "search", f"since:{FILE}"),
    ("chats", "delete", ARGUMENT, "--yes"), ("models", "show", ARGUMENT), ("credits", "topup", ARGUMENT),
    ("vault", "restore", "--snapshot", ARGUMENT, "--yes"),
]  # fmt: skip


@pytest.mark.parametrize("command", WRONG, ids=lambda command: " ".join(command[:3])[:14].encode("ascii", "replace"))
def test_what_a_command_refuses(place: Place, command: tuple[str, ...]) -> None:
    assert b"nanolocal: error: " in place.shown(*command)


@pytest.mark.parametrize("setting", ['theme = "{}"', '"{}" = 1', 'theme = "dark" {}', 'model_directories = ["/{}"]'])
def test_settings(tmp_path: Path, setting: str) -> None:
    paths = Paths.choose(tmp_path / f"home{FILE}")
    paths.settings.parent.mkdir(parents=True)
    text = "".join(f"\\u{ord(char):04x}" for char in FILE)
    paths.settings.write_text(setting.format(text))
    shown = Place(tmp_path / f"home{FILE}", "").shown("doctor")
    assert hostile.MARK.encode() in shown


def test_an_answer_with_its_progress_and_its_receipt(place: Place) -> None:
    shown = place.shown("ask", f"hello \udcff {ARGUMENT}", "--system", ARGUMENT, "--temperature", "0")
    assert "\u241b]52;czq\u2407\ufffd\ufffd" in shown.decode()
    assert b"\rsays\xe2\x90\x9b]52;c;" in shown
    assert hostile.MARK.encode() in place.shown("ask", "hello", "--json")


def test_an_engine_that_refuses_in_the_words_of_its_template(place: Place) -> None:
    shown = place.shown("ask", "hello", "--model", f"refuses{FILE}").decode()
    assert re.search(r"nanolocal: error: the engine of refuses.*zqxa.*zqxa", shown)


def test_the_line_mode(place: Place) -> None:
    chat = place.on_terminal("chat", "--temperature", "0")
    try:
        chat.wait_for("You:")
        chat.type("hello\r")
        chat.wait_for("\u241b]52;czq\u2407")
        chat.wait_for("tokens")
        chat.type("/quit\r")
        assert chat.wait_for_end() == 0
    finally:
        chat.close()
    assert acted_on(bytes(chat.raw), own=OWN) == []


def test_what_python_and_libraries_print_by_themselves(place: Place) -> None:
    shown = place.shown("doctor", program=("-c", CRASH))
    lines = shown.decode().splitlines()
    assert lines[0] == "nanolocal: a fault in the background (LookupError in <string>, line 6)"
    assert lines[1].startswith("nanolocal: error: the program ended on a fault (LookupError in <string>, line 6)")
    assert len(lines) == 3
    assert hostile.MARK.encode() not in shown


def test_a_picture_is_not_written_to_a_terminal(place: Place) -> None:
    assert b"a picture on a terminal would be noise" in place.shown("image", "a red circle", "--out", "-")
