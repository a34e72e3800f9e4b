"""From files to a ``Build``: what the header, the folder and the card say about it."""

import hashlib
import json
import re
import struct
from collections.abc import Mapping
from pathlib import Path

from nanolocal.chat.routes import Build, Kind
from nanolocal.errors import Damaged
from nanolocal.library.cards import Card
from nanolocal.library.fingerprints import Fingerprints
from nanolocal.library.gguf import GGUFFacts, read_facts

# llama.h, enum llama_ftype
_FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4",
}  # fmt: skip
_QUANTIZATION = re.compile(r"[-._](I?Q\d\w*|BF16|F16|F32|MXFP4|TQ\d_0)$", re.IGNORECASE)
_SPLIT = re.compile(r"-00001-of-(\d{5})$")
_MAX_HEADER_BYTES = 25 * 2**20


def describe_gguf(path: Path, fingerprints: Fingerprints) -> Build:
    """Describe a text build; raises ``Damaged`` when its header does not add up or it is not what its card says."""
    facts = read_facts(path)
    architecture = str(facts.metadata.get("general.architecture"))
    stem = _SPLIT.sub("", path.stem)
    quantization = _quantization(facts, stem)
    card = Card.beside(path)
    sha256 = fingerprints.of(path)
    card.check(path, sha256)
    model = card.id or _slug(_QUANTIZATION.sub("", stem))
    return Build(
        id=f"{model}:{quantization}",
        name=card.name or str(facts.metadata.get("general.name") or model),
        kind=Kind.TEXT,
        path=path,
        quantization=quantization,
        size_bytes=sum(part.stat().st_size for part in _parts(path)),
        sha256=sha256,
        parameters=facts.parameters,
        context_length=_int(facts, f"{architecture}.context_length"),
        kv_bytes_per_token=_kv_bytes_per_token(facts, architecture),
        architecture=architecture,
        licence=card.licence or str(facts.metadata.get("general.license", "")),
        tiny=card.tiny,
        defaults=card.defaults,
        quality=card.quality,
    )


def describe_pipeline(folder: Path, fingerprints: Fingerprints) -> Build:
    """Describe a diffusers pipeline folder; raises ``Damaged`` when weights are missing or not as its card says."""
    index = _read_json(folder / "model_index.json")
    weights = sorted(folder.rglob("*.safetensors"))
    if not weights:
        raise Damaged(f"{folder.name} holds no safetensors weights", "pickled weights (.bin, .ckpt) are not opened")
    card = Card.beside(folder / "model_index.json")
    digest = hashlib.sha256()
    partial = False
    for path in weights:
        sha256 = fingerprints.of(path)
        card.check(path, sha256)
        partial = partial or sha256.startswith("part:")
        digest.update(f"{path.relative_to(folder).as_posix()} {sha256}\n".encode())
    model = card.id or _slug(folder.name)
    quantization = card.quantization or "f16"
    return Build(
        id=f"{model}:{quantization}",
        name=card.name or model,
        kind=Kind.IMAGE,
        path=folder,
        quantization=quantization,
        size_bytes=sum(path.stat().st_size for path in weights),
        sha256=("part:" if partial else "") + digest.hexdigest(),
        parameters=sum(_count_weights(path) for path in weights),
        architecture=str(index.get("_class_name", "")),
        licence=card.licence,
        tiny=card.tiny,
        defaults=card.defaults,
        quality=card.quality,
    )


def _parts(path: Path) -> list[Path]:
    """All files of a split GGUF; raises ``Damaged`` when one is missing."""
    match = _SPLIT.search(path.stem)
    if not match:
        return [path]
    total = int(match.group(1))
    parts = [path.with_name(f"{path.stem[: match.start()]}-{n:05d}-of-{total:05d}.gguf") for n in range(1, total + 1)]
    missing = [part.name for part in parts if not part.is_file()]
    if missing:
        raise Damaged(f"{path.name} lacks {len(missing)} of its {total} parts, first {missing[0]}", "get them all")
    return parts


def _quantization(facts: GGUFFacts, stem: str) -> str:
    named = _QUANTIZATION.search(stem)
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


def _count_weights(path: Path) -> int:
    """The number of weights in a safetensors file; raises ``Damaged`` when its header does not fit the file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length_bytes = file.read(8)
        length = struct.unpack("<Q", length_bytes)[0] if len(length_bytes) == 8 else 2**63
        if length > min(_MAX_HEADER_BYTES, size - 8):
            raise Damaged(f"{path.name} is not a usable safetensors file", "get the file again")
        try:
            header = json.loads(file.read(length))
            tensors = [tensor for name, tensor in header.items() if name != "__metadata__"]
            end = max((tensor["data_offsets"][1] for tensor in tensors), default=0)
            count = sum(_product(tensor["shape"]) for tensor in tensors)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise Damaged(f"{path.name} is not a usable safetensors file", "get the file again") from error
    if 8 + length + end != size:
        raise Damaged(f"{path.name} is not as long as its header says", "get the file again")
    return count


def _product(shape: list[int]) -> int:
    result = 1
    for extent in shape:
        result *= extent
    return result


def _read_json(path: Path) -> Mapping[str, object]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Damaged(f"{path} is not JSON", "get the model again") from error
    if not isinstance(value, dict):
        raise Damaged(f"{path} holds no object", "get the model again")
    return value


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-") or "model"
