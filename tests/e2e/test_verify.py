"""``nanolocal vault verify`` by the real program: what a person sees, what a script gets, and what it leaves behind."""

import json
import signal
import time
from pathlib import Path

import psutil
import pytest

from nanolocal.cli.canary import SCRATCH
from tests.e2e.conftest import Program
from tests.e2e.terminal import Terminal

pytestmark = pytest.mark.slow

LONG = "seven green horses on a roof"


@pytest.fixture
def filled(program: Program, tmp_path: Path) -> Program:
    """A home with a conversation that has a file."""
    note = tmp_path / "note.txt"
    note.write_text("a note")
    asked = program("ask", "hello", "--attach", str(note), "--max-tokens", "4")
    assert asked.returncode == 0, asked.stderr
    return program


def blob_of(program: Program) -> Path:
    (blob,) = (program.home / "data" / "vault" / "blobs").iterdir()
    return blob


def test_a_healthy_vault_is_whole_and_nothing_leaves_a_trace(filled: Program) -> None:
    balance = filled("credits", "balance").stdout
    shown = filled("vault", "verify")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "Everything is whole, and nothing that was tried left a trace." in shown.stdout
    assert "WRONG" not in shown.stdout
    assert "\x1b" not in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80
    for word in ("prompt", "attached text", "passphrase", "ledger note", "rating", "private setting", "imported title"):
        assert word in shown.stdout
    assert "not tried" not in shown.stdout
    assert filled("credits", "balance").stdout == balance
    assert len(json.loads(filled("chats", "list", "--json").stdout)["chats"]) == 1
    assert not list(filled.home.rglob(SCRATCH))


def test_a_script_gets_one_object(filled: Program) -> None:
    report = json.loads(filled("vault", "verify", "--thorough", "--json").stdout)
    assert (report["whole"], report["private"], report["messages"]) == (True, True, 2)
    assert report["entries"] >= 3
    assert {"id", "state", "says", "hint", "question"} == set(report["checks"][0])
    assert len({check["id"] for check in report["checks"]}) == len(report["checks"])
    tried = next(check["says"] for check in report["checks"] if check["id"] == "tried")
    assert "picture prompt" in tried


def test_doctor_says_the_same_about_memory(filled: Program) -> None:
    checks = json.loads(filled("vault", "verify", "--quick", "--json").stdout)["checks"]
    said = {check["id"]: check["says"] for check in checks}
    memory = json.loads(filled("doctor", "--json").stdout)["memory_privacy"]
    assert list(memory) == ["swap", "hibernation", "core_dumps", "memory"]
    assert memory.items() <= said.items()


def test_a_flipped_byte_is_named_in_plain_words(filled: Program) -> None:
    data = bytearray(blob_of(filled).read_bytes())
    data[60] ^= 1
    blob_of(filled).write_bytes(data)
    shown = filled("vault", "verify", "--quick")
    assert shown.returncode == 6
    assert "  WRONG  The attached file note.txt is damaged or missing\n" in shown.stdout
    assert "One thing is wrong. What to do:" in shown.stdout
    assert len(shown.stderr.splitlines()) == 2
    report = filled("vault", "verify", "--quick", "--json")
    assert report.returncode == 6
    assert (json.loads(report.stdout)["whole"], json.loads(report.stdout)["private"]) == (False, True)


def test_a_vault_that_does_not_open_is_reported_with_the_rest(filled: Program) -> None:
    (filled.home / "data" / "vault" / "vault.hdr").unlink()
    shown = filled("vault", "verify", "--quick")
    assert shown.returncode == 6
    assert "WRONG  The vault's header vault.hdr is missing" in shown.stdout
    assert "Every file looks like random noise" in shown.stdout


def test_a_file_that_others_may_read_is_a_note_and_an_open_folder_is_wrong(filled: Program) -> None:
    blob_of(filled).chmod(0o644)
    noted = filled("vault", "verify", "--quick")
    assert noted.returncode == 0
    assert f"note   Others could read blobs/{blob_of(filled).name}" in noted.stdout
    assert "chmod -R go-rwx" in noted.stdout
    (filled.home / "data" / "vault").chmod(0o755)
    wrong = filled("vault", "verify", "--quick")
    assert wrong.returncode == 6
    assert "WRONG  Other users of this machine can look into the vault's folder" in wrong.stdout


def test_a_locked_vault_and_no_vault_are_errors_as_everywhere(program: Program) -> None:
    absent = program("vault", "verify")
    assert (absent.returncode, absent.stdout, len(absent.stderr.splitlines())) == (2, "", 2)
    assert not program.home.exists()
    assert program("chats", "list", NANOLOCAL_PASSPHRASE=LONG).returncode == 0
    locked = program("vault", "verify", "--quick")
    assert (locked.returncode, locked.stdout, len(locked.stderr.splitlines())) == (3, "", 2)
    opened = program("vault", "verify", "--quick", NANOLOCAL_PASSPHRASE=LONG)
    assert opened.returncode == 0
    assert "A passphrase opens it" in opened.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_half_way_it_leaves_no_scratch_and_no_process(filled: Program, number: signal.Signals) -> None:
    running = filled.start("vault", "verify")
    scratch = filled.home / "data" / SCRATCH
    deadline = time.monotonic() + 120
    while not (scratch / "data" / "vault" / "vault.db").exists():
        assert time.monotonic() < deadline
        assert running.poll() is None, running.communicate()
    children = psutil.Process(running.pid).children(recursive=True)
    running.send_signal(number)
    running.communicate(timeout=60)
    assert running.returncode == 130
    assert not scratch.exists()
    assert children
    assert psutil.wait_procs(children, timeout=60)[1] == []


@pytest.mark.parametrize("colour", [True, False])
def test_the_report_fits_a_terminal_with_and_without_colour(filled: Program, colour: bool) -> None:
    terminal = Terminal(filled.home, "vault", "verify", "--quick", NO_COLOR="" if colour else "1")
    try:
        shown = terminal.wait_for("could be safer")
        assert terminal.wait_for_end() == 0
        assert "  note   " in shown
        assert (b"\x1b[32mok" in terminal.raw) is colour
        assert b"reading every page" in terminal.raw
    finally:
        terminal.close()
