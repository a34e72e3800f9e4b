"""``bundle.json``, the first member of a bundle: what the other members are, so that each is checked as it is read.

``{"version": 1, "build", "name", "kind", "folder", "files": [...], "card", "sha256"}``, each file as ``{"path", "size",
"sha256", "chunk_bytes", "chunks"}``. ``chunks`` are the SHA-256 of each ``chunk_bytes`` of the file, where they are
known. ``card`` is the build's ``card.json`` without its list of files, and ``sha256`` at the end that of everything
else here (JSON with sorted keys).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from nanolocal.chat.routes import Kind
from nanolocal.errors import Damaged, UsageError
from nanolocal.library.pull.hashes import as_fetched, as_record
from nanolocal.library.pull.names import checked, checked_all
from nanolocal.library.pull.plan import SHA256, Fetched

MEMBER = "bundle.json"
MAX_BYTES = 64 * 2**20
_VERSION = 1
_MAX_FILES = 10_000
_MAX_SIZE = 2**46
_TEXT, _PICTURES = (".gguf", ".safetensors"), (".safetensors", ".json", ".txt", ".model")
_CARD = ("id", "name", "quantization", "licence", "tiny", "defaults", "quality", "pulled")
_HINT = "take it from the other machine again: nanolocal models bundle export"


@dataclass(frozen=True, slots=True)
class Manifest:
    """``build`` is the id that it had, ``folder`` the name of where it shall lie; ``files`` in the bundle's order."""

    build: str
    name: str
    kind: Kind
    folder: str
    files: tuple[Fetched, ...]
    card: Mapping[str, object] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def encoded(self) -> bytes:
        """As it stands in the bundle."""
        files = [{"path": file.name, "sha256": file.sha256, **as_record(file)} for file in self.files]
        said = {"version": _VERSION, "build": self.build, "name": self.name, "kind": self.kind, "folder": self.folder}
        table = {**said, "files": files, "card": dict(self.card)}
        return json.dumps({**table, "sha256": _sum_of(table)}).encode()


def decoded(raw: bytes) -> Manifest:
    """What a manifest says, every part checked; raises ``Damaged`` or, for names that are not safe, ``UsageError``."""
    try:
        table = json.loads(raw)
        if not isinstance(table, dict) or table["version"] != _VERSION:
            raise UsageError("the bundle is of a version that this nanolocal does not know", "use a newer nanolocal")
        if table.pop("sha256") != _sum_of(table):
            raise ValueError("another hash")
        kind, rows, card = Kind(table["kind"]), table["files"], table["card"]
        if not isinstance(rows, list) or not 0 < len(rows) <= _MAX_FILES or not isinstance(card, dict):
            raise ValueError("no files")
        files = tuple(_file(row) for row in rows)
        build, name, folder = (_text(table[key]) for key in ("build", "name", "folder"))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Damaged("the bundle's list of files makes no sense", _HINT) from error
    checked_all([checked(folder) + "/" + file.name for file in files])
    _check_kinds(kind, files)
    return Manifest(build, name, kind, folder, files, usable_card(card))


def _sum_of(table: Mapping[str, object]) -> str:
    """The hash of the list itself, so that no bit of a name or licence changes unnoticed."""
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()


def usable_card(card: Mapping[str, object]) -> dict[str, object]:
    """The parts of a card that go along with a build wherever it goes."""
    return {key: card[key] for key in _CARD if key in card}


def _check_kinds(kind: Kind, files: tuple[Fetched, ...]) -> None:
    """Only files that a build of that kind is made of: no code, no pickles, nothing that unpacks."""
    allowed = _PICTURES if kind is Kind.IMAGE else _TEXT
    for file in files:
        if not file.name.lower().endswith(allowed) or file.name == "card.json":
            raise UsageError(f"the bundle holds {file.name}, which no build needs: refused", "nothing was written")


def _file(row: object) -> Fetched:
    if not isinstance(row, dict):
        raise TypeError("no object")
    path, sha256, size = _text(row["path"]), _text(row["sha256"]), row["size"]
    if not SHA256.fullmatch(sha256) or type(size) is not int or not 0 <= size <= _MAX_SIZE:
        raise ValueError("no file")
    if not row.get("chunks"):
        return Fetched(path, size, sha256, 0, ())
    file = as_fetched(path, sha256, row)
    if file is None:
        raise ValueError("chunks that do not fit the file")
    return file


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("no text")
    return value
