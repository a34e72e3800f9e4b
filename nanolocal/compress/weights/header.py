"""A GGUF file with other metadata: its header is written anew, its weights are copied as they are."""

import shutil
import struct
from collections.abc import Mapping
from pathlib import Path

from nanolocal.errors import UsageError
from nanolocal.formats.entries import Entries
from nanolocal.formats.gguf import Tensor, read_facts

Value = str | int | float | bool

_HEAD = struct.Struct("<4sIQQ")
_UINT32, _INT64, _FLOAT64, _BOOL, _STRING = 4, 11, 12, 7, 8
_COPY_BYTES = 2**22

WRITTEN_BESIDE = 128
"""What llama.cpp writes into a header of its own: the numbers of the recipe and of its version, and the padding."""


def with_metadata(path: Path, out: Path, metadata: Mapping[str, Value]) -> None:
    """Write ``path`` to ``out`` with these entries, in place of those of the same name; raises ``Damaged``."""
    facts = read_facts(path, with_layout=True)
    alignment = int(facts.metadata.get("general.alignment", 32))
    with path.open("rb") as file, out.open("wb") as target:
        magic, version, tensors, pairs = _HEAD.unpack(file.read(_HEAD.size))
        entries = Entries(file, path.stat().st_size)
        kept: list[bytes] = []
        for _ in range(pairs):
            began = file.tell()
            known = set(entries.metadata) | set(entries.lengths)
            entries.read()
            (key,) = (set(entries.metadata) | set(entries.lengths)) - known
            if key not in metadata:
                ended = file.tell()
                file.seek(began)
                kept.append(file.read(ended - began))
        kept += [_entry(key, value) for key, value in metadata.items()]
        infos = file.read(_infos_bytes(facts.layout))
        target.write(_HEAD.pack(magic, version, tensors, len(kept)) + b"".join(kept) + infos)
        target.write(bytes(-target.tell() % alignment))
        file.seek(facts.data_start)
        shutil.copyfileobj(file, target, _COPY_BYTES)


def added_bytes(metadata: Mapping[str, Value]) -> int:
    """What these entries take in a header that has none of them."""
    return sum(len(_entry(key, value)) for key, value in metadata.items())


def _infos_bytes(layout: tuple[Tensor, ...]) -> int:
    """Of each tensor: its name with a length, the number of its sizes, these, its type and its offset."""
    return sum(8 + len(each.name.encode()) + 4 + 8 * len(each.shape) + 4 + 8 for each in layout)


def _entry(key: str, value: Value) -> bytes:
    name = _text(key)
    if isinstance(value, bool):
        return name + struct.pack("<I?", _BOOL, value)
    if isinstance(value, int):
        if 0 <= value < 2**32:
            return name + struct.pack("<II", _UINT32, value)
        return name + struct.pack("<Iq", _INT64, value)
    if isinstance(value, float):
        return name + struct.pack("<Id", _FLOAT64, value)
    if isinstance(value, str):
        return name + struct.pack("<I", _STRING) + _text(value)
    raise UsageError(f"{key} cannot be stored in a header", "store texts and numbers")


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data
