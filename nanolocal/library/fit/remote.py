"""The layout of a model that is not here, from a few megabytes at the beginning of its file."""

import io
from dataclasses import dataclass

from nanolocal.formats.gguf import read_header
from nanolocal.library.fit.blocks import BlockFile, ReadRange
from nanolocal.library.fit.layout import Layout, join


@dataclass(frozen=True, slots=True)
class RemoteHeader:
    """What was learned, the header itself for the probe, and how many bytes that took."""

    layout: Layout
    header: bytes
    fetched: int


def read_remote(read_range: ReadRange, size: int, name: str) -> RemoteHeader:
    """Read the header of a whole GGUF of ``size`` bytes; raises ``Damaged`` and what ``read_range`` raises."""
    blocks = BlockFile(read_range, size)
    facts = read_header(io.BufferedReader(blocks, 64 * 2**10), size, name, with_layout=True)
    layout = join([facts], [size])
    return RemoteHeader(layout, blocks.head(facts.data_start), blocks.fetched)
