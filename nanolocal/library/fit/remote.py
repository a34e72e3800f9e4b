"""The layout of a model that is not here, from a few megabytes at the beginning of its file."""

import io
from collections.abc import Iterable
from dataclasses import dataclass

from nanolocal.formats.gguf import GGUFFacts, read_header
from nanolocal.library.fit.blocks import BlockFile, ReadRange
from nanolocal.library.fit.layout import Layout, join

_BUFFER = 64 * 2**10


@dataclass(frozen=True, slots=True)
class Header:
    """The beginning of one file, up to its data: its name, its bytes, and the size of the whole file."""

    name: str
    content: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Remote:
    """What was learned, the headers themselves for the probe, and how many bytes that took."""

    layout: Layout
    headers: tuple[Header, ...]
    fetched: int


@dataclass(frozen=True, slots=True)
class _Read:
    facts: GGUFFacts
    header: Header
    fetched: int


def read_remote(files: Iterable[tuple[str, int, ReadRange]]) -> Remote:
    """Read the headers of all parts of a GGUF (name, size, reader); raises ``Damaged`` and what the readers raise."""
    parts = [_read(*file, is_first=not number) for number, file in enumerate(files)]
    layout = join([part.facts for part in parts], [part.header.size for part in parts])
    return Remote(layout, tuple(part.header for part in parts), sum(part.fetched for part in parts))


def _read(name: str, size: int, read_range: ReadRange, *, is_first: bool) -> _Read:
    blocks = BlockFile(read_range, size)
    file = io.BufferedReader(blocks, _BUFFER)
    facts = read_header(file, size, name, is_first=is_first, with_layout=True)
    return _Read(facts, Header(name, blocks.head(facts.data_start), size), blocks.fetched)
