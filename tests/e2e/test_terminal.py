"""The terminal app in a real terminal with the real starter builds."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from nanolocal.vault.scan import leaks
from tests.e2e.conftest import Program
from tests.e2e.terminal import NANOLOCAL, Terminal
from tests.fakes.terminals import XTERM, FakeTerminal

pytestmark = pytest.mark.slow

ENTER, ESC, CTRL_Q, CTRL_L, F3 = "\r", "\x1b", "\x11", "\x0c", "\x1bOR"
WORDS = ["quokkalantern", "brambleharp"]


@pytest.fixture
def open_app(program: Program) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(columns: int = 80, rows: int = 24, **env: str) -> Terminal:
        opened.append(Terminal(program.home, columns=columns, rows=rows, program=NANOLOCAL, **env))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


def pass_welcome(terminal: Terminal) -> None:
    """Decline a passphrase, read about the machine, and empty the prompt that is filled in."""
    terminal.wait_for("Welcome to nanolocal")
    terminal.type(ENTER)
    terminal.wait_for("This machine")
    terminal.type(ENTER)
    terminal.wait_for("fox")
    terminal.type("\x15" * 3)
    terminal.wait_for(lambda shown: "fox" not in shown)


def ask(terminal: Terminal, prompt: str) -> None:
    terminal.type(prompt)
    terminal.wait_for(prompt[-20:])
    terminal.type(ENTER)


def ask_and_see_it_write(terminal: Terminal, prompt: str) -> None:
    ask(terminal, prompt)
    terminal.wait_for(lambda shown: bool(re.search(r"writing · \d.*Esc stops", shown)))


def engine_pids(pid: int) -> list[int]:
    children = psutil.Process(pid).children(recursive=True)
    return [child.pid for child in children if "nanolocal.engines.host" in " ".join(child.cmdline())]


def stored_messages(program: Program) -> list[dict[str, object]]:
    chats = json.loads(program("chats", "list", "--json").stdout)["chats"]
    if not chats:
        return []
    chat_id = chats[0]["id"]
    messages: list[dict[str, object]] = json.loads(program("chats", "show", chat_id, "--json").stdout)["messages"]
    return messages


def test_two_turns_survive_a_restart_and_nothing_lies_open(program: Program, open_app: Callable[..., Terminal]) -> None:
    app = open_app()
    pass_welcome(app)
    ask(app, "Tell me a story about a quokkalantern.")
    app.wait_for(lambda _: len(stored_messages(program)) == 2)
    assert leaks(program.home, WORDS) == []
    app.wait_for(lambda shown: "Esc stops" not in shown)
    ask(app, "Thank you, brambleharp.")
    app.wait_for(lambda _: len(stored_messages(program)) == 4)
    app.type(CTRL_Q)
    assert app.wait_for_end() == 0
    assert leaks(program.home, WORDS) == []
    assert [message["role"] for message in stored_messages(program)] == ["user", "assistant", "user", "assistant"]
    again = open_app()
    again.wait_for("brambleharp")
    again.type(CTRL_Q)
    assert again.wait_for_end() == 0


@pytest.mark.usefixtures("slow_build")
def test_escape_stops_and_keeps_the_partial_answer_also_over_a_restart(
    program: Program, open_app: Callable[..., Terminal]
) -> None:
    app = open_app()
    pass_welcome(app)
    ask_and_see_it_write(app, "Tell me a very long story about a quokkalantern.")
    app.type(ESC)
    app.wait_for("stopped, kept")
    ask_and_see_it_write(app, "Go on, brambleharp.")
    app.type(ESC)
    app.wait_for(lambda _: len(stored_messages(program)) == 4)
    app.type(CTRL_Q)
    assert app.wait_for_end() == 0
    assert leaks(program.home, WORDS) == []
    messages = stored_messages(program)
    assert [message["stopped"] for message in messages] == [None, "user", None, "user"]
    assert all(message["text"] for message in messages)
    again = open_app(rows=60)
    again.wait_for(lambda shown: all(word in shown for word in WORDS))
    again.type(CTRL_Q)
    assert again.wait_for_end() == 0


@pytest.mark.usefixtures("slow_build")
def test_a_killed_engine_is_told_and_the_next_prompt_works(program: Program, open_app: Callable[..., Terminal]) -> None:
    app = open_app()
    pass_welcome(app)
    ask_and_see_it_write(app, "Tell me a very long story about a quokkalantern.")
    for pid in engine_pids(app.pid):
        os.kill(pid, signal.SIGKILL)
    app.wait_for("died")
    ask_and_see_it_write(app, "Hello again!")
    app.type(ESC)
    app.wait_for("stopped")
    app.type(CTRL_Q)
    assert app.wait_for_end() == 0
    messages = stored_messages(program)
    assert messages[1]["stopped"] == "crash"
    assert messages[-1]["role"] == "assistant"


def test_a_picture_is_drawn_in_the_terminal(program: Program, open_app: Callable[..., Terminal]) -> None:
    app = open_app(columns=120, rows=40)
    pass_welcome(app)
    ask(app, "Draw a red circle above a blue square")
    app.wait_for("\u2580")
    app.wait_for(lambda _: len(stored_messages(program)) == 2)
    app.type(F3)
    app.wait_for("Pictures  1 of 1")
    app.type("a")
    app.wait_for(lambda _: len(stored_messages(program)) == 4)
    app.type(CTRL_Q)
    assert app.wait_for_end() == 0
    assert [each["attachments"] for each in stored_messages(program)] == [[], ["picture.png"]] * 2


def test_a_picture_can_be_shown_without_a_file(program: Program, tmp_path: Path) -> None:
    script = "import sys\nfrom nanolocal.cli.main import main\nsys.exit(main(sys.argv[1:]))"
    args = ("--home", str(program.home), "image", "a red circle", "--show", "--steps", "4")
    with FakeTerminal(XTERM, script, args=args, folder=tmp_path) as terminal:
        assert terminal.end() == 0
        assert any("\u2580" * 20 in row for row in terminal.screen())
    assert not list(tmp_path.glob("*.png"))


def test_a_locked_app_holds_no_conversation_and_opens_with_the_passphrase(
    program: Program, open_app: Callable[..., Terminal]
) -> None:
    assert program("ask", "My quokkalantern", "--max-tokens", "5", NANOLOCAL_PASSPHRASE="open sesame").returncode == 0
    app = open_app()
    app.wait_for("passphrase")
    app.type("wrong" + ENTER)
    app.wait_for("wrong")
    app.type("open sesame" + ENTER)
    app.wait_for("quokkalantern")
    app.type(CTRL_L)
    app.wait_for(lambda shown: "passphrase" in shown and "quokkalantern" not in shown)
    assert engine_pids(app.pid) == []
    app.type("open sesame" + ENTER)
    app.wait_for("quokkalantern")
    assert json.loads(program("vault", "lock", "--json").stdout)["locked"] == 1
    app.wait_for(lambda shown: "quokkalantern" not in shown)


def test_a_terminal_that_is_gone_without_a_signal_ends_the_app(program: Program, tmp_path: Path) -> None:
    master, slave = os.openpty()
    command = (sys.executable, *NANOLOCAL, "--home", str(program.home))
    app = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    try:
        shown = b""
        while b"Welcome" not in shown:
            shown += os.read(master, 65536)
        os.close(master)
        app.wait(60)
    finally:
        app.kill()
        app.wait()


def test_it_says_so_where_there_is_no_terminal(program: Program, tmp_path: Path) -> None:
    result = program()
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("nanolocal: error: the terminal app needs a terminal")
