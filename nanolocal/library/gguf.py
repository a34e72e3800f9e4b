"""A bounded reader for GGUF headers, so that no native parser opens a file that does not add up.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little endian. Limits keep hostile
files cheap: sizes are compared with the rest of the file before anything is read, arrays cannot nest, names cannot
repeat, and each tensor has to end inside the file.
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from nanolocal.errors import Damaged

Scalar = int | float | bool | str

MAX_PAIRS = 4096
MAX_TENSORS = 65_536
MAX_KEY_BYTES = 64 * 2**10
MAX_STRING_BYTES = 16 * 2**20
MAX_ARRAY_ITEMS = 2**24
MAX_ELEMENTS = 2**48
MAX_BLOCKS = 512
MAX_KEPT_ITEMS = 1024
"""Arrays of whole numbers up to this length are kept: some facts differ from layer to layer."""

_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_FRACTIONS = frozenset({6, 12})

# ggml type -> (elements in a block, bytes of a block), from ggml.c's type traits
BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 16: (256, 66),
    17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136),
    24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54),
    35: (256, 66), 39: (32, 17), 40: (64, 36), 41: (128, 18),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tensor:
    """Where the weights of one name lie: ``kind`` is the ggml type, ``offset`` counts from the start of the data."""

    name: str
    kind: int
    shape: tuple[int, ...]
    offset: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class GGUFFacts:
    """What a header says. ``metadata`` holds scalars and strings; ``lengths`` the item count of each array.

    ``arrays`` holds short arrays of whole numbers. ``layout`` are the tensors, if asked for, and ``data_start`` is the
    byte where their data begin.
    """

    metadata: Mapping[str, Scalar]
    lengths: Mapping[str, int]
    tensors: int
    parameters: int
    arrays: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    layout: tuple[Tensor, ...] = ()
    data_start: int = 0


def read_facts(path: Path, *, is_first: bool = True, with_layout: bool = False) -> GGUFFacts:
    """Read and check the header of ``path``; raises ``Damaged`` with one reason, ``OSError`` when it cannot be read.

    The later parts of a split file name no architecture: ``is_first`` says whether this one has to.
    """
    with path.open("rb") as file:
        return read_header(file, path.stat().st_size, path.name, is_first=is_first, with_layout=with_layout)


def read_header(file: BinaryIO, size: int, name: str, *, is_first: bool = True, with_layout: bool = False) -> GGUFFacts:
    """Read and check the header of a seekable file of ``size`` bytes; raises ``Damaged`` with one reason."""
    try:
        return _Reader(file, size, is_first, with_layout).read()
    except _Refused as refused:
        raise Damaged(f"{name} is not a usable GGUF file: {refused}", "get the file again") from refused
    except struct.error as error:
        raise Damaged(f"{name} is not a usable GGUF file: it ends in its header", "get it again") from error


class _Refused(Exception):
    """Why a header was refused."""


class _Reader:
    """One pass over a header."""

    def __init__(self, file: BinaryIO, size: int, is_first: bool, with_layout: bool) -> None:
        self._file = file
        self._size = size
        self._is_first = is_first
        self._with_layout = with_layout
        self._layout: list[Tensor] = []
        self._metadata: dict[str, Scalar] = {}
        self._lengths: dict[str, int] = {}
        self._arrays: dict[str, tuple[int, ...]] = {}

    def read(self) -> GGUFFacts:
        if self._file.read(4) != b"GGUF":
            raise _Refused("it does not begin with GGUF")
        version, tensors, pairs = self._unpack("<IQQ")
        if version not in (2, 3):
            raise _Refused(f"version {version} is not 2 or 3")
        if tensors > MAX_TENSORS or pairs > MAX_PAIRS:
            raise _Refused(f"it claims {tensors} tensors and {pairs} metadata entries")
        for _ in range(pairs):
            self._read_pair()
        self._check_metadata()
        ends, parameters = self._read_tensors(tensors)
        alignment = self._int("general.alignment", 32)
        start = -(-self._file.tell() // alignment) * alignment
        if any(start + end > self._size for end in ends):
            raise _Refused("it is shorter than its tensors need (cut off in a download?)")
        layout = tuple(self._layout)
        return GGUFFacts(self._metadata, self._lengths, tensors, parameters, self._arrays, layout, start)

    def _unpack(self, layout: str) -> tuple[int, ...]:
        return struct.unpack(layout, self._file.read(struct.calcsize(layout)))

    def _string(self, limit: int) -> str:
        (length,) = self._unpack("<Q")
        if length > limit or length > self._size - self._file.tell():
            raise _Refused(f"a text of {length} bytes")
        return self._file.read(length).decode("utf-8", errors="replace")

    def _read_pair(self) -> None:
        key = self._string(MAX_KEY_BYTES)
        if key in self._metadata or key in self._lengths:
            raise _Refused(f"{key[:80]!r} appears twice")
        (kind,) = self._unpack("<I")
        if kind == _STRING:
            self._metadata[key] = self._string(MAX_STRING_BYTES)
        elif kind == _ARRAY:
            self._lengths[key] = self._read_array(key)
        elif kind in _SCALARS:
            self._metadata[key] = self._unpack("<" + _SCALARS[kind])[0]
        else:
            raise _Refused(f"{key[:80]!r} has unknown type {kind}")

    def _read_array(self, key: str) -> int:
        """Return how many items there are, and keep them when they are few whole numbers."""
        kind, count = self._unpack("<IQ")
        rest = self._size - self._file.tell()
        if count > MAX_ARRAY_ITEMS or count > rest:
            raise _Refused(f"an array of {count} items")
        if kind == _STRING:
            self._skip_strings(count)
        elif kind in _SCALARS and kind not in _FRACTIONS and count <= MAX_KEPT_ITEMS:
            self._arrays[key] = tuple(int(item) for item in self._unpack(f"<{count}{_SCALARS[kind]}"))
        elif kind in _SCALARS:
            self._file.seek(count * struct.calcsize("<" + _SCALARS[kind]), 1)
        else:
            raise _Refused("an array inside an array" if kind == _ARRAY else f"an array of unknown type {kind}")
        if self._file.tell() > self._size:
            raise _Refused("it ends in its header")
        return count

    def _skip_strings(self, count: int) -> None:
        for _ in range(count):
            (length,) = self._unpack("<Q")
            if length > MAX_STRING_BYTES:
                raise _Refused(f"a text of {length} bytes")
            self._file.seek(length, 1)

    def _int(self, key: str, default: int) -> int:
        value = self._metadata.get(key, default)
        return value if isinstance(value, int) and not isinstance(value, bool) else default

    def _check_metadata(self) -> None:
        alignment = self._int("general.alignment", 32)
        if not 1 <= alignment <= 65_536 or alignment & (alignment - 1):
            raise _Refused(f"alignment {alignment}")
        architecture = self._metadata.get("general.architecture")
        if architecture is None and not self._is_first:
            return
        if not isinstance(architecture, str) or not architecture:
            raise _Refused("it names no architecture")
        if self._int(f"{architecture}.block_count", 1) > MAX_BLOCKS:
            raise _Refused(f"more than {MAX_BLOCKS} layers")
        tokens = self._lengths.get("tokenizer.ggml.tokens")
        for name in ("bos", "eos", "eot"):
            token = self._int(f"tokenizer.ggml.{name}_token_id", 0)
            if tokens is not None and not 0 <= token < tokens:
                raise _Refused(f"{name} token {token} is outside the vocabulary of {tokens}")

    def _read_tensors(self, count: int) -> tuple[list[int], int]:
        """Return where each tensor ends (bytes after the data start), and how many weights there are."""
        names: set[str] = set()
        ends: list[int] = []
        parameters = 0
        for _ in range(count):
            name = self._string(MAX_KEY_BYTES)
            if name in names:
                raise _Refused(f"tensor {name[:80]!r} appears twice")
            names.add(name)
            (rank,) = self._unpack("<I")
            if not 1 <= rank <= 4:
                raise _Refused(f"a tensor of {rank} dimensions")
            shape = self._unpack(f"<{rank}Q")
            kind, offset = self._unpack("<IQ")
            elements = math.prod(shape)
            if not 0 < elements <= MAX_ELEMENTS:
                raise _Refused(f"a tensor of shape {shape}")
            if kind not in BLOCKS:
                raise _Refused(f"tensor {name[:80]!r} has unknown type {kind}")
            block, block_bytes = BLOCKS[kind]
            if shape[0] % block:
                raise _Refused(f"tensor {name[:80]!r} does not fill its blocks")
            size_bytes = elements // block * block_bytes
            ends.append(offset + size_bytes)
            parameters += elements
            if self._with_layout:
                self._layout.append(Tensor(name, kind, shape, offset, size_bytes))
        return ends, parameters
