"""llama.cpp's own cache, as its releases up to spring 2026 filled it; newer ones use the Hugging Face cache.

Layout (ggml-org/llama.cpp, common/download.cpp of that time: get_manifest_path, common_list_cached_models)::

    <cache>/manifest=<user>=<repo>=<tag>.json      ggufFile.rfilename, mmprojFile.rfilename
    <cache>/<user>_<repo>_<rfilename>              every / a _

``<cache>`` is LLAMA_CACHE, else ``llama.cpp`` where programs keep caches. Newer releases take LLAMA_CACHE for a cache
in the Hugging Face layout (common/hf-cache.cpp), so both are looked for in it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from nanolocal.errors import Damaged
from nanolocal.library.discover import huggingface
from nanolocal.library.discover.folder import found_in
from nanolocal.library.discover.system import System
from nanolocal.library.found import Found, Problem
from nanolocal.library.jsonfiles import read_object
from nanolocal.library.walk import Folder, Walk

NAME = "llama.cpp"
_MANIFEST = "manifest="


def places(system: System) -> list[Path]:
    """Where the cache is on ``system``."""
    return [system.named("LLAMA_CACHE") or system.cache / "llama.cpp"]


def read(root: Path, tell: Callable[[str], None]) -> Iterator[Found | Problem]:
    """Every GGUF file of the cache, called as after llama.cpp's ``-hf``."""
    walk = Walk(root, tell, max_depth=0)
    for folder in walk.folders():
        named = _manifests(folder)
        for found in found_in(folder):
            yield replace(named.get(found.path, found)) if isinstance(found, Found) else found
        folder.subfolders.clear()
    yield from walk.problems
    yield from huggingface.read(root, tell)


def _manifests(folder: Folder) -> Mapping[Path, Found]:
    """What the manifests say about the files beside them; a broken one says nothing."""
    named: dict[Path, Found] = {}
    for name in folder.files:
        fields = name.removesuffix(".json").split("=")
        if not name.startswith(_MANIFEST) or not name.endswith(".json") or len(fields) != 4:
            continue
        _, user, repository, tag = fields
        try:
            manifest = read_object(folder.path / name)
        except (OSError, Damaged):
            continue
        weights = _file(manifest, "ggufFile", folder.path, f"{user}_{repository}_")
        projector = _file(manifest, "mmprojFile", folder.path, f"{user}_{repository}_")
        if weights is not None:
            model = weights.stem.removeprefix(f"{user}_{repository}_")
            named[weights] = Found(weights, f"{user}/{repository}:{tag}", model, projector)
    return named


def _file(manifest: Mapping[str, object], key: str, folder: Path, prefix: str) -> Path | None:
    """The file in the cache that a manifest means: it names one in a repository, so no name leads out of the folder."""
    entry = manifest.get(key)
    name = entry.get("rfilename") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not name:
        return None
    path = folder / (prefix + name.replace("/", "_").replace("\\", "_").replace("\0", "_"))
    return path if path.is_file() else None
