"""The text that builds are calibrated and measured with: built in, from files of the user, or given in memory.

It is split by document: what a build is measured with, it was not calibrated with.
"""

import hashlib
import json
import lzma
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from nanolocal.errors import UsageError

BUILT_IN = "built-in mixed text"
MAX_FILE_BYTES = 64 * 2**20
_PIECE_LETTERS = 2_000
"""What a document of a file is cut into at least, where the file says nothing about its parts."""
_HELD_OUT_OF = 3
_FEWEST = 2 * _HELD_OUT_OF


@dataclass(frozen=True, slots=True)
class Text:
    """Documents to calibrate with and others to measure with; ``name`` and ``sha256`` are for the report.

    ``is_public`` says whether it may be written to work files, and sent to other machines.
    """

    name: str
    calibration: tuple[str, ...]
    held_out: tuple[str, ...]
    sha256: str
    is_public: bool = True

    def calibration_text(self) -> str:
        """All of it as one text."""
        return joined(self.calibration)

    def held_out_text(self) -> str:
        """All of it as one text."""
        return joined(self.held_out)


def built_in(kinds: Iterable[str] = ()) -> Text:
    """The text that comes with the program, its kinds mixed, or only some: see ``data/SOURCES.md``.

    Raises ``UsageError`` for a kind that there is not.
    """
    packed = files("nanolocal.compress.measuring").joinpath("data/calibration.jsonl.xz").read_bytes()
    documents = [json.loads(line) for line in lzma.decompress(packed).splitlines()]
    known = list(dict.fromkeys(each["kind"] for each in documents))
    wanted = list(kinds) or known
    if unknown := [kind for kind in wanted if kind not in known]:
        raise UsageError(f"there is no built-in text of kind {unknown[0]!r}", f"choose of {', '.join(known)}")

    def part(held_out: bool) -> list[str]:
        chosen = [each for each in documents if each["held_out"] is held_out]
        return _mixed([[each["text"] for each in chosen if each["kind"] == kind] for kind in wanted])

    name = BUILT_IN if wanted == known else f"{BUILT_IN} ({', '.join(wanted)})"
    return _text(name, part(False), part(True))


def from_files(paths: Sequence[Path]) -> Text:
    """The text of files, UTF-8: each a document, or where they are few the parts between blank lines.

    Raises ``UsageError`` for what cannot be read, is no text or is too little.
    """
    documents = [_read(path) for path in paths]
    if len(documents) < _FEWEST:
        documents = [piece for document in documents for piece in _pieces(document)]
    names = ", ".join(path.name for path in paths)
    return split(documents, name=names, is_public=True)


def split(documents: Sequence[str], *, name: str, is_public: bool) -> Text:
    """Of ``documents`` in their order every third is held out; raises ``UsageError`` where there are too few."""
    kept = [document for document in documents if document.strip()]
    if len(kept) < _FEWEST:
        raise UsageError(
            f"{name} is too little text to calibrate and measure with", "give more text, or use what is built in"
        )
    held = kept[_HELD_OUT_OF - 1 :: _HELD_OUT_OF]
    rest = [document for index, document in enumerate(kept) if index % _HELD_OUT_OF != _HELD_OUT_OF - 1]
    return _text(name, rest, held, is_public=is_public)


def joined(documents: Iterable[str]) -> str:
    """Documents as one text, with an empty line between them."""
    return "\n\n".join(document.strip() for document in documents)


def _text(name: str, calibration: Sequence[str], held_out: Sequence[str], *, is_public: bool = True) -> Text:
    together = json.dumps([list(calibration), list(held_out)], ensure_ascii=False)
    digest = hashlib.sha256(together.encode("utf-8", "replace")).hexdigest()
    return Text(name, tuple(calibration), tuple(held_out), digest, is_public)


def _mixed(groups: Sequence[Sequence[str]]) -> list[str]:
    """All of them, each group spread evenly: any beginning is a mix of all."""
    placed = [
        ((index + 0.5) / len(group), number, document)
        for number, group in enumerate(groups)
        for index, document in enumerate(group)
    ]
    return [document for _, _, document in sorted(placed)]


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UsageError(f"{path.name} is larger than {MAX_FILE_BYTES // 2**20} MiB", "give a part of it")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{path.name} is no text in UTF-8", "convert it first") from None
    except OSError as error:
        raise UsageError(f"{path.name} cannot be read: {error.strerror}", "name a text file") from error


def _pieces(document: str) -> list[str]:
    """Neighbouring paragraphs together, until they are long enough."""
    pieces: list[str] = []
    begun: list[str] = []
    for paragraph in document.replace("\r\n", "\n").split("\n\n"):
        begun.append(paragraph)
        if sum(map(len, begun)) >= _PIECE_LETTERS:
            pieces.append("\n\n".join(begun))
            begun = []
    return [*pieces, "\n\n".join(begun)] if begun else pieces
