"""A bounded reader for safetensors headers: no weight is read, and no native parser sees a file that does not add up.

Format: https://github.com/huggingface/safetensors#format: eight bytes with the length of a JSON header, the header, and
the tensors, which follow each other without a gap up to the end of the file. The header is read entry by entry, so that
nested arrays cannot take more memory than the file has bytes, and a name that appears twice is seen.
"""

import json
import math
import re
import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nanolocal.errors import Damaged
from nanolocal.formats.refusal import Refused

MAX_HEADER_BYTES = 25 * 2**20
MAX_TENSORS = 65_536
MAX_ENTRY_BYTES = 8 * 2**10
MAX_METADATA_BYTES = 8 * 2**20
MAX_RANK = 16

_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64,
    "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip
FLOATS = frozenset({"F16", "BF16", "F32", "F64", "F8_E5M2", "F8_E4M3"})
"""Types that loaders convert to what they compute in."""
_NAME = re.compile(rb'\s*("(?:[^"\\]++|\\.)*+")\s*+:\s*+', re.DOTALL)
_FLAT_OBJECT = re.compile(rb'\{(?:[^{}"]++|"(?:[^"\\]++|\\.)*+")*+\}', re.DOTALL)
_COMMA_OR_END = re.compile(rb"\s*([,}])")


@dataclass(frozen=True, slots=True)
class SafetensorsFacts:
    """What a header says: the shape of each tensor by name, the texts of ``__metadata__``, and the weights in all.

    ``stored`` counts the weights of each type.
    """

    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]
    parameters: int
    stored: Mapping[str, int] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """Bytes of all tensors."""
        return bytes_of(self.stored)


def read_header(path: Path) -> SafetensorsFacts:
    """Read and check the header of ``path``; raises ``Damaged`` with one reason, ``OSError`` when it cannot be read."""
    with path.open("rb") as file:
        size = path.stat().st_size
        first = file.read(8)
        length = struct.unpack("<Q", first)[0] if len(first) == 8 else 2**63
        try:
            if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
                raise Refused(f"its header claims {length:,} bytes" if len(first) == 8 else "it has no header")
            return _facts(file.read(length), size - 8 - length)
        except Refused as refused:
            raise Damaged(f"{path.name} is not a usable safetensors file: {refused}", "get the file again") from refused


def bytes_of(stored: Mapping[str, int]) -> int:
    """What so many weights of each type take."""
    return sum(count * _BITS[name] // 8 for name, count in stored.items())


def joined(parts: Sequence[SafetensorsFacts]) -> SafetensorsFacts:
    """The shards of one set of weights as if they were one file."""
    stored: Counter[str] = Counter()
    for part in parts:
        stored.update(part.stored)
    shapes = {name: shape for part in parts for name, shape in part.shapes.items()}
    metadata = {name: text for part in parts for name, text in part.metadata.items()}
    return SafetensorsFacts(shapes, metadata, sum(part.parameters for part in parts), dict(stored))


def _facts(header: bytes, data_bytes: int) -> SafetensorsFacts:
    shapes: dict[str, tuple[int, ...]] = {}
    spans: list[tuple[int, int]] = []
    metadata: dict[str, str] | None = None
    stored: Counter[str] = Counter()
    for name, entry in _entries(header):
        if name == "__metadata__":
            if metadata is not None or not all(isinstance(value, str) for value in entry.values()):
                raise Refused("its __metadata__ is not one list of texts")
            metadata = {key: str(value) for key, value in entry.items()}
            continue
        if name in shapes:
            raise Refused(f"tensor {name[:80]!r} appears twice")
        shapes[name], span, elements = _tensor(name, entry)
        spans.append(span)
        stored[str(entry["dtype"])] += elements
        if len(spans) > MAX_TENSORS:
            raise Refused(f"it has more than {MAX_TENSORS:,} tensors")
    _check_spans(spans, data_bytes)
    return SafetensorsFacts(shapes, metadata or {}, stored.total(), dict(stored))


def _entries(header: bytes) -> Iterator[tuple[str, dict[str, object]]]:
    """Each name of the header's object with the flat object it stands for."""
    text = header.rstrip()
    if text[:1] != b"{" or text[-1:] != b"}":
        raise Refused("its header is no object")
    place = 1
    if re.fullmatch(rb"\{\s*\}", text):
        return
    while True:
        named = _NAME.match(text, place, place + MAX_ENTRY_BYTES)
        if named is None:
            raise Refused("its header is not a list of tensors")
        name = str(_parsed(named.group(1)))
        limit = MAX_METADATA_BYTES if name == "__metadata__" else MAX_ENTRY_BYTES
        found = _FLAT_OBJECT.match(text, named.end(), named.end() + limit)
        if found is None:
            raise Refused(f"{name[:80]!r} is described wrongly, or in more than {limit:,} bytes")
        entry = _parsed(found.group())
        yield name, entry if isinstance(entry, dict) else {}
        after = _COMMA_OR_END.match(text, found.end())
        if after is None:
            raise Refused("its header is not a list of tensors")
        place = after.end()
        if after.group(1) == b"}":
            if place != len(text):
                raise Refused("its header goes on after its end")
            return


def _parsed(text: bytes) -> object:
    try:
        return json.loads(text.decode("utf-8"), object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise Refused("its header is not JSON") from error


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise Refused("an entry of its header says something twice")
    return dict(pairs)


def _tensor(name: str, entry: Mapping[str, object]) -> tuple[tuple[int, ...], tuple[int, int], int]:
    """Shape, first and last byte, and number of elements."""
    shape, offsets = _whole_numbers(entry.get("shape")), _whole_numbers(entry.get("data_offsets"))
    bits = _BITS.get(str(entry.get("dtype")))
    if shape is None or offsets is None or len(offsets) != 2 or len(shape) > MAX_RANK or set(entry) != _KEYS:
        raise Refused(f"tensor {name[:80]!r} is described wrongly")
    if bits is None:
        raise Refused(f"tensor {name[:80]!r} has the unknown type {str(entry.get('dtype'))[:20]!r}")
    elements = math.prod(shape)
    if elements * bits != (offsets[1] - offsets[0]) * 8:
        raise Refused(f"tensor {name[:80]!r} is not as long as its shape says")
    return shape, (offsets[0], offsets[1]), elements


_KEYS = {"dtype", "shape", "data_offsets"}


def _whole_numbers(value: object) -> tuple[int, ...] | None:
    if not isinstance(value, list) or not all(type(item) is int and 0 <= item < 2**63 for item in value):
        return None
    return tuple(value)


def _check_spans(spans: list[tuple[int, int]], data_bytes: int) -> None:
    end = 0
    for begin, after in sorted(spans):
        if begin != end or after < begin:
            raise Refused("its tensors overlap or leave a gap")
        end = after
    if end != data_bytes:
        raise Refused("it is not as long as its header says (cut off in a download?)")
