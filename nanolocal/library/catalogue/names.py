"""Names of models, however they are spelt: files, repositories, headers and tags of one model have one key."""

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise

_PART = re.compile(r"-\d{5}-of-\d{5}$")
_QUANTIZATION = re.compile(
    r"[-._:](?:ud-)?(i?q\d(?:_[a-z0-9]+)*|[bf]f?16|fp16|f32|fp32|mxfp4(?:_moe)?|tq\d_0|qat|imat(?:rix)?|i1)$"
)
_PACKAGING = re.compile(r"[-._](?:gguf|diffusers)$")
_LONE_DOT = re.compile(r"(?<!\d)\.|\.(?!\d)")
_SAYS_NOTHING = re.compile(r"(?:sha256)?[0-9a-f]{16,}|models?|ggmlmodel|gguf|main|download|unknown|llama|weights|")
_HUB_CACHE = re.compile(r"models--(.+?)--(.+)")
_FROM_THE_HUB = re.compile(r"(?:hf\.co|huggingface\.co)/([^/:]+/[^/:]+)")
_HEADER_PARTS = ("general.basename", "general.size_label", "general.finetune", "general.version")


def key_of(name: str) -> str:
    """The same text for every spelling: case, separators, quantization and packaging are dropped."""
    stem = _PART.sub("", name.strip().lower().removesuffix(".gguf"))
    shorter = _QUANTIZATION.sub("", _PACKAGING.sub("", stem))
    while shorter != stem:
        stem, shorter = shorter, _QUANTIZATION.sub("", _PACKAGING.sub("", shorter))
    return _LONE_DOT.sub("", re.sub(r"[^a-z0-9.]+", "", stem))


def says_something(name: str) -> bool:
    """Whether a name can tell a model at all: ``model.gguf`` and a blob's hash cannot."""
    return not _SAYS_NOTHING.fullmatch(key_of(name))


def quantization_of(file: str) -> str | None:
    """The quantization that a file's name ends with, as GGUF files spell it."""
    stem = _PART.sub("", file.lower().removesuffix(".gguf"))
    found = _QUANTIZATION.search(stem)
    return found.group(1).upper() if found and found.group(1) not in ("qat", "imat", "imatrix", "i1") else None


def without_quantization(tag: str) -> str:
    """An Ollama tag without its quantization: ``qwen3:4b-q4_K_M`` is ``qwen3:4b``; ``:latest`` goes too."""
    return re.sub(r"-(?:i?q\d(?:_[a-z0-9]+)*|bf16|fp16|mxfp4)$", "", tag.strip().lower()).removesuffix(":latest")


def repository_in_tag(tag: str) -> str:
    """The repository in an Ollama name like ``hf.co/owner/name:Q4_K_M``, empty when it names none."""
    found = _FROM_THE_HUB.match(tag.strip())
    return found.group(1) if found else ""


def header_names(metadata: Mapping[str, object]) -> tuple[str, ...]:
    """What a GGUF header calls the model: its name, then base name, size, finetune and version in one."""
    parts = [str(metadata[part]) for part in _HEADER_PARTS if metadata.get(part)]
    joined = "-".join(parts) if metadata.get("general.basename") and metadata.get("general.size_label") else ""
    return tuple(name for name in (str(metadata.get("general.name") or ""), joined) if name)


def repositories_in(parts: tuple[str, ...]) -> Iterator[str]:
    """Repositories that the folders of a path may name: the hub's cache, or ``owner/name`` folders."""
    for part in parts:
        cached = _HUB_CACHE.fullmatch(part)
        if cached:
            yield f"{cached.group(1)}/{cached.group(2)}"
    for owner, name in pairwise(parts):
        yield f"{owner}/{name}"
