"""The app in a terminal of its own (a pty), and without one."""

import os
import pty
import subprocess
import sys
from pathlib import Path

_HEAVY = ("torch", "diffusers", "llama_cpp", "cryptography", "sqlcipher3", "numpy", "PIL", "httpx", "psutil")


def _in_a_pty(script: str, tmp_path: Path) -> tuple[int, str]:
    """Run ``script`` with a terminal on 0, 1 and 2; return its exit code and everything it wrote there."""
    parent, child = pty.openpty()
    environment = {**os.environ, "NANOLOCAL_HOME": str(tmp_path), "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=child, stdout=child, stderr=child, env=environment, close_fds=True
    )
    os.close(child)
    written = b""
    while True:
        try:
            piece = os.read(parent, 65536)
        except OSError:
            break
        if not piece:
            break
        written += piece
    os.close(parent)
    return process.wait(timeout=60), written.decode(errors="replace")


def test_importing_the_app_imports_nothing_heavy() -> None:
    script = f"import sys, nanolocal.tui.app; print([name for name in {_HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_a_terminal_it_says_so_and_ends_with_2(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom nanolocal.paths import Paths\nfrom nanolocal.tui.app import run\n"
        f"sys.exit(run(Paths.choose({str(tmp_path)!r}), None))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "nanolocal: error: the terminal app needs a terminal on standard input and standard error",
        "hint: for pipes and files use: nanolocal ask PROMPT",
    ]


def test_what_others_write_to_1_and_2_cannot_disturb_the_screen(tmp_path: Path) -> None:
    script = (
        "import os\nfrom nanolocal.tui.terminal import own_terminal\n"
        "with own_terminal() as screen:\n"
        "    os.write(1, b'stray one')\n    os.write(2, b'stray two')\n    screen.write('drawn')\n    screen.flush()\n"
        "os.write(1, b'after one')\nos.write(2, b'after two')\n"
    )
    code, written = _in_a_pty(script, tmp_path)
    assert code == 0
    assert "drawn" in written and "after one" in written and "after two" in written
    assert "stray" not in written


def test_a_fault_ends_with_one_line_and_1(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom nanolocal.paths import Paths\nfrom nanolocal.tui import app\n"
        "def broken(paths):\n    secret = 'private words'\n    raise KeyError(secret)\n"
        "app._vault_state = broken\n"
        f"sys.exit(app.run(Paths.choose({str(tmp_path)!r}), None))"
    )
    code, written = _in_a_pty(script, tmp_path)
    assert code == 1
    assert "nanolocal: error: the terminal app ended on a fault (KeyError in <string>, line 6)" in written
    assert "private words" not in written
    assert "Traceback" not in written
