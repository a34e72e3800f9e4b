"""Writing a bundle: the files of one build from wherever they lie, nothing compressed, each checked as it is read."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from nanolocal.chat.routes import Build, Kind
from nanolocal.errors import Damaged, UsageError
from nanolocal.formats.splits import parts_of
from nanolocal.library.bundle.archive import END, MAX_NAME, header, padding
from nanolocal.library.bundle.hashing import Hashing
from nanolocal.library.bundle.manifest import MEMBER, Manifest, usable_card
from nanolocal.library.cards import CARD, Card
from nanolocal.library.jsonfiles import read_object
from nanolocal.library.naming import slug
from nanolocal.library.pull.names import checked
from nanolocal.library.pull.plan import Fetched

Told = Callable[[str, int, int], None]
"""Hears what is going on, and how many bytes of how many are done."""

_PIECE = 2**20
_PIPELINE_FILES = frozenset({".safetensors", ".json", ".txt", ".model"})
_GONE = "the build changed meanwhile: try again"


@dataclass(frozen=True, slots=True)
class _Source:
    """A file to take along, under the name it gets in the bundle."""

    path: Path
    name: str


def export(build: Build, out: BinaryIO, told: Told) -> Manifest:
    """Write ``build`` to ``out``, which need not be able to seek, and return what it holds.

    Every file is read twice, since the list of them stands first. Raises ``Damaged`` where one is not what its card
    says or changes meanwhile, ``UsageError`` where one is gone.
    """
    sources = list(_sources(build))
    try:
        total = sum(source.path.stat().st_size for source in sources)
        manifest = _manifest(build, sources, _counting(told, "reading", total))
        raw = manifest.encoded()
        for piece in (header(MEMBER, len(raw)), raw, padding(len(raw))):
            out.write(piece)
        tell = _counting(told, "writing", total)
        for source, file in zip(sources, manifest.files, strict=True):
            _write(source, file, out, tell)
        out.write(END)
    except FileNotFoundError as error:
        raise UsageError(f"{error.filename} is gone", "nanolocal models list") from error
    return manifest


def _sources(build: Build) -> Iterator[_Source]:
    """The files of a build; those of stores that name files by their hashes get names made from its id."""
    if build.path.is_dir():
        for path in sorted(build.path.rglob("*")):
            if path.suffix.lower() in _PIPELINE_FILES and path.name != CARD and path.is_file():
                yield _Source(path, _fitting(path.relative_to(build.path).as_posix()))
        return
    model, _, quantization = build.id.partition("#")[0].partition(":")
    suffix = ".safetensors" if build.kind is Kind.IMAGE else ".gguf"
    for path in parts_of(build.path):
        yield _Source(path, _named(path.name, suffix, f"{slug(model)}-{quantization}{suffix}"))
    if build.projector is not None:
        yield _Source(build.projector, _named(build.projector.name, suffix, f"mmproj-{slug(model)}{suffix}"))


def _named(name: str, suffix: str, otherwise: str) -> str:
    return name if name.lower().endswith(suffix) and _is_safe(name) else otherwise


def _fitting(name: str) -> str:
    if not _is_safe(name):
        raise UsageError(f"{name[:200]!r} cannot be taken along: its name is not one for every system", "rename it")
    return name


def _is_safe(name: str) -> bool:
    try:
        return len(checked(name).encode()) <= MAX_NAME
    except UsageError:
        return False


def _manifest(build: Build, sources: list[_Source], tell: Callable[[int], None]) -> Manifest:
    folder = build.path if build.path.is_dir() else build.path.parent
    files = tuple(_hashed(source, folder, tell) for source in sources)
    card = _card(folder)
    named = build.id.partition(":")[0].partition("#")[0]
    facts = {"licence": build.licence, **card} if build.licence else card
    if build.path.is_dir():
        facts = {"id": named, "quantization": build.quantization, **facts}
    return Manifest(build.id, build.name, build.kind, slug(named), files, usable_card(facts))


def _card(folder: Path) -> dict[str, object]:
    try:
        return read_object(folder / CARD)
    except (Damaged, OSError):
        return {}


def _hashed(source: _Source, folder: Path, tell: Callable[[int], None]) -> Fetched:
    """Size and hashes of a file as it is now; they must be those that the card in ``folder`` tells."""
    hashing = Hashing()
    for piece in _read(source.path):
        hashing.add(piece)
        tell(len(piece))
    file = hashing.done(source.name)
    if source.path.is_relative_to(folder):
        Card.beside(folder / CARD).check(source.path, file.sha256)
    return file


def _write(source: _Source, file: Fetched, out: BinaryIO, tell: Callable[[int], None]) -> None:
    out.write(header(file.name, file.size))
    hashing, written = Hashing(), 0
    for piece in _read(source.path):
        hashing.add(piece)
        written += len(piece)
        if written > file.size:
            raise Damaged(f"{source.path.name} has grown", _GONE)
        out.write(piece)
        tell(len(piece))
    if hashing.done(file.name) != file:
        raise Damaged(f"{source.path.name} is another file now", _GONE)
    out.write(padding(file.size))


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece


def _counting(told: Told, what: str, total: int) -> Callable[[int], None]:
    """``told`` as something that hears of more bytes."""
    done = 0

    def tell(count: int) -> None:
        nonlocal done
        done += count
        told(what, done, total)

    return tell
