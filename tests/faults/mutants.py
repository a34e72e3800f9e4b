"""GGUF files that were changed in one place or two, the way a fuzzer does that knows the format."""

import random
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9
_ROOM = bytes(64)
"""Added at the end where a header grows or shrinks, so that the tensors still fit into the file."""
_EXTREMES = (0, 1, 2, 3, 7, 31, 32, 33, 255, 256, 257, 512, 513, 1025, 2**15, 2**16, 2**24 + 1, 2**31 - 1, 2**31,
             2**32 - 1, 2**48 + 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1)  # fmt: skip
_WORDS = (b"", b"x", b"\0", b"llama", b"qwen2", b"gemma", b"bert", b"clip", b"gpt2", b"none", b"t5", b"rwkv", b"plamo2",
          b"mamba", b"deepseek2", b"gemma3", b"yarn", b"\xff\xfe", b"<0x0A>", b"{{ x }}" * 12_000)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """A number or text of a header: what it is, where it begins, and how many bytes it has."""

    what: str
    at: int
    size: int


@dataclass(frozen=True, slots=True)
class Mutant:
    """A file that is no longer what it was: from which file, changed how, and its bytes now."""

    base: Path
    kinds: tuple[str, ...]
    content: bytes


def places(content: bytes) -> list[Place]:
    """Every field of a whole header, and its pairs as a whole (``pair``)."""
    found = [Place("version", 4, 4), Place("count", 8, 8), Place("count", 16, 8)]
    tensors, pairs = struct.unpack_from("<QQ", content, 8)
    at = 24
    for _ in range(pairs):
        begin = at
        at = _text(content, at, "key", found)
        (kind,) = struct.unpack_from("<I", content, at)
        found.append(Place("kind", at, 4))
        at = _value(content, at + 4, kind, found)
        found.append(Place("pair", begin, at - begin))
    for _ in range(tensors):
        at = _text(content, at, "name", found)
        (rank,) = struct.unpack_from("<I", content, at)
        found += [Place("rank", at, 4), *(Place("dimension", at + 4 + 8 * n, 8) for n in range(rank))]
        at += 4 + 8 * rank
        found += [Place("type", at, 4), Place("offset", at + 4, 8)]
        at += 12
    return found


def _text(content: bytes, at: int, what: str, found: list[Place]) -> int:
    (length,) = struct.unpack_from("<Q", content, at)
    found += [Place("length", at, 8), Place(what, at + 8, length)]
    return int(at + 8 + length)


def _value(content: bytes, at: int, kind: int, found: list[Place]) -> int:
    if kind == _STRING:
        return _text(content, at, "text", found)
    if kind != _ARRAY:
        found.append(Place("value", at, _SIZES[kind]))
        return at + _SIZES[kind]
    inner, count = struct.unpack_from("<IQ", content, at)
    found += [Place("kind", at, 4), Place("length", at + 4, 8)]
    at += 12
    for _ in range(count):
        at = _text(content, at, "item", found) if inner == _STRING else at + _SIZES[inner]
    return at


