"""The GGUF and checkpoint builds among the files of a repository: split files and projectors with their models."""

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from nanolocal.formats.splits import MAX_PARTS, SPLIT
from nanolocal.library.catalogue.names import quantization_of
from nanolocal.library.companions import precision_of, words_of
from nanolocal.library.pull.choosing import Option, RemoteFile, Shape

PROJECTOR = "mmproj"
"""What the names of projectors have in common."""
_NO_MODELS = ("imatrix", "-lora", "_lora", "adapter")


def ggufs(files: Sequence[RemoteFile], projector: str = "") -> tuple[Option, ...]:
    """Every GGUF build; ``projector`` is the file that the catalogue names for seeing."""
    named = [file for file in files if file.path.lower().endswith(".gguf")]
    projectors = [file for file in named if PROJECTOR in file.base.lower()]
    groups: dict[str, list[RemoteFile]] = {}
    for file in named:
        if file not in projectors and not any(word in file.base.lower() for word in _NO_MODELS):
            groups.setdefault(_stem(file), []).append(file)
    return tuple(_option(stem, parts, _best(stem, projectors, projector)) for stem, parts in groups.items())


def checkpoints(files: Iterable[RemoteFile]) -> tuple[Option, ...]:
    """Single safetensors files at the top, each a build of its own."""
    return tuple(
        Option(Shape.CHECKPOINT, PurePosixPath(file.path).stem, (file,))
        for file in files
        if "/" not in file.path and file.path.lower().endswith(".safetensors")
    )


def _stem(file: RemoteFile) -> str:
    """The path without suffix and number of the part."""
    path = PurePosixPath(file.path)
    match = SPLIT.match(path.stem)
    return (path.parent / (match["stem"] if match else path.stem)).as_posix()


def _option(stem: str, parts: list[RemoteFile], projector: RemoteFile | None) -> Option:
    ordered = sorted(parts, key=lambda part: part.path)
    name = stem.rpartition("/")[2]
    label = quantization_of(name) or quantization_of(f"x-{stem.rpartition('/')[0].rpartition('/')[2]}") or name
    return Option(Shape.GGUF, label, tuple(ordered), (projector,) if projector else (), _lacks(ordered))


def _lacks(ordered: Sequence[RemoteFile]) -> str:
    """What keeps split files from being whole: each names its number and the total."""
    found = [SPLIT.match(PurePosixPath(part.path).stem) for part in ordered]
    numbers = [(int(match["number"]), int(match["total"])) for match in found if match]
    if not numbers:
        return "" if len(ordered) == 1 else "two files of one name"
    total = numbers[0][1]
    if total > MAX_PARTS or numbers != [(n, total) for n in range(1, total + 1)]:
        return f"{len(ordered)} of its {total} parts are there"
    return ""


def _best(stem: str, projectors: Sequence[RemoteFile], named: str) -> RemoteFile | None:
    """The projector that the catalogue names; else the one whose words fit the model best, 16 bits before others."""
    words = words_of(PurePosixPath(f"{stem}.gguf"))
    fitting = [(len(own & words), precision_of(file.base), file)
               for file in projectors if (own := words_of(PurePosixPath(file.path))) <= words]  # fmt: skip
    exact = next((file for file in projectors if named and named in (file.path, file.base)), None)
    return exact or max(fitting, key=lambda each: each[:2], default=(0, 0, None))[2]
