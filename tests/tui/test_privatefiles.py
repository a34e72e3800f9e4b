import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nanolocal.tui import privatefiles
from nanolocal.tui.privatefiles import PrivateFiles, sweep, viewer


@pytest.fixture(autouse=True)
def _runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


def test_only_its_owner_can_read_a_file_or_enter_its_folder() -> None:
    files = PrivateFiles()
    path = files.write(b"private")
    assert path.name == "picture.png"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    files.clear()
    assert not path.parent.exists()


def test_it_lies_in_memory_where_there_is_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("no /dev/shm here")
    files = PrivateFiles()
    assert Path("/dev/shm") in files.write(b"private").parents
    files.clear()


def test_a_sweep_removes_what_a_killed_process_left_and_nothing_of_a_running_one(tmp_path: Path) -> None:
    files = PrivateFiles()
    kept = files.write(b"mine")
    script = (
        "import time\nfrom nanolocal.tui.privatefiles import PrivateFiles\n"
        "files = PrivateFiles()\nprint(files.write(b'left'), flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        left = Path(other.stdout.readline().strip())
        sweep()
        assert left.exists()
        other.kill()
    sweep()
    assert not left.parent.exists()
    assert kept.read_bytes() == b"mine"
    files.clear()
    assert not list(tmp_path.iterdir())


def test_the_file_goes_when_a_viewer_that_waits_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privatefiles, "_SHORT_S", 0.0)
    monkeypatch.setattr(privatefiles, "viewer", lambda environment: ["sh", "-c", 'test -s "$0" && sleep 0.2'])
    PrivateFiles().show(b"private")
    deadline = time.monotonic() + 30
    while list(tmp_path.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform == "darwin", reason="has its own viewer")
def test_without_a_screen_there_is_no_viewer() -> None:
    assert viewer({}) is None
