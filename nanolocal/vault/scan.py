"""Looks for words in files, in every way a program might have written them down."""

import base64
import gzip
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_UNPACKED_BYTES = 1_000_000
_PACKED = re.compile(rb"\x78[\x01\x5e\x9c\xda]|\x1f\x8b\x08")


@dataclass(frozen=True, slots=True)
class Trace:
    """A ``word`` that stands in the file ``path``, written as ``form``."""

    path: Path
    form: str
    word: str

    def __str__(self) -> str:
        return f"{self.path.name}: {self.form} {self.word}"


def forms(word: str) -> dict[str, bytes]:
    """The byte strings that ``word`` leaves behind, raw and encoded, wherever it stands in a longer text."""
    raw = word.encode()
    found = {"raw": raw, "RAW": raw.upper(), "hex": raw.hex().encode()}
    found |= {"utf-16": word.encode("utf-16-le"), "utf-16-be": word.encode("utf-16-be")}
    found["HEX"] = found["hex"].upper()
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + raw)
        # The first and last characters also depend on the neighbours.
        found[f"base64+{shift}"] = encoded[4 if shift else 0 : len(encoded) // 4 * 4 - 4]
    return found


def written(text: str) -> dict[str, bytes]:
    """``text`` as programs write it down, by the name of the encoding: what a scanner must see through."""
    raw = text.encode()
    return {
        "plain text": raw,
        "upper case": raw.upper(),
        "UTF-16": text.encode("utf-16-le"),
        "UTF-16, big-endian": text.encode("utf-16-be"),
        "hexadecimal": raw.hex().encode(),
        "upper-case hexadecimal": raw.hex().upper().encode(),
        "base64": base64.b64encode(raw),
        "zlib": b"??" + zlib.compress(raw * 3),
        "gzip": gzip.compress(raw * 3),
    }


def traces(path: Path, data: bytes, words: Sequence[str]) -> list[Trace]:
    """Every form of every word in ``data``, which was read from ``path``, packed or not, and in the file's name."""
    needles = [(form, word, needle) for word in words for form, needle in forms(word).items()]
    found = [Trace(path, "file name", word) for word in words if word in path.name]
    for text, how in [(data, ""), *((unpacked, "zlib ") for unpacked in _unpacked(data))]:
        found += [Trace(path, how + form, word) for form, word, needle in needles if needle in text]
    return found


def leaks(directory: Path, words: Sequence[str]) -> list[str]:
    """Every trace below ``directory``; empty when nothing is in clear. Weights are left out: no program wrote them."""
    files = sorted(path for path in directory.rglob("*") if path.is_file() and path.suffix != ".gguf")
    return [str(trace) for path in files for trace in traces(path, path.read_bytes(), words)]


def _unpacked(data: bytes) -> list[bytes]:
    """Whatever begins like a zlib or gzip stream and unpacks."""
    texts = []
    view = memoryview(data)
    for match in _PACKED.finditer(data):
        packed = view[match.start() : match.start() + _UNPACKED_BYTES]
        try:
            texts.append(zlib.decompressobj(wbits=47).decompress(packed, _UNPACKED_BYTES))
        except zlib.error:
            continue
    return texts
