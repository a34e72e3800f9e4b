"""From safetensors to a ``Build`` or a ``Part``: pipeline folders, single-file checkpoints, adapters, components."""

import hashlib
import re
from pathlib import Path

from nanolocal.chat.routes import Build, Kind
from nanolocal.errors import Damaged
from nanolocal.formats.safetensors_header import read_header
from nanolocal.library.cards import Card
from nanolocal.library.fingerprints import Fingerprints
from nanolocal.library.fit.pictures import drawing_of, picture_footprint
from nanolocal.library.found import Part
from nanolocal.library.jsonfiles import read_object
from nanolocal.library.naming import slug
from nanolocal.library.pictures import use_of

SINGLE_FILE = "a picture engine that reads single-file checkpoints"
"""What such a checkpoint needs: the picture engine reads diffusers folders."""
_PRECISION = re.compile(r"[-_.](fp16|f16|bf16|fp32|f32|fp8\w*)$", re.IGNORECASE)


def describe_pipeline(folder: Path, fingerprints: Fingerprints, called: str = "") -> Build:
    """Describe a diffusers pipeline folder; raises ``Damaged`` when weights are missing or not as its card says."""
    index = read_object(folder / "model_index.json")
    weights = sorted(path for path in folder.rglob("*.safetensors") if path.is_file())
    if not weights:
        raise Damaged(f"{folder.name} holds no safetensors weights", "pickled weights (.bin, .ckpt) are not opened")
    card = Card.beside(folder / "model_index.json")
    digest = hashlib.sha256()
    partial = False
    parameters = 0
    for path in weights:
        parameters += read_header(path).parameters
        sha256 = fingerprints.of(path)
        card.check(path, sha256)
        partial = partial or sha256.startswith("part:")
        digest.update(f"{path.relative_to(folder).as_posix()} {sha256}\n".encode("utf-8", "surrogateescape"))
    model = card.id or slug(called or folder.name)
    quantization = card.quantization or "f16"
    size_bytes = sum(path.stat().st_size for path in weights)
    return Build(
        id=f"{model}:{quantization}",
        name=card.name or model,
        kind=Kind.IMAGE,
        path=folder,
        quantization=quantization,
        size_bytes=size_bytes,
        sha256=("part:" if partial else "") + digest.hexdigest(),
        parameters=parameters,
        architecture=str(index.get("_class_name", "")),
        licence=card.licence,
        tiny=card.tiny,
        defaults=card.defaults,
        quality=card.quality,
        footprint=picture_footprint(parameters, size_bytes, drawing_of(folder)),
    )


def describe_safetensors(path: Path, fingerprints: Fingerprints, called: str = "") -> Build | Part:
    """Describe one safetensors file; raises ``Damaged`` when what it is for cannot be told from its tensors."""
    facts = read_header(path)
    use = use_of(facts.shapes)
    if use is None:
        raise Damaged(f"{path.name} is of no kind that is known here", "give a GGUF file or a diffusers folder")
    sha256 = fingerprints.of(path)
    size = path.stat().st_size
    if use.role is not None:
        return Part(path, use.role, called or path.stem, use.what, use.architecture, size, sha256)
    model = slug(_PRECISION.sub("", called or path.stem))
    precision = _PRECISION.search(path.stem)
    quantization = (
        precision.group(1).lower().replace("fp", "f") if precision else _common_precision(size, facts.parameters)
    )
    return Build(
        id=f"{model}:{quantization}",
        name=f"{called or path.stem} ({use.what})",
        kind=use.kind,
        path=path,
        quantization=quantization,
        size_bytes=size,
        sha256=sha256,
        parameters=facts.parameters,
        architecture=use.architecture,
        licence=facts.metadata.get("modelspec.license", ""),
        needs=SINGLE_FILE,
    )


def _common_precision(size_bytes: int, parameters: int) -> str:
    """By bytes a weight: eight bits, sixteen or more."""
    bits = size_bytes * 8 / max(parameters, 1)
    return "f8" if bits < 12 else "f16" if bits < 24 else "f32"
