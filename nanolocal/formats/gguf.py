"""A bounded reader for GGUF headers, so that no native parser opens a file that does not add up.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little endian. Limits keep hostile
files cheap: sizes are compared with the rest of the file before anything is read, arrays cannot nest, names cannot
repeat, and the tensors have to follow each other inside the file. ``vocabulary`` and ``hyperparameters`` check what the
entries mean, for the architectures that llama.cpp would read.
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from nanolocal.errors import Damaged
from nanolocal.formats.architectures import ARCHITECTURES
from nanolocal.formats.hyperparameters import check_hyperparameters
from nanolocal.formats.refusal import Refused
from nanolocal.formats.vocabulary import MAX_TOKENS, Tokens, check_vocabulary, read_tokens

Scalar = int | float | bool | str

MAX_PAIRS = 4096
MAX_TENSORS = 65_536
MAX_KEY_BYTES = 64 * 2**10
MAX_STRING_BYTES = 16 * 2**20
MAX_ARRAY_ITEMS = 2**24
MAX_TEXTS = 2**22
MAX_TEXT_BYTES = 2**28
MAX_ELEMENTS = 2**48
TENSOR_ALIGNMENT = 32
"""Bytes between which llama.cpp maps tensors into memory (ggml-impl.h)."""

_TOKENS = "tokenizer.ggml.tokens"
_BLOCK_BYTES = 2**20
_LENGTH = struct.Struct("<Q")
_UINT16, _BOOL, _STRING, _ARRAY = 2, 7, 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}

# ggml type -> (elements in a block, bytes of a block), from ggml.c's type traits
BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 16: (256, 66),
    17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136),
    24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54),
    35: (256, 66), 39: (32, 17), 40: (64, 36), 41: (128, 18),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class GGUFFacts:
    """What a header says. ``metadata`` holds scalars and strings; ``lengths`` the item count of each array."""

    metadata: Mapping[str, Scalar]
    lengths: Mapping[str, int]
    tensors: int
    parameters: int


def read_facts(path: Path, *, is_first: bool = True) -> GGUFFacts:
    """Read and check the header of ``path``; raises ``Damaged`` with one reason, ``OSError`` when it cannot be read.

    The later parts of a split file name no architecture: ``is_first`` says whether this one has to.
    """
    with path.open("rb") as file:
        size = path.stat().st_size
        try:
            return _Reader(file, size, is_first).read()
        except Refused as refused:
            raise Damaged(f"{path.name} is not a usable GGUF file: {refused}", "get the file again") from refused
        except struct.error as error:
            raise Damaged(f"{path.name} is not a usable GGUF file: it ends in its header", "get it again") from error


class _Reader:
    """One pass over a header."""

    def __init__(self, file: BinaryIO, size: int, is_first: bool) -> None:
        self._file = file
        self._size = size
        self._is_first = is_first
        self._metadata: dict[str, Scalar] = {}
        self._lengths: dict[str, int] = {}
        self._kinds: dict[str, int] = {}
        self._tokens: Tokens | None = None
        self._texts = 0
        self._text_bytes = 0

    def read(self) -> GGUFFacts:
        if not self._size:
            raise Refused("it is empty")
        if self._file.read(4) != b"GGUF":
            raise Refused("it does not begin with GGUF")
        version, tensors, pairs = self._unpack("<IQQ")
        if not version & 0xFFFF:
            raise Refused("it was written for machines of the other byte order (big endian)")
        if version not in (2, 3):
            raise Refused(f"version {version} is not 2 or 3")
        if tensors > MAX_TENSORS or pairs > MAX_PAIRS:
            raise Refused(f"it claims {tensors} tensors and {pairs} metadata entries")
        for _ in range(pairs):
            self._read_pair()
        alignment = self._alignment()
        self._check_metadata()
        end, parameters = self._read_tensors(tensors, alignment)
        start = _padded(self._file.tell(), alignment)
        if tensors and start % TENSOR_ALIGNMENT:
            raise Refused(f"its tensors do not lie at multiples of {TENSOR_ALIGNMENT} bytes")
        if tensors and start + end > self._size:
            raise Refused("it is shorter than its tensors need (cut off in a download?)")
        return GGUFFacts(self._metadata, self._lengths, tensors, parameters)

    def _unpack(self, layout: str) -> tuple[int, ...]:
        return struct.unpack(layout, self._file.read(struct.calcsize(layout)))

    def _string(self, limit: int) -> bytes:
        (length,) = self._unpack("<Q")
        if length > limit or length > self._size - self._file.tell():
            raise Refused(f"a text of {length} bytes")
        return self._file.read(length)

    def _name(self) -> str:
        """A key, or the name of a tensor."""
        name = self._string(MAX_KEY_BYTES)
        if not name or b"\0" in name:
            raise Refused("a name that is empty or holds a zero byte")
        try:
            return name.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Refused(f"the name {name[:80]!r} is not UTF-8") from error

    def _read_pair(self) -> None:
        key = self._name()
        if key in self._metadata or key in self._lengths:
            raise Refused(f"{key[:80]!r} appears twice")
        (kind,) = self._unpack("<I")
        if kind == _STRING:
            self._metadata[key] = self._string(MAX_STRING_BYTES).decode("utf-8", "replace")
        elif kind == _ARRAY:
            self._read_array(key)
        elif kind in _SCALARS:
            self._metadata[key] = self._scalar(key, kind)
        else:
            raise Refused(f"{key[:80]!r} has unknown type {kind}")

    def _scalar(self, key: str, kind: int) -> Scalar:
        (value,) = self._unpack("<" + _SCALARS[kind])
        if key in ("split.no", "split.count") and kind != _UINT16:
            raise Refused(f"{key} is no number of 16 bits")
        if kind == _BOOL and value > 1:
            raise Refused(f"{key[:80]!r} is neither true nor false")
        return bool(value) if kind == _BOOL else value

    def _read_array(self, key: str) -> None:
        """Keep what kind of items an array has and how many; of the tokens also what they are."""
        kind, count = self._unpack("<IQ")
        rest = self._size - self._file.tell()
        if count > (MAX_TOKENS if key == _TOKENS else MAX_ARRAY_ITEMS) or count > rest:
            raise Refused(f"an array of {count} items")
        self._lengths[key], self._kinds[key] = count, kind
        if kind == _STRING and key == _TOKENS:
            tokens: list[bytes] = []
            self._walk_texts(count, tokens)
            self._tokens = read_tokens(tokens)
        elif kind == _STRING:
            self._walk_texts(count)
        elif kind == _BOOL and self._file.read(count).strip(b"\0\1"):
            raise Refused(f"{key[:80]!r} holds what is neither true nor false")
        elif kind in _SCALARS and kind != _BOOL:
            self._file.seek(count * struct.calcsize("<" + _SCALARS[kind]), 1)
        elif kind not in _SCALARS:
            raise Refused("an array inside an array" if kind == _ARRAY else f"an array of unknown type {kind}")
        if self._file.tell() > self._size:
            raise Refused("it ends in its header")

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

    def _alignment(self) -> int:
        alignment = self._metadata.get("general.alignment", TENSOR_ALIGNMENT)
        if not isinstance(alignment, int) or not 1 <= alignment <= 65_536 or alignment & (alignment - 1):
            raise Refused(f"alignment {str(alignment)[:20]}")
        return alignment

    def _check_metadata(self) -> None:
        architecture = self._metadata.get("general.architecture")
        if architecture is None and not self._is_first:
            return
        if not isinstance(architecture, str) or not architecture:
            raise Refused("it names no architecture")
        if architecture in ARCHITECTURES:
            check_hyperparameters(architecture, self._metadata, self._lengths)
            check_vocabulary(self._metadata, self._lengths, self._kinds, self._tokens)

    def _read_tensors(self, count: int, alignment: int) -> tuple[int, int]:
        """Return where the last tensor ends (bytes after the data start), and how many weights there are."""
        names: set[str] = set()
        end = parameters = 0
        for _ in range(count):
            name = self._name()
            if name in names:
                raise Refused(f"tensor {name[:80]!r} appears twice")
            names.add(name)
            elements, size = self._shape_and_type(name)
            (offset,) = self._unpack("<Q")
            if offset != _padded(end, alignment):
                raise Refused(f"tensor {name[:80]!r} overlaps another or leaves a gap")
            end = offset + size
            parameters += elements
        return end, parameters

    def _shape_and_type(self, name: str) -> tuple[int, int]:
        """How many elements the next tensor has, and bytes."""
        (rank,) = self._unpack("<I")
        if not 1 <= rank <= 4:
            raise Refused(f"a tensor of {rank} dimensions")
        shape = self._unpack(f"<{rank}Q")
        (kind,) = self._unpack("<I")
        elements = math.prod(shape)
        if not 0 < elements <= MAX_ELEMENTS:
            raise Refused(f"a tensor of shape {shape}")
        if kind not in BLOCKS:
            raise Refused(f"tensor {name[:80]!r} has unknown type {kind}")
        block, block_bytes = BLOCKS[kind]
        if shape[0] % block:
            raise Refused(f"tensor {name[:80]!r} does not fill its blocks")
        return elements, elements // block * block_bytes


def _padded(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
