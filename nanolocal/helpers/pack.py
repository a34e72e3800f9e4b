"""A read-only file of short texts by key: a table of contents, then compressed blocks in the order of the keys.

The word NLREF1 and a line end, the length of the compressed table of contents (4 bytes, little-endian), the table, the
blocks. The table is JSON: for each block its first key, its offset behind the table and its length. A block holds lines
of key, title and text, separated by tabs. Finding a key reads and unpacks one block.
"""

import json
import lzma
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from nanolocal.errors import Damaged

_MAGIC = b"NLREF1\n"
_BLOCK_BYTES = 64 * 2**10
_MOST_BYTES = 2**20
"""No block and no table of contents is larger, unpacked."""
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 4, "lp": 0, "pb": 0, "dict_size": 2**18}]
_KEPT_BLOCKS = 4


@dataclass(frozen=True, slots=True)
class Record:
    """One entry; none of its texts has a tab or a line end."""

    key: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class _Contents:
    keys: tuple[str, ...]
    places: tuple[tuple[int, int], ...]
    start: int


class Pack:
    """The file at ``path``, opened when something is first looked up. Raises ``Damaged`` where it cannot be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._contents: _Contents | None = None
        self._block = lru_cache(maxsize=_KEPT_BLOCKS)(self._read_block)

    def get(self, key: str) -> Record | None:
        """The entry with exactly that key."""
        return next((record for record in self._around(key) if record.key == key), None)

    def starting(self, prefix: str, most: int = 20) -> list[Record]:
        """The first entries whose keys begin with ``prefix``, of the block that the first one would be in."""
        return [record for record in self._around(prefix) if record.key.startswith(prefix)][:most]

    def records(self) -> Iterator[Record]:
        """All of them, in the order of their keys."""
        contents = self._open()
        for number in range(len(contents.places)):
            yield from self._block(number)

    def _around(self, key: str) -> Sequence[Record]:
        contents = self._open()
        number = bisect_right(contents.keys, key) - 1
        return self._block(number) if number >= 0 else ()

    def _open(self) -> _Contents:
        if self._contents is None:
            self._contents = self._read_contents()
        return self._contents

    def _read_contents(self) -> _Contents:
        head = self._bytes(0, len(_MAGIC) + 4)
        size = int.from_bytes(head[len(_MAGIC) :], "little")
        if head[: len(_MAGIC)] != _MAGIC or not 0 < size <= _MOST_BYTES:
            raise self._damaged("it is no reference")
        try:
            unpacker = zlib.decompressobj()
            table = json.loads(unpacker.decompress(self._bytes(len(head), size), _MOST_BYTES))
            keys = tuple(str(key) for key, _, _ in table)
            places = tuple((int(offset), int(length)) for _, offset, length in table)
        except (zlib.error, ValueError, TypeError, RecursionError) as error:
            raise self._damaged("its table of contents cannot be read") from error
        return _Contents(keys, places, len(head) + size)

    def _read_block(self, number: int) -> tuple[Record, ...]:
        contents = self._open()
        offset, length = contents.places[number]
        if offset < 0 or not 0 < length <= _MOST_BYTES:
            raise self._damaged("its table of contents is wrong")
        packed = self._bytes(contents.start + offset, length)
        try:
            unpacker = lzma.LZMADecompressor(format=lzma.FORMAT_RAW, filters=_FILTERS)
            text = unpacker.decompress(packed, _MOST_BYTES).decode()
            return tuple(Record(*line.split("\t")) for line in text.split("\n"))
        except (lzma.LZMAError, EOFError, ValueError, TypeError) as error:
            raise self._damaged("a part of it cannot be unpacked") from error

    def _bytes(self, offset: int, length: int) -> bytes:
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                data = file.read(length)
        except OSError as error:
            raise self._damaged(error.strerror or "it cannot be read") from error
        if len(data) != length:
            raise self._damaged("it is cut off")
        return data

    def _damaged(self, why: str) -> Damaged:
        hint = "install nanolocal anew, or turn lookups off with helpers = false in the settings"
        return Damaged(f"the reference {self.path.name} cannot be used: {why}", hint)


def write_pack(path: Path, records: Iterable[Record]) -> None:
    """Write the file; the same records give the same bytes. Raises ``ValueError`` for two entries with one key."""
    table: list[tuple[str, int, int]] = []
    packed = bytearray()
    for block in _blocks(sorted(records, key=lambda record: record.key)):
        text = "\n".join(f"{record.key}\t{record.title}\t{record.text}" for record in block)
        data = lzma.compress(text.encode(), format=lzma.FORMAT_RAW, filters=_FILTERS)
        table.append((block[0].key, len(packed), len(data)))
        packed += data
    contents = zlib.compress(json.dumps(table, ensure_ascii=False, separators=(",", ":")).encode(), 9)
    path.write_bytes(_MAGIC + len(contents).to_bytes(4, "little") + contents + bytes(packed))


def _blocks(records: Sequence[Record]) -> Iterator[list[Record]]:
    """Neighbours that together have about the size of a block; entries of one kind, the key's first letter, alone."""
    block: list[Record] = []
    size, before = 0, ""
    for record in records:
        if record.key == before:
            raise ValueError(f"two entries have the key {record.key!r}")
        if any(mark in part for part in (record.key, record.title, record.text) for mark in "\t\n"):
            raise ValueError(f"the entry {record.key!r} has a tab or a line end")
        before = record.key
        if block and (size >= _BLOCK_BYTES or record.key[0] != block[0].key[0]):
            yield block
            block, size = [], 0
        block.append(record)
        size += len(record.key) + len(record.title) + len(record.text)
    if block:
        yield block
