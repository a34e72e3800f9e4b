"""The operating system kills the process at a chosen write, fsync, rename, truncation or removal (strace)."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nanolocal.chat.messages import Attachment
from tests.fakes.homes import home
from tests.faults.scan import leaks

ROOT = Path(__file__).parents[2]
PICTURE = Attachment("p.png", "image/png", b"y" * 999)
PROGRAM = """
import sys
from pathlib import Path
from tests.fakes.homes import home
with home(Path(sys.argv[2]), None) as here:
    match sys.argv[1]:
        case "turn": print(*here.turn("kept prompt", "kept answer"), flush=True)
        case "rotate": here.vault.rotate()
        case "rekey": here.vault.rekey(None)
"""
CALLS = ("pwrite64", "fsync", "rename", "ftruncate", "unlink")
STEPS = (1, 4, 9)


def can_trace() -> bool:
    """Whether strace is here and may trace."""
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-o", "/dev/null", "true"], check=False, capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("whole") / "home"
    with home(directory, None) as here:
        here.turn("first prompt", "first answer", picture=PICTURE)
    return directory


@pytest.mark.skipif(not can_trace(), reason="strace is not here, or may not trace")
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("what", ["turn", "rotate", "rekey"])
def test_killed_at_a_system_call_the_vault_opens_and_holds_everything(
    whole: Path, tmp_path: Path, what: str, call: str
) -> None:
    killed = 0
    for step in STEPS:
        directory = tmp_path / str(step)
        shutil.copytree(whole, directory)
        inject = ["-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={step}"]
        program = [sys.executable, "-c", PROGRAM, what, str(directory)]
        command = ["strace", "-f", "-qq", "-o", str(tmp_path / "log"), *inject, *program]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        killed += "killed by SIGKILL" in (tmp_path / "log").read_text()
        expected = {"first prompt", "first answer"} | ({"kept prompt", "kept answer"} if done.stdout else set())
        for _ in range(2):
            with home(directory, None) as here:
                stored = {message.message.text for chat in here.store.chats(9) for message in here.store.path(chat.id)}
                assert expected <= stored
                assert (here.vault.notices, here.vault.verify()) == ([], [])
                here.wallet.verify((here.vault.anchor.seq, here.vault.anchor.head))
        assert leaks(directory, ["first prompt", "kept prompt"]) == []
    assert killed
