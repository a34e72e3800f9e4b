"""Terminals made of a pty: they answer what real ones answer, and keep every byte that was written to them."""

import base64
import fcntl
import io
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyte
from PIL import Image

ROOT = Path(__file__).parents[2]
CELL = (10, 20)
_LONGEST_S = 60
_KITTY_QUESTION = b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\"
_STRINGS = re.compile(rb"\x1b[_P\]].*?(?:\x1b\\|\x07)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a terminal says of itself; empty attributes answer nothing at all."""

    name: str = ""
    attributes: bytes = b""
    kitty: bool = False
    environment: tuple[tuple[str, str], ...] = (("TERM", "xterm-256color"), ("COLORTERM", "truecolor"))

    def replies(self, asked: bytes) -> bytes:
        """What it sends back for ``asked``, in the order of the questions."""
        if not self.attributes:
            return b""
        answers = {
            b"\x1b[c": b"\x1b[?" + self.attributes + b"c",
            b"\x1b[>0q": b"\x1bP>|" + self.name.encode() + b"\x1b\\" if self.name else b"",
            b"\x1b[16t": b"\x1b[6;%d;%dt" % CELL[::-1],
            _KITTY_QUESTION: b"\x1b_Gi=31;OK\x1b\\" if self.kitty else b"",
        }
        found = sorted((match.start(), question) for question in answers for match in _finds(question, asked))
        return b"".join(answers[question] for _, question in found)


KITTY = Kind("kitty(0.35.2)", b"62;52", kitty=True)
KONSOLE = Kind("Konsole 23.08.5", b"62;1;4", kitty=True)
WEZTERM = Kind("WezTerm 20240203-110809", b"65;4;6;18;22")
ITERM2 = Kind("iTerm2 3.5.0", b"62;4", kitty=True)
FOOT = Kind("foot(1.16.2)", b"62;4;22")
XTERM = Kind("XTerm(390)", b"64;1;2;6;9;15;22")
SILENT = Kind()
TMUX = Kind("tmux 3.4", b"62;4", environment=(("TERM", "tmux-256color"), ("TMUX", "/tmp/tmux-0/default,1,0")))
DUMB = Kind("", b"62;4", environment=(("TERM", "dumb"),))


def _finds(question: bytes, asked: bytes) -> list["re.Match[bytes]"]:
    return list(re.finditer(re.escape(question), asked))


class FakeTerminal:
    """Runs a script in a terminal of ``kind``, 80 columns and 24 rows. Use as a context manager."""

    def __init__(self, kind: Kind, script: str, args: Sequence[str] = (), folder: Path | None = None) -> None:
        self.written = b""
        self._kind = kind
        self._parent, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
        plain = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "PYTHONPATH")}
        plain["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, *args],
            cwd=folder,
            stdin=child,
            stdout=child,
            stderr=child,
            env=plain | dict(kind.environment),
            start_new_session=True,
        )
        os.close(child)

    def __enter__(self) -> "FakeTerminal":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._parent)

    def press(self, keys: bytes) -> int:
        """Send what keys send, once nothing more is written; returns how much was until then."""
        self.settle()
        os.write(self._parent, keys)
        return len(self.written)

    def settle(self) -> None:
        """Take in what is written until nothing more is."""
        while self._take() or select.select([self._parent], [], [], 0.3)[0]:
            pass

    def until(self, is_so: Callable[["FakeTerminal"], object]) -> None:
        """Take in what is written until ``is_so``, or fail after a minute."""
        deadline = time.monotonic() + _LONGEST_S
        while True:
            while self._take():
                pass
            if is_so(self):
                return
            assert time.monotonic() < deadline, f"never became so after {self.written[-600:]!r}"

    def end(self) -> int:
        """Take in the rest; the exit code."""
        deadline = time.monotonic() + _LONGEST_S
        while self._take() or self.process.poll() is None:
            assert time.monotonic() < deadline, f"does not end after {self.written[-600:]!r}"
        return self.process.wait()

    def screen(self, since: int = 0) -> list[str]:
        """What its rows show, of what was written after byte ``since``."""
        screen = pyte.Screen(80, 24)
        pyte.ByteStream(screen).feed(without_strings(self.written[since:]))
        return list(screen.display)

    def shows(self, words: str) -> bool:
        """Whether ``words`` are on one of its rows."""
        return any(words in row for row in self.screen())

    def _take(self) -> bool:
        if not select.select([self._parent], [], [], 0.05)[0]:
            return False
        try:
            piece = os.read(self._parent, 65536)
        except OSError:
            return False
        self.written += piece
        if replies := self._kind.replies(piece):
            os.write(self._parent, replies)
        return bool(piece)


