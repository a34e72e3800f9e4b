"""Locked means that no key and no word is left in memory, and that every engine is gone, however it came to that."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from nanolocal.chat.messages import Role
from nanolocal.paths import Paths
from nanolocal.vault.layout import HEADER
from nanolocal.vault.unlock import unlock_header, unsealed_keys
from tests.e2e.conftest import Program
from tests.e2e.terminal import Terminal
from tests.fakes.homes import home

pytestmark = pytest.mark.slow

PASSPHRASE = "quagga marimba tapioca"
STORED, ASKED = "zephyrquartzone", "zephyrquartztwo"
CTRL_L, CTRL_Q, ENTER = "\x0c", "\x11", "\r"
ENTER_SCREEN, LEAVE_SCREEN = b"\x1b[?1049h", b"\x1b[?1049l"


def memory(pid: int) -> Iterator[bytes]:
    """Every readable piece of a process's memory, the stack with its environment too."""
    with Path(f"/proc/{pid}/mem").open("rb", 0) as file:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            start, end = (int(number, 16) for number in line.split()[0].split("-"))
            if line.split()[1].startswith("r") and "[v" not in line:
                file.seek(start)
                try:
                    yield file.read(end - start)
                except OSError:
                    continue


def found_in(pid: int, secrets: dict[str, bytes]) -> set[str]:
    """The names of the secrets that the process holds."""
    any_of = re.compile(b"|".join(re.escape(secret) for secret in secrets.values()))
    hits = {hit for piece in memory(pid) for hit in any_of.findall(piece)}
    return {name for name, secret in secrets.items() if secret in hits}


def can_read_memory() -> bool:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        return any(memory(child.pid))
    except OSError:
        return False
    finally:
        child.kill()
        child.communicate()


@pytest.fixture
def secrets(program: Program) -> dict[str, bytes]:
    """Makes a vault with one conversation; returns what must not be left in memory."""
    directory = Paths.choose(program.home).vault
    with home(directory, PASSPHRASE) as here:
        here.turn(f"Where is {STORED}?", "Here.")
    header, master = unlock_header((directory / HEADER).read_bytes(), PASSPHRASE)
    keys = unsealed_keys(header, master)
    raw = {"master": bytes(master), "database": keys.database.key, "blob": keys.blob}
    as_text = {f"{name} hex": key.hex().encode() for name, key in raw.items()}
    words = {"passphrase": PASSPHRASE, "stored": STORED, "asked": ASKED}
    as_utf16 = {f"{name} wide": word.encode("utf-32-le")[:-3] for name, word in words.items()}
    return raw | as_text | {name: word.encode() for name, word in words.items()} | as_utf16


@pytest.fixture
def app(program: Program, secrets: dict[str, bytes], slow_build: str) -> Iterator[Terminal]:
    """The app, opened with a typed passphrase, in the middle of an endless answer."""
    terminal = Terminal(program.home)
    terminal.wait_for("passphrase")
    terminal.type(PASSPHRASE + ENTER)
    terminal.wait_for(STORED)
    terminal.type(f"Tell me about {ASKED}")
    terminal.wait_for(ASKED)
    terminal.type(ENTER)
    terminal.wait_for(lambda shown: bool(re.search(r"writing · \d", shown)))
    yield terminal
    terminal.close()


def engines_of(pid: int) -> list[psutil.Process]:
    children = psutil.Process(pid).children(recursive=True)
    assert children
    return children


def are_gone(processes: list[psutil.Process]) -> bool:
    return psutil.wait_procs(processes, timeout=30)[1] == []


def check_vault(program: Program) -> None:
    """Whole, the stopped answer kept and paid for, no hold left."""
    with home(Paths.choose(program.home).vault, PASSPHRASE) as here:
        assert here.vault.verify() == []
        assert here.vault.notices == []
        assert here.wallet.verify((here.vault.anchor.seq, here.vault.anchor.head)).open_holds == 0
        *_, prompt, answer = here.store.path(here.store.chats(1)[0].id)
    assert ASKED in prompt.message.text
    assert answer.message.role is Role.ASSISTANT
    assert answer.message.text.strip()
    assert answer.stopped == "user"
    assert answer.cost_micro > 0


