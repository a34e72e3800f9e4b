"""What code that has taken an engine over would try: ``python -I intruder.py``, with what to try it on as JSON.

``load`` is the frame that the engine was given, empty to stay free. Writes what became of each attempt: ``allowed``, or
the name of the error.
"""

import ctypes
import errno
import json
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from nanolocal.engines import protocol
from nanolocal.engines.isolation import isolate_for

Attempts = dict[str, Callable[[], object]]


def on_files(at: dict[str, str]) -> Attempts:
    """``secret`` and ``folder`` are somebody else's, ``own`` is the build's, ``snapshot`` where it may write."""
    folder = Path(at["folder"])
    return {
        "read the build": lambda: Path(at["own"]).read_bytes(),
        "import a module": lambda: __import__("wave"),
        "read its own memory map": lambda: Path("/proc/self/statm").read_text(),
        "read a secret": lambda: Path(at["secret"]).read_bytes(),
        "list a folder": lambda: list(folder.iterdir()),
        "read a secret through a link": lambda: Path(at["link"]).read_bytes(),
        "read another process's command": lambda: Path(f"/proc/{os.getppid()}/cmdline").read_bytes(),
        "write to the build": lambda: Path(at["own"]).open("ab"),
        "make a file": lambda: (folder / "new").write_bytes(b"x"),
        "make a temporary file": tempfile.TemporaryFile,
        "make a folder": lambda: (folder / "new folder").mkdir(),
        "make a link": lambda: (folder / "new link").symlink_to("x"),
        "write to a secret": lambda: Path(at["secret"]).open("ab"),
        "cut a secret off": lambda: os.truncate(at["secret"], 5),
        "open a secret to others": lambda: Path(at["secret"]).chmod(0o600),
        "date a secret back": lambda: os.utime(at["secret"]),
        "move a secret": lambda: Path(at["secret"]).rename(at["secret"]),
        "write a snapshot again": lambda: rewrite(Path(at["snapshot"])),
        "make another snapshot": lambda: Path(f"{at['snapshot']}.new").write_bytes(b"x"),
        "remove a snapshot": lambda: Path(f"{at['snapshot']}.old").unlink(),
    }


def on_others(at: dict[str, str]) -> Attempts:
    """``port`` is listened to on this machine, ``socket`` is a unix socket."""
    return {
        "connect": lambda: socket.create_connection(("127.0.0.1", int(at["port"]))),
        "connect to a unix socket": lambda: socket.socket(socket.AF_UNIX).connect(at["socket"]),
        "listen": lambda: socket.create_server(("127.0.0.1", 0)),
        "send a datagram": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9)),
        "fork": fork,
        "spawn": lambda: os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0),
        "signal the parent": lambda: os.kill(os.getppid(), 0),
        "signal everybody": lambda: os.kill(-1, 0),
        "limit the parent": lambda: prlimit(os.getppid()),
        "signal itself": lambda: os.kill(os.getpid(), 0),
        "limit itself": lambda: prlimit(0),
        "start a thread": thread,
    }


def rewrite(snapshot: Path) -> None:
    """As ``states.write`` does."""
    with os.fdopen(os.open(snapshot, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(b"written by the engine")
    assert snapshot.read_bytes() == b"written by the engine"


def prlimit(pid: int) -> None:
    import resource

    resource.prlimit(pid, resource.RLIMIT_CORE)


def fork() -> None:
    if not (pid := os.fork()):
        os._exit(0)
    os.waitpid(pid, 0)


def thread() -> None:
    """It has to be bound too."""
    found: list[str] = []
    started = threading.Thread(target=lambda: found.append(outcome(lambda: list(Path("/").iterdir()))))
    started.start()
    started.join()
    assert found == [outcome(lambda: list(Path("/").iterdir()))]


def outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "allowed"


def refused_calls(numbers: list[int]) -> dict[str, str]:
    """What becomes of system calls with arguments that mean nothing."""
    libc = ctypes.CDLL(None, use_errno=True)
    found = {}
    for number in numbers:
        failed = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(-1)] * 6) < 0
        found[str(number)] = errno.errorcode[ctypes.get_errno()] if failed else "allowed"
    return found


def main() -> int:
    signal.alarm(60)
    at = json.load(sys.stdin)
    if at["load"]:
        frame = protocol.decode(at["load"].encode())
        assert isinstance(frame, protocol.LoadText | protocol.LoadImage)
        isolate_for(frame)
    found = {name: outcome(attempt) for name, attempt in (on_files(at) | on_others(at)).items()}
    sys.stdout.write(json.dumps(found | refused_calls(at["calls"])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
