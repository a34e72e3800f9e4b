"""Ollama: manifests by name, weights as blobs that are named after their SHA-256.

Layout (ollama/ollama, manifest/paths.go, manifest/manifest.go, types/model/name.go, envconfig/config.go)::

    models/manifests/<host>/<namespace>/<model>/<tag>    JSON: config, layers[{mediaType, digest, size}]
    models/blobs/sha256-<hex>                            the digest is written sha256:<hex>

Newer releases keep manifest lists too, and go on writing such a manifest for each of them (manifest/downgrade_test.go).
``models`` is OLLAMA_MODELS, else ``~/.ollama/models``; the Linux service has its home in ``/usr/share/ollama``.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from nanolocal.errors import Damaged
from nanolocal.library.discover.folder import is_inside
from nanolocal.library.discover.system import System
from nanolocal.library.found import Found, Problem
from nanolocal.library.jsonfiles import read_object
from nanolocal.library.walk import Walk

NAME = "Ollama"
_DEPTH = 4
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}")
_DIGEST = re.compile(r"sha256[:-]([0-9a-fA-F]{64})")
_MEDIA = "application/vnd.ollama.image."


def places(system: System) -> list[Path]:
    """Where Ollama keeps its models on ``system``."""
    chosen = system.named("OLLAMA_MODELS")
    usual = [system.home / ".ollama" / "models"]
    if system.platform == "linux":
        usual += [system.root / home / ".ollama" / "models" for home in ("usr/share/ollama", "var/lib/ollama")]
    return [chosen, *usual] if chosen else usual


def read(root: Path, tell: Callable[[str], None]) -> Iterator[Found | Problem]:
    """Every model that has a manifest below ``root``."""
    walk = Walk(root / "manifests", tell, max_depth=_DEPTH - 1)
    for folder in walk.folders():
        parts = folder.path.relative_to(root / "manifests").parts
        if len(parts) != _DEPTH - 1:
            continue
        for tag in folder.files:
            yield from _model(root, folder.path / tag, (*parts, tag))
    yield from walk.problems


def _model(root: Path, manifest: Path, parts: tuple[str, ...]) -> Iterator[Found | Problem]:
    if not all(_PART.fullmatch(part) for part in parts):
        yield Problem(manifest, "is no name that Ollama would give to a model")
        return
    name = name_of(*parts)
    try:
        layers = _layers(manifest)
        projector = layers.get("projector")
        adapter = layers.get("adapter")
        if adapter is not None:
            yield Found(_blob(root, adapter), f"{name} (adapter)", name)
            raise Damaged(f"{name} is a model with an adapter, and adapters are not applied")
        if "model" not in layers:
            what = "Ollama's own tensor files" if "tensor" in layers else "no weights on this machine"
            raise Damaged(f"{name} has {what}: pull a GGUF build of it")
        yield Found(_blob(root, layers["model"]), name, name, _blob(root, projector) if projector is not None else None)
    except Damaged as error:
        yield Problem(manifest, error.message)
    except OSError as error:
        yield Problem(manifest, f"cannot be read: {error.strerror}")


def name_of(host: str, namespace: str, model: str, tag: str) -> str:
    """The name as Ollama shows it: without its own host and its library."""
    if host != "registry.ollama.ai":
        return f"{host}/{namespace}/{model}:{tag}"
    return f"{model}:{tag}" if namespace == "library" else f"{namespace}/{model}:{tag}"


def _layers(manifest: Path) -> Mapping[str, object]:
    """The digest of each kind of layer; raises ``Damaged`` for a second model, projector or adapter."""
    listed = read_object(manifest).get("layers")
    digests: dict[str, object] = {}
    for layer in listed if isinstance(listed, list) else []:
        if not isinstance(layer, dict) or not str(layer.get("mediaType")).startswith(_MEDIA):
            continue
        kind = str(layer["mediaType"]).removeprefix(_MEDIA)
        if kind in digests and kind in ("model", "projector", "adapter"):
            raise Damaged(f"{manifest.name} has more than one {kind}")
        digests[kind] = layer.get("digest")
    return digests


def _blob(root: Path, digest: object) -> Path:
    """The file of a digest; raises ``Damaged`` where there is none, or it lies outside the store."""
    match = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
    if match is None:
        raise Damaged(f"a layer is called {str(digest)[:80]!r}, which is no SHA-256")
    blob = root / "blobs" / f"sha256-{match.group(1)}"
    if not blob.is_file():
        raise Damaged(f"{blob.name[:19]}... is missing from the blobs")
    if not is_inside(blob, root):
        raise Damaged(f"{blob.name[:19]}... leads out of the store")
    return blob
