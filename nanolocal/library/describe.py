"""From files to a ``Build`` or a ``Part``: what the header, the name and the card say about a GGUF."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from nanolocal.chat.routes import Build, Kind, Sense
from nanolocal.errors import Damaged
from nanolocal.formats.architectures import missing_for
from nanolocal.formats.gguf import GGUFFacts
from nanolocal.formats.pipeline_folder import INDEX, PICKLES, TO_CONVERT, weights_of
from nanolocal.formats.pipelines import PIPELINES
from nanolocal.formats.preflight import check_model
from nanolocal.formats.projectors import hears, sees
from nanolocal.formats.splits import stem_of
from nanolocal.library.cards import Card
from nanolocal.library.checkpoints import describe_controlnet, describe_drawing, describe_pipeline, describe_safetensors
from nanolocal.library.fingerprints import Fingerprints
from nanolocal.library.fit.formula import footprint_of
from nanolocal.library.fit.layout import Layout, join
from nanolocal.library.fit.looking import looking_of
from nanolocal.library.found import Part, Role
from nanolocal.library.naming import QUANTIZATION, slug
from nanolocal.library.pictures import Use, use_of

# llama.h, enum llama_ftype
_FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4",
}  # fmt: skip
_ENCODERS = frozenset({
    "bert", "eurobert", "gemma-embedding", "jina-bert-v2", "jina-bert-v3", "llama-embed", "modern-bert", "neo-bert",
    "nomic-bert", "nomic-bert-moe",
})  # fmt: skip
"""Architectures of llama.cpp (src/llama-arch.cpp) that turn text into vectors and write none."""
_PICTURE_MODELS = frozenset({
    "aura", "cosmos", "flux", "hidream", "hyvid", "lumina2", "ltxv", "qwen_image", "sana", "sd1", "sd3", "sdxl", "wan",
})  # fmt: skip
"""What ComfyUI-GGUF (tools/convert.py) writes into ``general.architecture``: the transformer or UNet alone."""
_DRAWING = {
    "aura": "AuraFlowPipeline", "flux": "FluxPipeline", "lumina2": "Lumina2Pipeline", "qwen_image": "QwenImagePipeline",
    "sana": "SanaPipeline", "sd3": "StableDiffusion3Pipeline",
}  # fmt: skip
"""Those whose transformer draws with the other parts of such a pipeline."""
_FOR = {
    (Sense.SIGHT,): "pictures",
    (Sense.HEARING,): "sounds",
    (Sense.SIGHT, Sense.HEARING): "pictures and sounds",
}


def describe(path: Path, fingerprints: Fingerprints, called: str = "") -> Build | Part:
    """Describe the GGUF or safetensors file or pipeline folder at ``path``, which its store calls ``called``.

    Raises ``Damaged`` with the reason when it is none, does not add up, or is not what its card says; ``OSError``.
    """
    if path.is_dir():
        is_pipeline = (path / INDEX).is_file()
        return (describe_pipeline if is_pipeline else describe_controlnet)(path, fingerprints, called)
    if path.suffix.lower() in PICKLES:
        raise Damaged(f"{path.name} is pickled, and unpickling runs code", TO_CONVERT)
    if path.suffix.lower() == ".safetensors":
        return describe_safetensors(path, fingerprints, called)
    return describe_gguf(path, fingerprints, called)


def describe_gguf(path: Path, fingerprints: Fingerprints, called: str = "") -> Build | Part:
    """Describe a GGUF file, or a split one that begins with ``path``."""
    model = check_model(path, with_layout=True)
    parts, facts = model.files, model.facts[0]
    sizes = [part.stat().st_size for part in parts]
    if len(parts) == 1 and facts.metadata.get("general.architecture") in _DRAWING:
        return _transformer(path, str(facts.metadata["general.architecture"]), fingerprints, called)
    part = _part(path, join(model.facts, sizes), fingerprints)
    if part is not None:
        return part
    if not facts.tensors and len(parts) == 1:
        raise Damaged(f"{path.name} holds a vocabulary and no weights", "get the model itself")
    architecture = str(facts.metadata.get("general.architecture"))
    stem = stem_of(path)
    quantization = _quantization(facts, stem)
    card = Card.beside(path) if not called else Card(path.parent)
    sha256 = _fingerprint(parts, card, fingerprints)
    named = card.id or slug(QUANTIZATION.sub("", called or stem))
    return Build(
        id=f"{named}:{quantization}",
        name=card.name or str(facts.metadata.get("general.name") or named),
        kind=Kind.EMBEDDING if _is_encoder(facts, architecture) else Kind.TEXT,
        path=path,
        quantization=quantization,
        size_bytes=sum(sizes),
        sha256=sha256,
        parameters=sum(part.parameters for part in model.facts),
        context_length=_int(facts, f"{architecture}.context_length"),
        kv_bytes_per_token=_kv_bytes_per_token(facts, architecture),
        architecture=architecture,
        licence=card.licence or str(facts.metadata.get("general.license", "")),
        tiny=card.tiny,
        defaults=card.defaults,
        quality=card.quality,
        retained=card.retained,
        needs=missing_for(facts.metadata),
        footprint=footprint_of(join(model.facts, sizes)),
    )


def _transformer(path: Path, architecture: str, fingerprints: Fingerprints, called: str) -> Build:
    """The transformer of a picture model, which draws with the other parts of a pipeline."""
    weights = weights_of((path,))
    use = use_of(weights.shapes)
    if use is None or not use.is_alone:
        pipeline = _DRAWING[architecture]
        family = PIPELINES[pipeline]
        use = Use(None, f"the transformer of a {family.described} model", pipeline, family=family, is_alone=True)
    named = QUANTIZATION.search(path.stem)
    quantization = named.group(1).upper() if named else "gguf"
    return describe_drawing(
        path, use, weights, fingerprints.of(path), name=called or path.stem, quantization=quantization
    )


def _part(path: Path, layout: Layout, fingerprints: Fingerprints) -> Part | None:
    """What the file is when it is no model by itself; the keys are those of gguf-py (constants.py, GGUFType)."""
    facts = layout.facts
    kind = str(facts.metadata.get("general.type", "model"))
    architecture = str(facts.metadata.get("general.architecture"))
    if kind == "imatrix" or architecture == "imatrix":
        raise Damaged(f"{path.name} is an importance matrix, not a model", "get the model itself")
    if kind == "adapter" or "adapter.type" in facts.metadata:
        role, what = Role.ADAPTER, "a LoRA adapter"
    elif kind == "mmproj" or architecture == "clip" or any(key.startswith("clip.") for key in facts.metadata):
        role, what = Role.PROJECTOR, "a projector"
    elif architecture in _PICTURE_MODELS:
        role, what = Role.COMPONENT, "the transformer of a picture model"
    elif architecture == "t5encoder":
        role, what = Role.COMPONENT, "a text encoder (T5)"
    else:
        return None
    name = str(facts.metadata.get("general.name") or path.stem)
    memory, senses = 0, tuple[Sense, ...]()
    if role is Role.PROJECTOR:
        memory, senses = looking_of(layout), _senses(path, facts)
        what = f"a projector for {_FOR[senses]}"
    return Part(path, role, name, what, architecture, path.stat().st_size, fingerprints.of(path), memory, senses)


def _senses(path: Path, facts: GGUFFacts) -> tuple[Sense, ...]:
    """What a projector gives; raises ``Damaged`` for one that can only speak."""
    found = ((Sense.SIGHT, sees(facts.metadata)), (Sense.HEARING, hears(facts.metadata)))
    senses = tuple(sense for sense, is_there in found if is_there)
    if not senses:
        raise Damaged(f"{path.name} is a projector that neither sees nor hears", "it is for models that speak")
    return senses


def _fingerprint(parts: Sequence[Path], card: Card, fingerprints: Fingerprints) -> str:
    """The hash of the file, or one over those of all parts; raises ``Damaged`` where the card knows another."""
    hashes = [fingerprints.of(part) for part in parts]
    for part, sha256 in zip(parts, hashes, strict=True):
        card.check(part, sha256)
    if len(hashes) == 1:
        return hashes[0]
    is_partial = any(sha256.startswith("part:") for sha256 in hashes)
    return ("part:" if is_partial else "") + hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def _is_encoder(facts: GGUFFacts, architecture: str) -> bool:
    return architecture in _ENCODERS or _int(facts, f"{architecture}.pooling_type") > 0


def _quantization(facts: GGUFFacts, stem: str) -> str:
    named = QUANTIZATION.search(stem)
    if named:
        return named.group(1).upper()
    return _FILE_TYPES.get(_int(facts, "general.file_type", -1), "unknown")


def _kv_bytes_per_token(facts: GGUFFacts, architecture: str) -> int:
    """Bytes of f16 keys and values per token: layers x KV heads x (key + value length) x 2."""
    heads = _int(facts, f"{architecture}.attention.head_count", 1)
    kv_heads = _int(facts, f"{architecture}.attention.head_count_kv", heads)
    head = _int(facts, f"{architecture}.embedding_length") // max(heads, 1)
    key = _int(facts, f"{architecture}.attention.key_length", head)
    value = _int(facts, f"{architecture}.attention.value_length", head)
    return _int(facts, f"{architecture}.block_count") * kv_heads * (key + value) * 2


def _int(facts: GGUFFacts, key: str, default: int = 0) -> int:
    value = facts.metadata.get(key, default)
    return value if isinstance(value, int) else default
