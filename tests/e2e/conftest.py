"""The real program in a real process with the real starter builds."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest


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
            timeout=240,
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
