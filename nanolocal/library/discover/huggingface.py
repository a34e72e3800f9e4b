"""The Hugging Face cache, which llama.cpp shares since 2026.

Layout (huggingface/huggingface_hub, docs/source/en/guides/manage-cache.md; ggml-org/llama.cpp, common/hf-cache.cpp)::

    hub/models--<org>--<name>/refs/<branch>                     a commit
    hub/models--<org>--<name>/snapshots/<commit>/<file>         a symlink to ../../blobs/<hash>, or a file
    hub/models--<org>--<name>/blobs/<hash>

``hub`` is HF_HUB_CACHE, else ``HF_HOME/hub``, else ``~/.cache/huggingface/hub``.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from nanolocal.formats.splits import stem_of
from nanolocal.library.discover.folder import found_in, is_inside
from nanolocal.library.discover.system import System
from nanolocal.library.found import Found, Problem
from nanolocal.library.naming import QUANTIZATION
from nanolocal.library.walk import Folder, Walk

NAME = "Hugging Face"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_MAX_REFS = 1000


def places(system: System) -> list[Path]:
    """Where the cache is on ``system``."""
    chosen = system.named("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")
    home = system.named("HF_HOME")
    caches = system.named("XDG_CACHE_HOME") or system.home / ".cache"
    return [chosen or (home / "hub" if home else caches / "huggingface" / "hub")]


def read(root: Path, tell: Callable[[str], None]) -> Iterator[Found | Problem]:
    """Every model repository below ``root``."""
    walk = Walk(root, tell, max_depth=0)
    for folder in walk.folders():
        for name in sorted(folder.subfolders):
            if name.startswith("models--"):
                yield from read_repository(folder.path / name, tell)
        folder.subfolders.clear()
    yield from walk.problems


def read_repository(repository: Path, tell: Callable[[str], None]) -> Iterator[Found | Problem]:
    """What the commits that branches point to hold; every commit where no branch does."""
    name = repository.name.removeprefix("models--").replace("--", "/")
    snapshots = repository / "snapshots"
    commits = _commits(repository)
    here = [snapshots / commit for commit in commits if (snapshots / commit).is_dir()]
    for snapshot in here or [snapshots]:
        found = list(_in_snapshot(repository, snapshot, tell))
        tags = Counter(_tag(item.path) for item in found if isinstance(item, Found))
        for item in found:
            yield _named(item, name, snapshot, tags)


def _in_snapshot(repository: Path, snapshot: Path, tell: Callable[[str], None]) -> Iterator[Found | Problem]:
    walk = Walk(snapshot, tell)
    for folder in walk.folders():
        strays = [file for file in folder.files if not is_inside(folder.path / file, repository)]
        for stray in strays:
            yield Problem(folder.path / stray, f"{stray} leads out of the cache")
        yield from found_in(
            Folder(folder.path, [file for file in folder.files if file not in strays], folder.subfolders)
        )
    yield from walk.problems


def _commits(repository: Path) -> list[str]:
    """The commits of the branches, the main one first."""
    refs: list[str] = []
    try:
        for ref in sorted((repository / "refs").iterdir(), key=lambda path: (path.name != "main", path.name))[
            :_MAX_REFS
        ]:
            if ref.is_file():
                with ref.open(encoding="ascii", errors="replace") as file:
                    refs.append(file.read(64).strip())
    except OSError:
        return refs
    return [commit for commit in dict.fromkeys(refs) if _COMMIT.fullmatch(commit)]


def _named(found: Found | Problem, name: str, snapshot: Path, tags: Mapping[str, int]) -> Found | Problem:
    """As after llama.cpp's ``-hf``, ``org/name:Q4_K_M``, where one file alone has that quantization."""
    if isinstance(found, Problem):
        return Problem(found.path, found.reason.replace(snapshot.name, name))
    if found.path == snapshot:
        return replace(found, known_as=name, model=name.rpartition("/")[2])
    tag = _tag(found.path)
    if tag and tags[tag] == 1:
        return replace(found, known_as=f"{name}:{tag}")
    return replace(found, known_as=f"{name}/{found.path.relative_to(snapshot).as_posix()}")


def _tag(path: Path) -> str:
    """The quantization in a GGUF file's name; a projector's says nothing about a model."""
    match = QUANTIZATION.search(stem_of(path))
    is_model = path.suffix.lower() == ".gguf" and "mmproj" not in path.name.lower()
    return match.group(1).upper() if match and is_model else ""
