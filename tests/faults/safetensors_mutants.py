"""Safetensors files that were changed in one place, as bytes or as JSON."""

import json
import random
import struct
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any

Header = dict[str, Any]
BASE: Header = {
    "__metadata__": {"format": "pt", "title": "small"},
    "conv_in.weight": {"dtype": "F32", "shape": [2, 4], "data_offsets": [0, 32]},
    "conv_in.bias": {"dtype": "F16", "shape": [4], "data_offsets": [32, 40]},
    "mid.weight": {"dtype": "BF16", "shape": [2, 2, 2], "data_offsets": [40, 56]},
    "steps": {"dtype": "I64", "shape": [], "data_offsets": [56, 64]},
}
_DATA = bytes(range(64))
_NUMBERS: tuple[Any, ...] = (
    0,
    1,
    -1,
    31,
    33,
    2**31,
    2**32,
    2**53,
    2**63 - 1,
    2**63,
    2**64,
    2**70,
    1e300,
    0.5,
    True,
    None,
    "8",
    [8],
    {},
)
_TYPES = ("F64", "F32", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "F4", "f32", "X", "", 5, None, ["F32"])


def whole(header: Header) -> bytes:
    """The file for a header, with data of 64 bytes."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + _DATA


class Mutator:
    """The same ``seed`` makes the same mutants."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._ways: Mapping[str, Callable[[], bytes]] = {
            "bits flipped": self._flip,
            "cut off": self._cut,
            "header length changed": self._length,
            "number changed": self._number,
            "type changed": self._type,
            "field left out or added": self._field,
            "offsets moved": self._offsets,
            "name repeated": self._repeat,
            "metadata changed": self._metadata,
            "nested": self._nest,
            "text around": self._around,
        }

    def mutants(self, count: int) -> Iterator[tuple[str, bytes]]:
        """``count`` of them, each with the kind of change."""
        for _ in range(count):
            kind = self._random.choice(sorted(self._ways))
            yield kind, self._ways[kind]()

    def _copy(self) -> tuple[Header, Header]:
        """A copy of the header, and one of its tensors."""
        header = deepcopy(BASE)
        return header, header[self._random.choice([name for name in header if name != "__metadata__"])]

    def _flip(self) -> bytes:
        content = bytearray(whole(BASE))
        for _ in range(self._random.choice((1, 1, 2, 8))):
            content[self._random.randrange(len(content))] ^= 1 << self._random.randrange(8)
        return bytes(content)

    def _cut(self) -> bytes:
        content = whole(BASE)
        return content[: self._random.randrange(len(content))]

    def _length(self) -> bytes:
        content = whole(BASE)
        length = len(content) - 72
        new = self._random.choice((0, 1, length - 1, length + 1, len(content), 2**31, 2**32, 2**63, 2**64 - 1))
        return struct.pack("<Q", new) + content[8:]

    def _number(self) -> bytes:
        header, tensor = self._copy()
        numbers = tensor[self._random.choice(("shape", "data_offsets"))]
        numbers[self._random.randrange(len(numbers) or 1) :][:1] = []
        numbers.insert(self._random.randrange(len(numbers) + 1), self._random.choice(_NUMBERS))
        return whole(header)

    def _type(self) -> bytes:
        header, tensor = self._copy()
        tensor["dtype"] = self._random.choice(_TYPES)
        return whole(header)

    def _field(self) -> bytes:
        header, tensor = self._copy()
        field = self._random.choice(("dtype", "shape", "data_offsets", "more"))
        if tensor.pop(field, None) is None:
            tensor[field] = self._random.choice(_NUMBERS)
        return whole(header)

    def _offsets(self) -> bytes:
        header, tensor = self._copy()
        by = self._random.choice((-40, -8, -1, 1, 4, 8, 2**63, 2**64))
        tensor["data_offsets"] = [number + by for number in tensor["data_offsets"]]
        return whole(header)

    def _repeat(self) -> bytes:
        header, _ = self._copy()
        text = json.dumps(header)
        names = list(header)
        text = text.replace(f'"{self._random.choice(names)}"', f'"{self._random.choice(names)}"', 1)
        return struct.pack("<Q", len(text)) + text.encode() + _DATA

    def _metadata(self) -> bytes:
        header, tensor = self._copy()
        header["__metadata__"] = self._random.choice(
            ({}, {"a": 1}, {"a": None}, {"a": {"b": "c"}}, {"a": ["b"]}, [], "text", 5, None, tensor, {"a": "é\0" * 99})
        )
        return whole(header)

    def _nest(self) -> bytes:
        header, _ = self._copy()
        depth = self._random.choice((2, 50, 5000))
        text = json.dumps(header)[:-1] + ', "deep": ' + self._random.choice(("[", '{"a":')) * depth + "}" * 3
        return struct.pack("<Q", len(text)) + text.encode() + _DATA

    def _around(self) -> bytes:
        ends = (("", " " * 9), (" ", ""), ("\ufeff", ""), ("", "{}"), ("[", "]"), ("", "\0"))
        before, after = self._random.choice(ends)
        text = (before + json.dumps(BASE) + after).encode()
        return struct.pack("<Q", len(text)) + text + _DATA