class Mutator:
    """Makes mutants of ``bases``; the same ``seed`` makes the same ones."""

    def __init__(self, bases: Sequence[Path], seed: int) -> None:
        self._bases = bases
        self._random = random.Random(seed)
        self._whole = {base: base.read_bytes() for base in bases}
        self._places = {base: places(content) for base, content in self._whole.items()}
        self._ways: Mapping[str, Callable[[Path, bytearray], None]] = {
            "bits flipped": self._flip,
            "cut off": self._cut,
            "length changed": self._number_in("length", "count"),
            "type changed": self._number_in("kind"),
            "number changed": self._number_in("value"),
            "tensor changed": self._number_in("rank", "dimension", "type", "offset"),
            "version changed": self._number_in("version"),
            "text replaced": self._replace,
            "texts swapped": self._swap,
            "entry repeated": self._repeat,
            "entry left out": self._leave_out,
            "entry of another type": self._retype,
            "array nested": self._nest,
            "two files spliced": self._splice,
        }

    def mutants(self, count: int) -> Iterator[Mutant]:
        """``count`` of them: two in three with one change, the others with two."""
        for number in range(count):
            base = self._bases[number % len(self._bases)]
            content = bytearray(self._whole[base])
            kinds = self._random.sample(sorted(self._ways), self._random.choice((1, 1, 2)))
            for kind in kinds:
                self._ways[kind](base, content)
            yield Mutant(base, tuple(kinds), bytes(content))

    def _pick(self, base: Path, *what: str) -> Place | None:
        return self._random.choice([place for place in self._places[base] if place.what in what] or [None])

    def _header_bytes(self, base: Path) -> int:
        last = max(self._places[base], key=lambda place: place.at)
        return last.at + last.size

    def _flip(self, base: Path, content: bytearray) -> None:
        end = self._header_bytes(base) if self._random.random() < 0.9 else len(content)
        for _ in range(self._random.choice((1, 1, 2, 8))):
            at = self._random.randrange(min(end, len(content)) or 1)
            content[at : at + 1] = bytes([content[at] ^ 1 << self._random.randrange(8)]) if content else b""

    def _cut(self, base: Path, content: bytearray) -> None:
        end = self._header_bytes(base) if self._random.random() < 0.5 else len(content)
        del content[self._random.randrange(end) :]

    def _number_in(self, *what: str) -> Callable[[Path, bytearray], None]:
        def change(base: Path, content: bytearray) -> None:
            place = self._pick(base, *what)
            if place is None or place.at + place.size > len(content):
                return
            old = int.from_bytes(content[place.at : place.at + place.size], "little")
            near = (old - 1, old + 1, old * 2, old // 2, old ^ 1 << self._random.randrange(8 * place.size))
            small = range(14) if "kind" in what else range(42) if place.what == "type" else near
            new = self._random.choice([self._random.choice(_EXTREMES), self._random.choice(small)])
            content[place.at : place.at + place.size] = (new % 2 ** (8 * place.size)).to_bytes(place.size, "little")

        return change

    def _replace(self, base: Path, content: bytearray) -> None:
        place = self._pick(base, "text", "text", "key", "item", "name")
        if place is not None:
            self._put(content, place, self._random.choice(_WORDS))

    def _swap(self, base: Path, content: bytearray) -> None:
        """One text becomes equal to another of its sort."""
        what = self._random.choice(("text", "key", "item", "name"))
        place, other = self._pick(base, what), self._pick(base, what)
        if place is not None and other is not None:
            self._put(content, place, self._whole[base][other.at : other.at + other.size])

    def _put(self, content: bytearray, place: Place, text: bytes) -> None:
        """Replace a text; what follows moves."""
        if place.at + place.size > len(content):
            return
        content[place.at - 8 : place.at + place.size] = struct.pack("<Q", len(text)) + text
        content += _ROOM

    def _repeat(self, base: Path, content: bytearray) -> None:
        place = self._pick(base, "pair")
        if place is not None:
            self._add_pairs(content, self._whole[base][place.at : place.at + place.size], 1)

    def _leave_out(self, base: Path, content: bytearray) -> None:
        place = self._pick(base, "pair")
        if place is not None and len(content) > place.at + place.size:
            del content[place.at : place.at + place.size]
            self._count_pairs(content, -1)
            content += _ROOM

    def _retype(self, base: Path, content: bytearray) -> None:
        """An entry keeps its key and becomes a text, a number, a truth value or a list."""
        place = self._pick(base, "pair")
        if place is None or len(content) < place.at + place.size:
            return
        (length,) = struct.unpack_from("<Q", self._whole[base], place.at)
        key = self._whole[base][place.at : place.at + 8 + length]
        content[place.at : place.at + place.size] = key + self._random.choice(_VALUES)
        content += _ROOM

    def _nest(self, base: Path, content: bytearray) -> None:
        depth = self._random.choice((2, 3, 2000))
        self._add_pairs(content, struct.pack("<Q", 4) + b"nest" + struct.pack("<I", 9) * depth + bytes(12), 1)

    def _splice(self, base: Path, content: bytearray) -> None:
        other = self._whole[self._random.choice(self._bases)]
        content[self._random.randrange(len(content) + 1) :] = other[self._random.randrange(len(other)) :]

    def _add_pairs(self, content: bytearray, pairs: bytes, count: int) -> None:
        content[24:24] = pairs
        self._count_pairs(content, count)
        content += _ROOM

    def _count_pairs(self, content: bytearray, more: int) -> None:
        if len(content) >= 24:
            (count,) = struct.unpack_from("<Q", content, 16)
            struct.pack_into("<Q", content, 16, (count + more) % 2**64)


_VALUES = (
    struct.pack("<IQ", 8, 4) + b"four",
    struct.pack("<II", 4, 0),
    struct.pack("<II", 4, 3),
    struct.pack("<Ii", 5, -1),
    struct.pack("<If", 6, float("nan")),
    struct.pack("<IB", 7, 1),
    struct.pack("<IB", 7, 5),
    struct.pack("<IQ", 10, 2**63),
    struct.pack("<IIQ", 9, 4, 0),
    struct.pack("<IIQI", 9, 4, 1, 2),
    struct.pack("<IIQf", 9, 6, 1, 0.5),
    struct.pack("<IIQB", 9, 7, 1, 1),
    struct.pack("<IIQQ", 9, 8, 1, 1) + b"a",
)
