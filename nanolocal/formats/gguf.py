"""A bounded reader for GGUF headers, so that no native parser opens a file that does not add up.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little endian. ``entries`` reads
what the header says about the model; this module its tensors, which have to follow each other inside the file.
``vocabulary``, ``hyperparameters`` and ``tensors`` check what it all means, for what llama.cpp would read.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from nanolocal.errors import Damaged
from nanolocal.formats.architectures import ARCHITECTURES
from nanolocal.formats.entries import Entries, Scalar
from nanolocal.formats.hyperparameters import check_hyperparameters, query_rows
from nanolocal.formats.projectors import ARCHITECTURE as PROJECTOR
from nanolocal.formats.projectors import check_projector
from nanolocal.formats.refusal import Refused
from nanolocal.formats.tensors import check_tensor, size_of
from nanolocal.formats.vocabulary import check_vocabulary

MAX_PAIRS = 4096
MAX_TENSORS = 65_536
TENSOR_ALIGNMENT = 32
"""Bytes between which llama.cpp maps tensors into memory (ggml-impl.h)."""


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
        return _Reader(file, size, is_first).read(with_layout)
    except Refused as refused:
        raise Damaged(f"{name} is not a usable GGUF file: {refused}", "get the file again") from refused
    except struct.error as error:
        raise Damaged(f"{name} is not a usable GGUF file: it ends in its header", "get it again") from error


class _Reader:
    """One pass over a header."""

    def __init__(self, file: BinaryIO, size: int, is_first: bool) -> None:
        self._file = file
        self._size = size
        self._is_first = is_first
        self._entries = Entries(file, size)
        self._is_for_llama = False
        self._query_rows = 0

    def read(self, with_layout: bool) -> GGUFFacts:
        tensors = self._read_entries()
        alignment = self._alignment()
        self._check_entries()
        layout, parameters, end = self._read_tensors(tensors, alignment)
        start = _padded(self._file.tell(), alignment)
        if tensors and start % TENSOR_ALIGNMENT:
            raise Refused(f"its tensors do not lie at multiples of {TENSOR_ALIGNMENT} bytes")
        if tensors and start + end > self._size:
            raise Refused("it is shorter than its tensors need (cut off in a download?)")
        entries = self._entries
        shown = tuple(layout) if with_layout else ()
        return GGUFFacts(entries.metadata, entries.lengths, tensors, parameters, entries.arrays, shown, start)

    def _read_entries(self) -> int:
        """Read up to the tensors; returns how many these are."""
        if not self._size:
            raise Refused("it is empty")
        if self._file.read(4) != b"GGUF":
            raise Refused("it does not begin with GGUF")
        version, tensors, pairs = self._entries.unpack("<IQQ")
        if not version & 0xFFFF:
            raise Refused("it was written for machines of the other byte order (big endian)")
        if version not in (2, 3):
            raise Refused(f"version {version} is not 2 or 3")
        if tensors > MAX_TENSORS or pairs > MAX_PAIRS:
            raise Refused(f"it claims {tensors} tensors and {pairs} metadata entries")
        for _ in range(pairs):
            self._entries.read()
        return tensors

    def _alignment(self) -> int:
        alignment = self._entries.metadata.get("general.alignment", TENSOR_ALIGNMENT)
        if not isinstance(alignment, int) or not 1 <= alignment <= 65_536 or alignment & (alignment - 1):
            raise Refused(f"alignment {str(alignment)[:20]}")
        return alignment

    def _check_entries(self) -> None:
        metadata, lengths = self._entries.metadata, self._entries.lengths
        architecture = metadata.get("general.architecture")
        if architecture is None and not self._is_first:
            return
        if not isinstance(architecture, str) or not architecture:
            raise Refused("it names no architecture")
        self._is_for_llama = architecture in ARCHITECTURES
        if architecture == PROJECTOR:
            check_projector(metadata)
        if self._is_for_llama:
            check_hyperparameters(architecture, metadata, lengths)
            check_vocabulary(metadata, lengths, self._entries.vocabulary)
            self._query_rows = query_rows(architecture, metadata)

    def _read_tensors(self, count: int, alignment: int) -> tuple[list[Tensor], int, int]:
        """Return the tensors, how many weights there are, and the byte after the last of them."""
        names: set[str] = set()
        layout: list[Tensor] = []
        end = parameters = 0
        for _ in range(count):
            tensor, elements = self._read_tensor()
            if tensor.name in names:
                raise Refused(f"tensor {tensor.name[:80]!r} appears twice")
            if tensor.offset != _padded(end, alignment):
                raise Refused(f"tensor {tensor.name[:80]!r} overlaps another or leaves a gap")
            names.add(tensor.name)
            layout.append(tensor)
            end = tensor.offset + tensor.size_bytes
            parameters += elements
        return layout, parameters, end

    def _read_tensor(self) -> tuple[Tensor, int]:
        """The next tensor, and how many weights it has."""
        name = self._entries.name()
        (rank,) = self._entries.unpack("<I")
        if not 1 <= rank <= 4:
            raise Refused(f"a tensor of {rank} dimensions")
        shape = self._entries.unpack(f"<{rank}Q")
        kind, offset = self._entries.unpack("<IQ")
        elements, size_bytes = size_of(name, shape, kind)
        if self._is_for_llama:
            check_tensor(name, shape, kind, self._query_rows)
        return Tensor(name, kind, shape, offset, size_bytes), elements


def _padded(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
