"""The first half of a GGUF header: its key-value entries, read within limits that keep hostile files cheap.

Sizes are compared with the rest of the file before anything is read, arrays cannot nest, and keys cannot repeat.
"""

import struct
from typing import BinaryIO

from nanolocal.formats.refusal import Refused
from nanolocal.formats.vocabulary import MAX_TOKENS, Vocabulary, has_byte_tokens, read_tokens

Scalar = int | float | bool | str

MAX_KEY_BYTES = 64 * 2**10
MAX_STRING_BYTES = 16 * 2**20
MAX_ARRAY_ITEMS = 2**24
MAX_TEXTS = 2**22
MAX_TEXT_BYTES = 2**28
MAX_KEPT_ITEMS = 1024
"""Arrays of whole numbers up to this length are kept: some facts differ from layer to layer."""

_SPLIT = ("split.count", "split.no")
"""Read by llama.cpp without a look at their type."""
_TOKENS, _TOKEN_TYPES = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"
_BLOCK_BYTES = 2**20
_LENGTH = struct.Struct("<Q")
_UINT16, _INT32, _BOOL, _STRING, _ARRAY = 2, 5, 7, 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
_FRACTIONS = frozenset({6, 12})


class Entries:
    """Reads entries from ``file``, of ``size`` bytes, which may be any that can be read and moved in."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._texts = 0
        self._text_bytes = 0
        self.metadata: dict[str, Scalar] = {}
        self.lengths: dict[str, int] = {}
        self.arrays: dict[str, tuple[int, ...]] = {}
        self.vocabulary = Vocabulary()

    def unpack(self, layout: str) -> tuple[int, ...]:
        """Numbers; raises ``struct.error`` at the end of the file."""
        return struct.unpack(layout, self._file.read(struct.calcsize(layout)))

    def name(self) -> str:
        """A key, or the name of a tensor."""
        name = self._text(MAX_KEY_BYTES)
        if not name or b"\0" in name:
            raise Refused("a name that is empty or holds a zero byte")
        try:
            return name.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Refused(f"the name {name[:80]!r} is not UTF-8") from error

    def read(self) -> None:
        """Read the next entry; raises ``Refused``."""
        key = self.name()
        if key in self.metadata or key in self.lengths:
            raise Refused(f"{key[:80]!r} appears twice")
        (kind,) = self.unpack("<I")
        if key in _SPLIT and kind != _UINT16:
            raise Refused(f"{key} is no number of 16 bits")
        if kind == _STRING:
            self.metadata[key] = self._text(MAX_STRING_BYTES).decode("utf-8", "replace")
        elif kind == _ARRAY:
            self._read_array(key)
        elif kind in _SCALARS:
            self.metadata[key] = self._scalar(key, kind)
        else:
            raise Refused(f"{key[:80]!r} has unknown type {kind}")

    def _text(self, limit: int) -> bytes:
        (length,) = self.unpack("<Q")
        if length > limit:
            raise Refused(f"a text of {length} bytes")
        if length > self._size - self._file.tell():
            raise Refused("it ends in its header")
        return self._file.read(length)

    def _scalar(self, key: str, kind: int) -> Scalar:
        (value,) = self.unpack("<" + _SCALARS[kind])
        if kind == _BOOL and value > 1:
            raise Refused(f"{key[:80]!r} is neither true nor false")
        return bool(value) if kind == _BOOL else value

    def _read_array(self, key: str) -> None:
        """Keep what kind of items an array has and how many; also the items where somebody asks for them."""
        kind, count = self.unpack("<IQ")
        rest = self._size - self._file.tell()
        if count > (MAX_TOKENS if key == _TOKENS else MAX_ARRAY_ITEMS) or count > rest:
            raise Refused(f"an array of {count} items")
        self.lengths[key], self.vocabulary.kinds[key] = count, kind
        if kind == _STRING:
            self._read_texts(key, count)
        elif kind in _SCALARS:
            self._read_numbers(key, kind, count)
        else:
            raise Refused("an array inside an array" if kind == _ARRAY else f"an array of unknown type {kind}")
        if self._file.tell() > self._size:
            raise Refused("it ends in its header")

    def _read_numbers(self, key: str, kind: int, count: int) -> None:
        if kind not in _FRACTIONS and count <= MAX_KEPT_ITEMS and key != _TOKEN_TYPES:
            self.arrays[key] = self.unpack(f"<{count}{_SCALARS[kind]}")
            if kind == _BOOL and not set(self.arrays[key]) <= {0, 1}:
                raise Refused(f"{key[:80]!r} holds what is neither true nor false")
        elif key == _TOKEN_TYPES and kind == _INT32:
            self.vocabulary.has_byte_tokens = has_byte_tokens(self._file.read(4 * count))
        else:
            self._file.seek(count * struct.calcsize("<" + _SCALARS[kind]), 1)

    def _read_texts(self, key: str, count: int) -> None:
        if key != _TOKENS:
            self._walk_texts(count)
            return
        tokens: list[bytes] = []
        self._walk_texts(count, tokens)
        self.vocabulary.tokens = read_tokens(tokens)

    def _walk_texts(self, count: int, kept: list[bytes] | None = None) -> None:
        """Go over texts in a row, out of large blocks: a vocabulary has a quarter of a million, and as many merges."""
        self._texts += count
        block, place = b"", 0
        for _ in range(count):
            if place + 8 > len(block):
                block, place = self._more(block[place:], 8), 0
            (length,) = _LENGTH.unpack_from(block, place)
            place += 8
            if place + length > len(block):
                block, place = self._more(block[place:], length), 0
            if kept is not None:
                kept.append(block[place : place + length])
            place += length
        self._file.seek(place - len(block), 1)

    def _more(self, begun: bytes, needed: int) -> bytes:
        """The next block, which begins with ``begun`` and has at least ``needed`` bytes."""
        if needed > MAX_STRING_BYTES:
            raise Refused(f"a text of {needed} bytes")
        block = begun + self._file.read(max(_BLOCK_BYTES, needed))
        self._text_bytes += len(block)
        if self._texts > MAX_TEXTS or self._text_bytes > MAX_TEXT_BYTES:
            raise Refused(f"more than {MAX_TEXTS:,} texts or {MAX_TEXT_BYTES:,} bytes of them")
        if len(block) < needed:
            raise Refused("it ends in its header")
        return block