def lock_by_key(app: Terminal, program: Program) -> None:
    app.type(CTRL_L)


def lock_by_command(app: Terminal, program: Program) -> None:
    assert program("vault", "lock").stdout == "locked 1 running program\n"


WAYS: dict[str, Callable[[Terminal, Program], None]] = {"Ctrl+L": lock_by_key, "vault lock": lock_by_command}


@pytest.mark.parametrize("way", WAYS)
def test_a_locked_app_holds_no_key_and_no_word(
    app: Terminal, program: Program, secrets: dict[str, bytes], way: str
) -> None:
    engines = engines_of(app.pid)
    if can_read_memory():
        assert found_in(app.pid, secrets) >= {"master", "database", "blob", "stored", "asked"}
    WAYS[way](app, program)
    app.wait_for(lambda shown: "is locked" in shown and STORED not in shown and ASKED not in shown)
    assert are_gone(engines)
    assert psutil.Process(app.pid).children() == []
    told = Path(f"/proc/{app.pid}/cmdline").read_bytes() + Path(f"/proc/{app.pid}/environ").read_bytes()
    assert not [name for name, secret in secrets.items() if secret in told]
    if can_read_memory():
        assert found_in(app.pid, secrets) == set()
    check_screen(bytes(app.raw))
    app.type(CTRL_Q)
    assert app.wait_for_end() == 0
    check_vault(program)


def check_screen(raw: bytes) -> None:
    """The words stood on the alternate screen alone, and not on the one that was entered after locking."""
    first, *entered = raw.split(ENTER_SCREEN)
    alternate = [piece.partition(LEAVE_SCREEN) for piece in entered]
    outside = first + b"".join(rest for _, _, rest in alternate)
    assert STORED.encode() not in outside
    assert ASKED.encode() not in outside
    assert STORED.encode() in alternate[0][0]
    assert len(alternate) == 2
    assert STORED.encode() not in alternate[1][0]


def test_an_idle_app_holds_no_key_and_no_word(program: Program, secrets: dict[str, bytes]) -> None:
    settings = Paths.choose(program.home).settings
    settings.parent.mkdir(parents=True)
    settings.write_text("idle_minutes = 0.05\n")
    app = Terminal(program.home)
    try:
        app.wait_for("passphrase")
        app.type(PASSPHRASE + ENTER)
        app.wait_for(STORED)
        app.wait_for(lambda shown: "is locked" in shown and STORED not in shown)
        if can_read_memory():
            assert found_in(app.pid, secrets) == set()
        check_screen(bytes(app.raw))
    finally:
        app.close()


def close_terminal(app: Terminal) -> None:
    app.hang_up()


def terminate(app: Terminal) -> None:
    os.kill(app.pid, signal.SIGTERM)
    app.wait_for_end()


@pytest.mark.parametrize("end", [close_terminal, terminate])
def test_a_closed_terminal_or_sigterm_ends_all_and_keeps_what_was_said(
    app: Terminal, program: Program, end: Callable[[Terminal], None]
) -> None:
    everything = [psutil.Process(app.pid), *engines_of(app.pid)]
    end(app)
    assert are_gone(everything)
    assert list(Paths.choose(program.home).runtime.glob("open-*")) == []
    check_vault(program)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_the_line_mode_ends_too_and_keeps_what_was_said(
    program: Program, secrets: dict[str, bytes], slow_build: str, number: signal.Signals
) -> None:
    chat = Terminal(program.home, "chat", NANOLOCAL_PASSPHRASE=PASSPHRASE)
    try:
        chat.wait_for("You:")
        chat.type(f"Tell me about {ASKED}{ENTER}")
        chat.wait_for(lambda shown: bool(re.search(r"Assistant: \S", shown)))
        engines = engines_of(chat.pid)
        if number is signal.SIGHUP:
            assert program("vault", "lock").stdout == "locked 1 running program\n"
        else:
            os.kill(chat.pid, number)
        assert chat.wait_for_end() == 130
        assert are_gone(engines)
    finally:
        chat.close()
    check_vault(program)
