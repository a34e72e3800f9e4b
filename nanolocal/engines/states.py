"""What a model has read of a conversation, in a sealed file: the state of its sequence in llama.cpp (format NLK1).

    "NLK1" | record | record | ...

A record is a four-byte big-endian length and so many bytes, sealed with AES-256-GCM under a key that is used for this
file alone; its nonce is an 11-byte counter and a flag on the last record (STREAM, Hoang et al. 2015), so records cannot
be dropped, repeated, reordered or cut off. The first is a JSON object: what made the state, and its tokens, without
which nobody could tell what it stands for. The others are the state. Token ids are text: nothing of it is in clear.
"""

import ctypes
import json
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_MAGIC = b"NLK1"
_CHUNK = 4 * 2**20
_MOST_RECORD = 16 * 2**20


class Unreadable(Exception):
    """The file is missing, damaged, sealed with another key, or of another engine."""


@dataclass(frozen=True, slots=True)
class State:
    """The ``tokens`` that a sequence has read, and what llama.cpp keeps of them."""

    tokens: list[int]
    data: ctypes.Array[ctypes.c_uint8]


def write(path: Path, key: bytes, stamp: str, state: State) -> int:
    """Write ``state``, made by the engine that ``stamp`` names; returns the file's bytes. Raises ``OSError``."""
    head = json.dumps({"stamp": stamp, "tokens": state.tokens, "size": len(state.data)}).encode("ascii")
    view = memoryview(state.data).cast("B")
    pieces = [memoryview(head), *(view[start : start + _CHUNK] for start in range(0, len(view), _CHUNK))]
    cipher = _cipher(key)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(_MAGIC)
        for number, piece in enumerate(pieces):
            sealed = cipher.encrypt(_nonce(number, is_last=number == len(pieces) - 1), piece, _MAGIC)
            file.write(len(sealed).to_bytes(4, "big"))
            file.write(sealed)
        return file.tell()


class Reader:
    """An open file: ``tokens`` are known at once, the state itself is read by ``state``. Raises ``Unreadable``."""

    def __init__(self, path: Path, key: bytes, stamp: str) -> None:
        self._cipher = _cipher(key)
        self._number = 0
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise Unreadable from error
        try:
            if self._file.read(len(_MAGIC)) != _MAGIC:
                raise Unreadable
            head = json.loads(self._record(is_last=False))
            if head["stamp"] != stamp:
                raise Unreadable
        except Unreadable:
            self._file.close()
            raise
        self.tokens: list[int] = head["tokens"]
        self._size: int = head["size"]

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def state(self) -> State:
        """All of it; raises ``Unreadable``, and ``MemoryError`` where there is no room for it."""
        buffer = (ctypes.c_uint8 * self._size)()
        view = memoryview(buffer).cast("B")
        for start in range(0, self._size, _CHUNK):
            piece = self._record(is_last=start + _CHUNK >= self._size)
            if len(piece) != min(_CHUNK, self._size - start):
                raise Unreadable
            view[start : start + len(piece)] = piece
        return State(self.tokens, buffer)

    def _record(self, *, is_last: bool) -> bytes:
        from cryptography.exceptions import InvalidTag

        try:
            length = int.from_bytes(self._file.read(4), "big")
            sealed = self._file.read(min(length, _MOST_RECORD))
            opened = self._cipher.decrypt(_nonce(self._number, is_last=is_last), sealed, _MAGIC)
        except (OSError, InvalidTag) as error:
            raise Unreadable from error
        self._number += 1
        return opened


def _nonce(number: int, *, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([is_last])


def _cipher(key: bytes) -> "AESGCM":
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)