def without_strings(written: bytes) -> bytes:
    """Without commands that carry strings, which pyte would print, and keyboard modes that it takes for others."""
    return re.sub(rb"\x1b\[[<>=][\d;]*[a-zA-Z]", b"", _STRINGS.sub(b"", written))


@dataclass(frozen=True, slots=True)
class Command:
    """A command of Kitty's protocol, its pieces joined."""

    keys: dict[str, str]
    payload: bytes
    end: int

    @property
    def picture(self) -> Image.Image:
        """The PNG that it carries."""
        return Image.open(io.BytesIO(self.payload), formats=("PNG",))


def kitty_commands(written: bytes) -> list[Command]:
    """Every command of Kitty's protocol, as the terminal takes them."""
    commands: list[Command] = []
    text = b""
    keys: dict[str, str] = {}
    for match in re.finditer(rb"\x1b_G([^;\x1b]*)(?:;([^\x1b]*))?\x1b\\", written):
        new = dict(pair.split("=", 1) for pair in match[1].decode().split(","))
        assert len(match[2] or b"") <= 4096
        keys, text = keys or new, text + (match[2] or b"")
        if new.get("m") != "1":
            payload = base64.b64decode(text, validate=True) if keys.get("a") != "q" else b""
            commands.append(Command(keys, payload, match.end()))
            text, keys = b"", {}
    assert not keys, "a picture was not sent to its end"
    return commands


@dataclass(frozen=True, slots=True)
class Inline:
    """A picture of iTerm2's protocol and where it went: column and row from 0."""

    keys: dict[str, str]
    picture: Image.Image
    at: tuple[int, int]
    end: int


_PLACED = rb"\x1b7\x1b\[(\d+);(\d+)H"


def inline_pictures(written: bytes) -> list[Inline]:
    """Every picture of iTerm2's protocol."""
    found = []
    for match in re.finditer(_PLACED + rb"\x1b\]1337;File=([^:]*):([^\x07]*)\x07\x1b8", written):
        keys = dict(pair.split("=", 1) for pair in match[3].decode().split(";"))
        data = base64.b64decode(match[4], validate=True)
        assert int(keys["size"]) == len(data)
        found.append(Inline(keys, Image.open(io.BytesIO(data)), (int(match[2]) - 1, int(match[1]) - 1), match.end()))
    return found


def sixel_pictures(
    written: bytes,
) -> list[tuple["np.ndarray[tuple[int, ...], np.dtype[np.uint8]]", tuple[int, int], int]]:
    """The pixels of every sixel picture, where it went and where it ends."""
    return [
        (sixel_pixels(match[3]), (int(match[2]) - 1, int(match[1]) - 1), match.end())
        for match in re.finditer(_PLACED + rb"(\x1bP[^\x1b]*\x1b\\)\x1b8", written)
    ]


def sixel_pixels(text: bytes) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    """What a terminal draws for a sixel command; every pixel has to be set."""
    match = re.fullmatch(rb'\x1bP[\d;]*q"1;1;(\d+);(\d+)(.*)\x1b\\', text, re.DOTALL)
    assert match, text[:40]
    width, height = int(match[1]), int(match[2])
    canvas = np.full((height, width, 3), 255, dtype=np.uint8)
    is_set = np.zeros((height, width), dtype=bool)
    colours: dict[int, tuple[int, ...]] = {}
    x = y = number = 0
    for token in re.finditer(rb"#(\d+)(?:;2;(\d+);(\d+);(\d+))?|!(\d+)([?-~])|([?-~])|([$-])", match[3]):
        if token[1]:
            number = int(token[1])
            if token[2]:
                colours[number] = tuple(round(int(value) * 255 / 100) for value in token.group(2, 3, 4))
        elif token[8]:
            x, y = 0, y + (6 if token[8] == b"-" else 0)
        else:
            count = int(token[5] or 1)
            bits = (token[6] or token[7])[0] - 63
            for row in range(6):
                if bits >> row & 1:
                    assert y + row < height and x + count <= width, "outside of the picture"
                    canvas[y + row, x : x + count] = colours[number]
                    is_set[y + row, x : x + count] = True
            x += count
    assert is_set.all()
    return canvas
