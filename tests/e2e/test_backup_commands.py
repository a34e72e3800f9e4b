"""``vault backup`` and ``vault restore --from``, by the real program: from one home into another."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import Program


@pytest.fixture
def there(program: Program, tmp_path: Path) -> Program:
    """The same program in a home where nothing is yet."""
    return type(program)(tmp_path / "there")  # type: ignore[call-arg]


@pytest.mark.slow
@pytest.mark.parametrize("passphrase", ["a pass phrase", None])
def test_a_backup_brings_everything_into_another_home(
    program: Program, there: Program, tmp_path: Path, passphrase: str | None
) -> None:
    opens = {"NANOLOCAL_PASSPHRASE": passphrase} if passphrase else {}
    assert program("ask", "hello fox", "--max-tokens", "8", **opens).returncode == 0
    drawn = program("image", "a red circle", "--out", str(tmp_path / "red.png"), "--seed", "1", **opens)
    assert drawn.returncode == 0, drawn.stderr
    code = json.loads(program("vault", "recovery", "--json", **opens).stdout)["recovery_code"]
    file = tmp_path / "backup.tar"
    made = program("vault", "backup", str(file), "--json", **opens)
    assert (made.returncode, made.stderr) == (0, "")
    held = json.loads(made.stdout)
    assert (held["conversations"], held["files"], held["bytes"]) == (2, 1, file.stat().st_size)
    balance = json.loads(program("credits", "balance", "--json", **opens).stdout)
    assert program("ask", "later", "--max-tokens", "8", **opens).returncode == 0

    came = there("vault", "restore", "--from", str(file), "--json", NANOLOCAL_PASSPHRASE=passphrase or code)
    assert came.returncode == 0, came.stderr
    back = json.loads(came.stdout)
    assert {name: back[name] for name in ("made_at", "conversations", "messages", "files", "entries")} == {
        name: held[name] for name in ("made_at", "conversations", "messages", "files", "entries")
    }
    assert back["opened_by"] == ("passphrase" if passphrase else "keyfile")
    assert ("nanolocal vault passphrase" in came.stderr) is (passphrase is None)

    assert "restored from a backup of" in there("vault", "verify", **opens).stderr
    again = there("vault", "verify", **opens)
    assert (again.returncode, again.stderr) == (0, "")
    assert there("credits", "verify", **opens).returncode == 0
    assert json.loads(there("credits", "balance", "--json", **opens).stdout) == balance
    assert "hello fox" in there("chats", "search", "fox", **opens).stdout
    listed = json.loads(there("chats", "list", "--json", **opens).stdout)["chats"]
    (circle,) = (chat["id"] for chat in listed if "circle" in chat["title"])
    shown = there("chats", "show", circle, "--pictures", str(tmp_path / "shown"), **opens)
    assert shown.returncode == 0, shown.stderr
    (picture,) = (tmp_path / "shown").iterdir()
    assert picture.read_bytes() == (tmp_path / "red.png").read_bytes()
    assert there("ask", "life goes on", "--max-tokens", "8", **opens).returncode == 0


def refused(done: "subprocess.CompletedProcess[str]", code: int) -> str:
    """One error line and one hint."""
    assert (done.returncode, len(done.stderr.splitlines()), done.stdout) == (code, 2, "")
    return done.stderr


def test_what_is_refused_says_why_and_leaves_nothing(program: Program, there: Program, tmp_path: Path) -> None:
    file, opens = tmp_path / "backup", {"NANOLOCAL_PASSPHRASE": "a pass phrase"}
    assert "there is no vault" in refused(there("vault", "backup", str(file)), 2)
    assert program("ask", "hello", "--max-tokens", "8").returncode == 0
    assert "nanolocal vault recovery" in refused(program("vault", "backup", str(file)), 2)
    code = json.loads(program("vault", "recovery", "--json").stdout)["recovery_code"]
    assert "No such file" in refused(program("vault", "backup", str(tmp_path / "none" / "backup")), 2)
    refused(program("vault", "backup", str(program.home / "data" / "vault" / "backup")), 2)
    assert not file.exists()
    assert program("vault", "backup", str(file)).returncode == 0
    assert "--force" in refused(program("vault", "backup", str(file)), 2)
    assert program("vault", "backup", str(file), "--force").returncode == 0

    assert "already a vault" in refused(program("vault", "restore", "--from", str(file)), 2)
    refused(there("vault", "restore", "--from", str(tmp_path / "none")), 2)
    refused(there("vault", "restore", "--from", str(file), "--snapshot", "x"), 2)
    refused(there("vault", "restore", "--from", str(file)), 3)
    refused(there("vault", "restore", "--from", str(file), **opens), 3)
    assert not there.home.exists()
    whole = file.read_bytes()
    for damaged in (b"", whole[:-512], whole[:9000] + b"x" + whole[9001:], b"x" * 9999):
        file.write_bytes(damaged)
        refused(there("vault", "restore", "--from", str(file), NANOLOCAL_PASSPHRASE=code), 6)
    assert json.loads(there("vault", "status", "--json").stdout)["state"] == "absent"


def test_a_full_disk_ends_a_backup_with_one_clear_line(program: Program, tmp_path: Path) -> None:
    """As far as a program can see, a limit on the size of files is a full disk."""
    assert program("ask", "hello", "--max-tokens", "8").returncode == 0
    assert program("vault", "recovery").returncode == 0
    file = tmp_path / "out" / "backup"
    file.parent.mkdir()
    size = (program.home / "data" / "vault" / "vault.db").stat().st_size
    done = subprocess.run(
        [sys.executable, "-m", "nanolocal", "--home", str(program.home), "vault", "backup", str(file)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size + 1000, size + 1000)),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=os.environ,
    )  # fmt: skip
    assert "cannot write" in refused(done, 2)
    assert list(file.parent.iterdir()) == []
    assert list((program.home / "data" / "vault").glob("backup-*")) == []
