"""Looks for words in every file below a directory, in every way a program might have written them down."""

import base64
import re
import zlib
from pathlib import Path


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


def leaks(directory: Path, words: list[str]) -> list[str]:
    """Every (file, form, word) found; empty when nothing is in clear. Weights are left out: no program wrote them."""
    needles = {pattern: f"{name} {word}" for word in words for name, pattern in forms(word).items()}
    any_needle = re.compile(b"|".join(re.escape(needle) for needle in needles))
    found = []
    for path in sorted(path for path in directory.rglob("*") if path.is_file() and path.suffix != ".gguf"):
        data = path.read_bytes()
        for text, how in [(data, ""), *((unpacked, "zlib ") for unpacked in _unpacked(data))]:
            found += [f"{path.name}: {how}{needles[match]}" for match in any_needle.findall(text)]
        found += [f"file name: {word}" for word in words if word in path.name]
    return found


def _unpacked(data: bytes) -> list[bytes]:
    """Whatever begins like a zlib or gzip stream and unpacks."""
    texts = []
    for match in re.finditer(rb"\x78[\x01\x5e\x9c\xda]|\x1f\x8b\x08", data):
        try:
            texts.append(zlib.decompressobj(wbits=47).decompress(data[match.start() :], 1_000_000))
        except zlib.error:
            continue
    return texts
