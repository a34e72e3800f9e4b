"""Any folder: GGUF files, safetensors files and diffusers folders, and inside it whole stores of other programs."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from nanolocal.errors import Damaged
from nanolocal.formats.pipeline_folder import INDEX, PICKLES, TO_CONVERT
from nanolocal.formats.splits import firsts
from nanolocal.library.found import Found, Problem
from nanolocal.library.jsonfiles import read_object
from nanolocal.library.walk import Folder, Walk

NAME = "folder"
_SUFFIXES = PICKLES | {".gguf", ".safetensors"}
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.safetensors$")
_OLD_GGML = (b"lmgg", b"fmgg", b"tjgg", b"algg")
_PICKLE_STARTS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")

Reader = Callable[[Path, Callable[[str], None]], Iterator[Found | Problem]]


def read(root: Path, tell: Callable[[str], None]) -> Iterator[Found | Problem]:
    """Everything below ``root`` that may be a build; ``tell`` hears each folder."""
    walk = Walk(root, tell)
    for folder in walk.folders():
        store = _store_in(folder)
        if store is not None:
            folder.subfolders.clear()
            yield from store(folder.path, tell)
        else:
            yield from found_in(folder)
    yield from walk.problems


def found_in(folder: Folder) -> Iterator[Found | Problem]:
    """What one folder holds; the folders below a pipeline or a transformers model belong to it and are not visited."""
    if INDEX in folder.files:
        folder.subfolders.clear()
        yield Found(folder.path)
        return
    if "config.json" in folder.files and is_controlnet(folder.path):
        yield Found(folder.path)
        return
    by_suffix: dict[str, list[Path]] = {}
    for name in folder.files:
        suffix = name[name.rfind(".") :].lower() if "." in name else ""
        if suffix in _SUFFIXES:
            by_suffix.setdefault(suffix, []).append(folder.path / name)
    yield from (Found(path) for path in firsts(by_suffix.get(".gguf", ())))
    tensors = by_suffix.get(".safetensors", [])
    if tensors and _is_transformers_model(folder, tensors):
        yield Problem(folder.path, f"{folder.path.name} is a safetensors model for transformers: get it as GGUF")
    else:
        yield from (Found(path) for path in tensors)
    for suffix in sorted(PICKLES & set(by_suffix)):
        for path in by_suffix[suffix]:
            yield from pickled(path)


def pickled(path: Path) -> Iterator[Problem]:
    """Why a file with a pickle's suffix is refused; nothing where it is a ``.bin`` of some other kind."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        yield Problem(path, f"cannot be read: {error.strerror}")
        return
    if start in _OLD_GGML:
        yield Problem(path, f"{path.name} is a GGML file from before GGUF, which nothing reads any more")
    elif path.suffix.lower() != ".bin" or start.startswith(_PICKLE_STARTS):
        yield Problem(
            path, f"{path.name} is pickled, and unpickling runs code: get it as safetensors or GGUF", TO_CONVERT
        )


def is_controlnet(folder: Path) -> bool:
    """Whether the configuration in ``folder`` is that of a ControlNet, known or not."""
    try:
        name = read_object(folder / "config.json").get("_class_name")
    except (Damaged, OSError):
        return False
    return isinstance(name, str) and "ControlNet" in name


def _is_transformers_model(folder: Folder, tensors: list[Path]) -> bool:
    if "model.safetensors.index.json" in folder.files or any(_SHARD.search(path.name) for path in tensors):
        return True
    return "config.json" in folder.files and any(path.name == "model.safetensors" for path in tensors)


def _store_in(folder: Folder) -> Reader | None:
    """The reader of the store that this folder is, for stores whose files bear no names of their own."""
    if "manifests" in folder.subfolders and "blobs" in folder.subfolders:
        from nanolocal.library.discover import ollama

        return ollama.read
    if "snapshots" in folder.subfolders and folder.path.name.startswith("models--"):
        from nanolocal.library.discover import huggingface

        return huggingface.read_repository
    return None


def is_inside(path: Path, root: Path) -> bool:
    """Whether ``path``, with every symlink followed, lies in ``root``."""
    real, base = os.path.realpath(path), os.path.realpath(root)
    return os.path.commonpath((real, base)) == base
