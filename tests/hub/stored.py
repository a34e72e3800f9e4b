"""What the hub holds."""

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

_MOST_AT_ONCE = 64 * 2**20


@lru_cache(4)
def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@lru_cache(4)
def _oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0%b" % (len(content), content)).hexdigest()


@dataclass
class Stored:
    """A file: as LFS it lies on the second host, named by its SHA-256; otherwise the hub itself sends it."""

    path: str
    content: bytes
    is_lfs: bool = True
    version: int = 0

    @property
    def size(self) -> int:
        return len(self.content)

    def part(self, start: int, stop: int) -> bytes:
        return self.content[start:stop]

    @property
    def sha256(self) -> str:
        return _sha256(self.content)

    @property
    def oid(self) -> str:
        """Git's name for it."""
        return _oid(self.content)

    @property
    def etag(self) -> str:
        """Its mark where it lies; ``version`` changes it although the content is the same."""
        return f'"{self.oid}-{self.version}"'

    def entry(self) -> dict[str, object]:
        """As the tree and paths-info show it."""
        shown: dict[str, object] = {"type": "file", "path": self.path, "size": self.size, "oid": self.oid}
        if self.is_lfs:
            shown["lfs"] = {"oid": self.sha256, "size": self.size, "pointerSize": 134}
        return shown

    def sibling(self) -> dict[str, object]:
        """As the list of a revision shows it."""
        shown: dict[str, object] = {"rfilename": self.path, "size": self.size, "blobId": self.oid}
        if self.is_lfs:
            shown["lfs"] = {"sha256": self.sha256, "size": self.size, "pointerSize": 134}
        return shown


@dataclass
class OnDisk(Stored):
    """A file too large to be held in memory, at ``place``; a hole has no hash, so its names stand in for one."""

    place: Path = Path()

    @property
    def size(self) -> int:
        return self.place.stat().st_size

    def part(self, start: int, stop: int) -> bytes:
        assert stop - start <= _MOST_AT_ONCE, "a whole large file was asked for"
        with self.place.open("rb") as file:
            file.seek(start)
            return file.read(stop - start)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.path.encode()).hexdigest()

    @property
    def oid(self) -> str:
        return hashlib.sha1(self.path.encode()).hexdigest()


@dataclass
class Repo:
    """A model repository. ``is_gated`` asks for a token whose account accepted the licence."""

    id: str
    files: dict[str, Stored] = field(default_factory=dict)
    is_gated: bool = False
    card: dict[str, object] = field(default_factory=dict)

    @property
    def commit(self) -> str:
        return hashlib.sha1("".join(f"{name} {file.oid}" for name, file in self.files.items()).encode()).hexdigest()

    def add(self, path: str, content: bytes, *, is_lfs: bool = True) -> Stored:
        """A file, under whatever name."""
        self.files[path] = Stored(path, content, is_lfs)
        return self.files[path]

    def add_large(self, path: str, place: Path) -> Stored:
        """A file that stays on the disk."""
        self.files[path] = OnDisk(path, b"", place=place)
        return self.files[path]


HOSTILE_NAMES = (
    "../x.gguf",
    "a/../../x.gguf",
    "/abs.gguf",
    "C:\\x.gguf",
    "C:x.gguf",
    "\\\\host\\share\\x.gguf",
    "CON",
    "con.gguf",
    "aux.gguf",
    "x.gguf.",
    "x.gguf ",
    "a//x.gguf",
    "./x.gguf",
    "x\x00.gguf",
    "x\n.gguf",
    "\x1b[2Jx.gguf",
    "x\u202efugg.gguf",
    "",
    ".",
    "..",
    ".hidden.gguf",
    ".x.gguf.part",
    "x" * 300 + ".gguf",
)
"""Names that no library may write to."""
