"""From safetensors to a ``Build`` or a ``Part``: pipeline folders, single-file checkpoints, adapters, components."""

import hashlib
import re
from pathlib import Path

from nanolocal.chat.routes import Build, Kind
from nanolocal.errors import Damaged
from nanolocal.formats.pipeline_folder import (
    GGUF,
    INDEX,
    PipelineFacts,
    Weights,
    check_controlnet,
    check_folder,
    weights_of,
)
from nanolocal.formats.pipelines import CONTROLNETS
from nanolocal.formats.safetensors_header import read_header
from nanolocal.library.bases import is_enough, lacking
from nanolocal.library.cards import Card
from nanolocal.library.fingerprints import Fingerprints
from nanolocal.library.fit.pictures import picture_footprint
from nanolocal.library.found import Part, Role
from nanolocal.library.habits import habits_by_name, habits_of, own_size
from nanolocal.library.naming import QUANTIZATION, slug
from nanolocal.library.pictures import Use, family_of_adapter, use_of

_FLOAT = 4
_PRECISION = re.compile(r"[-_.](fp16|f16|bf16|fp32|f32|fp8\w*)$", re.IGNORECASE)


def describe_pipeline(folder: Path, fingerprints: Fingerprints, called: str = "") -> Build:
    """Describe a diffusers folder; raises ``Damaged`` where it must not be loaded, or is not as its card says."""
    facts = check_folder(folder)
    card = Card.beside(folder / INDEX)
    weights = sorted({path for part in facts.components.values() for path in part.files})
    digest = hashlib.sha256()
    partial = False
    for path in weights:
        sha256 = fingerprints.of(path)
        card.check(path, sha256)
        partial = partial or sha256.startswith("part:")
        digest.update(f"{path.relative_to(folder).as_posix()} {sha256}\n".encode("utf-8", "surrogateescape"))
    model = card.id or slug(called or folder.name)
    defaults = {**habits_of(facts, called or folder.name), **card.defaults}
    return Build(
        id=f"{model}:{card.quantization or _precision(facts)}",
        name=card.name or model,
        kind=Kind.IMAGE,
        path=folder,
        quantization=card.quantization or _precision(facts),
        size_bytes=sum(path.stat().st_size for path in weights),
        sha256=("part:" if partial else "") + digest.hexdigest(),
        parameters=sum(part.weights.parameters for part in facts.components.values()),
        architecture=facts.pipeline,
        licence=card.licence,
        tiny=card.tiny,
        defaults=defaults,
        quality=card.quality,
        footprint=picture_footprint(facts, own_size(defaults)),
    )


def describe_controlnet(folder: Path, fingerprints: Fingerprints, called: str = "") -> Part:
    """Describe the folder of a ControlNet; raises ``Damaged``."""
    net = check_controlnet(folder)
    family = "SDXL" if net.config.get("addition_embed_type") else CONTROLNETS[net.class_name][0].described
    size = sum(file.stat().st_size for file in net.files)
    sha256 = fingerprints.of(net.files[0])
    memory = net.weights.parameters * _FLOAT
    return Part(folder, Role.CONTROLNET, called or folder.name, "a ControlNet", family, size, sha256, memory)


def _precision(facts: PipelineFacts) -> str:
    """What most of the denoiser is stored in: ``f16``, ``bf16`` and so on, or how its GGUF file is quantized."""
    (file, *_), weights = facts.denoiser.files, facts.denoiser.weights
    if file.suffix.lower() == GGUF:
        named = QUANTIZATION.search(file.stem)
        return named.group(1).upper() if named else "gguf"
    if facts.denoiser.is_int8:
        return "int8"
    return weights.stored_as.lower() or _common_precision(weights.size_bytes, weights.parameters)


def describe_safetensors(path: Path, fingerprints: Fingerprints, called: str = "") -> Build | Part:
    """Describe one safetensors file; raises ``Damaged`` when what it is for cannot be told from its tensors."""
    facts = read_header(path)
    use = use_of(facts.shapes)
    if use is None:
        raise Damaged(f"{path.name} is of no kind that is known here", "give a GGUF file or a diffusers folder")
    sha256 = fingerprints.of(path)
    size = path.stat().st_size
    if use.role is not None:
        is_adapter = use.role is Role.ADAPTER and use.kind is Kind.IMAGE
        architecture = family_of_adapter(facts.shapes) if is_adapter else use.architecture
        memory = facts.parameters * _FLOAT if is_adapter or use.role is Role.CONTROLNET else 0
        return Part(path, use.role, called or path.stem, use.what, architecture, size, sha256, memory)
    precision = _PRECISION.search(path.stem)
    named = precision.group(1).lower().replace("fp", "f") if precision else ""
    return describe_drawing(
        path,
        use,
        weights_of((path,)),
        sha256,
        name=called or path.stem,
        quantization=named or _common_precision(size, facts.parameters),
        licence=facts.metadata.get("modelspec.license", ""),
    )


def describe_drawing(
    path: Path, use: Use, weights: Weights, sha256: str, *, name: str, quantization: str, licence: str = ""
) -> Build:
    """A checkpoint, or a transformer that needs the rest of a pipeline (``library.bases`` finds one)."""
    assert use.family is not None
    return Build(
        id=f"{slug(_PRECISION.sub('', QUANTIZATION.sub('', name)))}:{quantization}",
        name=f"{name} ({use.what})",
        kind=Kind.IMAGE,
        path=path,
        quantization=quantization,
        size_bytes=path.stat().st_size,
        sha256=sha256,
        parameters=weights.parameters,
        architecture=use.architecture,
        licence=licence,
        defaults=habits_by_name(use.family, name),
        needs="" if is_enough(use, weights) else lacking(use),
    )


def _common_precision(size_bytes: int, parameters: int) -> str:
    """By bytes a weight: eight bits, sixteen or more."""
    bits = size_bytes * 8 / max(parameters, 1)
    return "f8" if bits < 12 else "f16" if bits < 24 else "f32"
