"""From files to a ``Build`` or a ``Part``: what the header, the name and the card say about a GGUF."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from nanolocal.chat.routes import Build, Kind
from nanolocal.errors import Damaged
from nanolocal.formats.architectures import missing_for
from nanolocal.formats.gguf import GGUFFacts
from nanolocal.formats.preflight import check_model
from nanolocal.formats.splits import stem_of
from nanolocal.library.cards import Card
from nanolocal.library.checkpoints import describe_pipeline, describe_safetensors
from nanolocal.library.fingerprints import Fingerprints
from nanolocal.library.fit.formula import footprint_of
from nanolocal.library.fit.layout import Layout, join
from nanolocal.library.fit.looking import looking_of
from nanolocal.library.found import Part, Role
from nanolocal.library.naming import QUANTIZATION, slug

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


def describe(path: Path, fingerprints: Fingerprints, called: str = "") -> Build | Part:
    """Describe the GGUF or safetensors file or pipeline folder at ``path``, which its store calls ``called``.

    Raises ``Damaged`` with the reason when it is none, does not add up, or is not what its card says; ``OSError``.
    """
    if path.is_dir():
        return describe_pipeline(path, fingerprints, called)
    if path.suffix.lower() == ".safetensors":
        return describe_safetensors(path, fingerprints, called)
    return describe_gguf(path, fingerprints, called)


def describe_gguf(path: Path, fingerprints: Fingerprints, called: str = "") -> Build | Part:
    """Describe a GGUF file, or a split one that begins with ``path``."""
    model = check_model(path, with_layout=True)
    parts, facts = model.files, model.facts[0]
    sizes = [part.stat().st_size for part in parts]
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
        needs=missing_for(facts.metadata),
        footprint=footprint_of(join(model.facts, sizes)),
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
        role, what = Role.PROJECTOR, "a vision projector"
    elif architecture in _PICTURE_MODELS:
        role, what = Role.COMPONENT, "the transformer of a picture model"
    elif architecture == "t5encoder":
        role, what = Role.COMPONENT, "a text encoder (T5)"
    else:
        return None
    name = str(facts.metadata.get("general.name") or path.stem)
    memory = looking_of(layout) if role is Role.PROJECTOR else 0
    return Part(path, role, name, what, architecture, path.stat().st_size, fingerprints.of(path), memory)


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
