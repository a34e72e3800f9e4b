"""The real program in a real process with the real starter builds."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from nanolocal.library.records import Record, Records
from tests.fakes.tiny_gguf import write_tiny_gguf


class Program(Protocol):
    """Runs ``nanolocal`` in the test's own home."""

    home: Path

    def __call__(self, *args: str, text: str | None = None, **env: str) -> "subprocess.CompletedProcess[str]": ...

    def start(self, *args: str) -> "subprocess.Popen[str]": ...


class _Program:
    def __init__(self, home: Path) -> None:
        self.home = home
        self._started: list[subprocess.Popen[str]] = []

    def _command(self, args: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "nanolocal", "--home", str(self.home), *args]

    def __call__(self, *args: str, text: str | None = None, **env: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self._command(args),
            input=text if text is not None else "",
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
            env=os.environ | env,
        )

    def start(self, *args: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            self._command(args),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def end(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    started = _Program(tmp_path / "home")
    yield started
    started.end()


@pytest.fixture
def slow_build(program: Program) -> str:
    """A build that answers everything, slowly and without end, so that there is time to interrupt it.

    Its licence was told before, so that nothing but the answer is said.
    """
    folder = program.home / "data" / "models" / "slow"
    folder.mkdir(parents=True)
    (program.home / "data").chmod(0o700)
    path = write_tiny_gguf(folder / "slow-F32.gguf", layers=32)
    records = Records(program.home / "data" / "builds.json")
    records.put(hashlib.sha256(path.read_bytes()).hexdigest(), Record(licence_shown=1.0))
    records.save()
    card = {"id": "slow", "quality": {"*": 0.99}, "defaults": {"max_tokens": 6000, "temperature": 1.0}}
    (folder / "card.json").write_text(json.dumps(card))
    return "slow:F32"
