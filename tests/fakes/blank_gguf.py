"""GGUF files of any architecture whose weights are all zero and lie in a hole of the file, written in a moment.

They load, read and write like real ones and take the same memory: every page is mapped, copied and computed with.
"""

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TypeAlias

Value: TypeAlias = int | float | bool | str | Sequence[int] | Sequence[float] | Sequence[str]
Tensor: TypeAlias = tuple[str, tuple[int, ...]]

F32, F16, Q4_0, Q5_0, Q8_0, Q4_K, Q6_K = 0, 1, 2, 6, 8, 12, 14
_BLOCKS = {F32: (1, 4), F16: (1, 2), Q4_0: (32, 18), Q5_0: (32, 22), Q8_0: (32, 34), Q4_K: (256, 144), Q6_K: (256, 210)}
_IN_SMALL_BLOCKS = {Q4_K: Q5_0, Q6_K: Q8_0}
"""What llama.cpp takes instead where a row is no whole number of blocks."""
_MIXES = {"F16": (F16, F16), "Q8_0": (Q8_0, Q8_0), "Q4_0": (Q4_0, Q6_K), "Q4_K_M": (Q4_K, Q6_K)}
"""The type of most matrices, and of those that llama.cpp's mixes keep finer."""
_ALIGNMENT = 32
_SHORT, _UNSIGNED, _SIGNED = 2, 4, 5
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Shape:
    """What a model is made of. ``more`` are further keys of its architecture; ``kv_heads`` may differ by layer."""

    architecture: str
    width: int = 256
    layers: int = 2
    heads: int = 4
    kv_heads: int | tuple[int, ...] = 2
    head: int = 64
    feed_forward: int = 512
    vocabulary: int = 1000
    trained: int = 131_072
    experts: int = 0
    experts_used: int = 2
    is_tied: bool = False
    more: Mapping[str, Value] = field(default_factory=dict)


def write_blank_gguf(
    path: Path, shape: Shape, quantization: str = "Q8_0", *, parts: int = 1, splitting: str = "gpt-2"
) -> Path:
    """Write the build, or with ``parts`` a split one whose first file has the name that llama.cpp wants; return it.

    With the ``splitting`` of ``llama-bpe``, every word of the vocabulary is one token in a text too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {**_facts(shape), **_tokenizer(shape.vocabulary, splitting)}
    tensors = list(_tensors(shape))
    if parts == 1:
        return _write(path, facts, tensors, quantization)
    share = -(-len(tensors) // parts)
    names = [path.with_name(f"{path.stem}-{number:05d}-of-{parts:05d}.gguf") for number in range(1, parts + 1)]
    for number, name in enumerate(names):
        split = {"split.no": number, "split.count": parts, "split.tensors.count": len(tensors)}
        own = tensors[number * share : (number + 1) * share]
        _write(name, split if number else facts | split, own, quantization)
    return names[0]


def _write(path: Path, facts: Mapping[str, Value], tensors: Sequence[Tensor], quantization: str) -> Path:
    pairs = [_pair(key, value) for key, value in facts.items()]
    infos, end = bytearray(), 0
    for name, dimensions in tensors:
        kind = _type_of(name, dimensions, quantization)
        infos += _text(name) + struct.pack(f"<I{len(dimensions)}QIQ", len(dimensions), *dimensions, kind, end)
        block, size = _BLOCKS[kind]
        end += -(-(math.prod(dimensions) // block * size) // _ALIGNMENT) * _ALIGNMENT
    header = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(pairs)) + b"".join((*pairs, infos))
    with path.open("wb") as file:
        file.write(header)
        file.truncate(-(-len(header) // _ALIGNMENT) * _ALIGNMENT + end)
    return path


def _type_of(name: str, dimensions: tuple[int, ...], quantization: str) -> int:
    """Norms, biases and what convolves stay as they are; the head and a part of the layers are finer."""
    if len(dimensions) < 2 or any(part in name for part in ("norm", "conv", "ssm_a", "ssm_d", "gate_inp", ".bias")):
        return F32
    coarse, fine = _MIXES[quantization]
    if dimensions[0] % 256:
        coarse, fine = _IN_SMALL_BLOCKS.get(coarse, coarse), _IN_SMALL_BLOCKS.get(fine, fine)
    is_fine = name in ("token_embd.weight", "output.weight") or (
        ("attn_v." in name or "ffn_down" in name) and quantization == "Q4_K_M" and int(name.split(".")[1]) % 2 == 0
    )
    return fine if is_fine else coarse


def _facts(shape: Shape) -> dict[str, Value]:
    name = shape.architecture
    facts: dict[str, Value] = {
        "general.architecture": name,
        "general.name": "blank",
        f"{name}.context_length": shape.trained,
        f"{name}.embedding_length": shape.width,
        f"{name}.block_count": shape.layers,
        f"{name}.feed_forward_length": shape.feed_forward,
        f"{name}.attention.head_count": shape.heads,
        f"{name}.attention.head_count_kv": shape.kv_heads,
        f"{name}.attention.layer_norm_rms_epsilon": 1e-5,
        f"{name}.attention.key_length": shape.head,
        f"{name}.attention.value_length": shape.head,
        f"{name}.rope.dimension_count": shape.head,
        f"{name}.vocab_size": shape.vocabulary,
    }
    if shape.experts:
        facts[f"{name}.expert_count"] = shape.experts
        facts[f"{name}.expert_used_count"] = shape.experts_used
        facts[f"{name}.expert_feed_forward_length"] = shape.feed_forward
    return facts | {f"{name}.{key}": value for key, value in shape.more.items()}


def _tensors(shape: Shape) -> Iterator[Tensor]:
    width = shape.width
    yield "token_embd.weight", (width, shape.vocabulary)
    yield ("token_embd_norm.weight" if shape.architecture == "lfm2" else "output_norm.weight"), (width,)
    if not shape.is_tied:
        yield "output.weight", (width, shape.vocabulary)
    for layer in range(shape.layers):
        for name, dimensions in _layer(shape, layer):
            yield f"blk.{layer}.{name}", dimensions


def _layer(shape: Shape, layer: int) -> Iterator[Tensor]:
    width = shape.width
    kv_heads = shape.kv_heads if isinstance(shape.kv_heads, int) else shape.kv_heads[layer]
    yield "attn_norm.weight", (width,)
    match shape.architecture:
        case "mamba2":
            yield from _mamba2(shape)
            return
        case "falcon-h1":
            yield from _mamba2(shape)
            yield from _attention(shape, kv_heads)
        case "lfm2" if not kv_heads:
            yield "shortconv.conv.weight", (int(str(shape.more["shortconv.l_cache"])), width)
            yield "shortconv.in_proj.weight", (width, 3 * width)
            yield "shortconv.out_proj.weight", (width, width)
        case "deepseek2":
            yield from _latent_attention(shape)
        case _:
            yield from _attention(shape, kv_heads)
    yield ("ffn_norm" if shape.architecture == "falcon-h1" else "ffn_norm.weight"), (width,)
    if shape.architecture in ("gemma2", "gemma3"):
        yield "post_attention_norm.weight", (width,)
        yield "post_ffw_norm.weight", (width,)
    yield from _feed_forward(shape)


def _attention(shape: Shape, kv_heads: int) -> Iterator[Tensor]:
    width, query, key = shape.width, shape.heads * shape.head, kv_heads * shape.head
    if shape.architecture == "phi3":
        yield "attn_qkv.weight", (width, query + 2 * key)
    else:
        yield "attn_q.weight", (width, query)
        yield "attn_k.weight", (width, key)
        yield "attn_v.weight", (width, key)
    yield "attn_output.weight", (query, width)
    if shape.architecture in ("qwen3", "qwen3moe", "gemma3", "lfm2"):
        yield "attn_q_norm.weight", (shape.head,)
        yield "attn_k_norm.weight", (shape.head,)
    if shape.architecture == "qwen2":
        yield "attn_q.bias", (query,)
        yield "attn_k.bias", (key,)
        yield "attn_v.bias", (key,)


def _latent_attention(shape: Shape) -> Iterator[Tensor]:
    """DeepSeek's: ``head`` is the latent's key length, the numbers of a head are in ``more``."""
    width, heads = shape.width, shape.heads
    latent, query = int(str(shape.more["attention.kv_lora_rank"])), int(str(shape.more["attention.q_lora_rank"]))
    key, value = int(str(shape.more["attention.key_length_mla"])), int(str(shape.more["attention.value_length_mla"]))
    rope = int(str(shape.more["rope.dimension_count"]))
    yield "attn_q_a_norm.weight", (query,)
    yield "attn_kv_a_norm.weight", (latent,)
    yield "attn_q_a.weight", (width, query)
    yield "attn_q_b.weight", (query, heads * key)
    yield "attn_kv_a_mqa.weight", (width, latent + rope)
    yield "attn_k_b.weight", (key - rope, latent, heads)
    yield "attn_v_b.weight", (latent, value, heads)
    yield "attn_output.weight", (heads * value, width)


def _mamba2(shape: Shape) -> Iterator[Tensor]:
    width, more = shape.width, {key: int(str(value)) for key, value in shape.more.items() if key.startswith("ssm.")}
    inner, state, groups = more["ssm.inner_size"], more["ssm.state_size"], more["ssm.group_count"]
    rank, kernel = more["ssm.time_step_rank"], more["ssm.conv_kernel"]
    mixed = inner + 2 * groups * state
    yield "ssm_in.weight", (width, inner + mixed + rank)
    yield "ssm_conv1d.weight", (kernel, mixed)
    yield "ssm_conv1d.bias", (mixed,)
    yield "ssm_dt.bias", (rank,)
    yield "ssm_a", (1, rank)
    yield "ssm_d", (1, rank)
    yield "ssm_norm.weight", (inner // groups, groups)
    yield "ssm_out.weight", (inner, width)


def _feed_forward(shape: Shape) -> Iterator[Tensor]:
    width, inner = shape.width, shape.feed_forward
    if shape.experts:
        yield "ffn_gate_inp.weight", (width, shape.experts)
        yield "ffn_gate_exps.weight", (width, inner, shape.experts)
        yield "ffn_up_exps.weight", (width, inner, shape.experts)
        yield "ffn_down_exps.weight", (inner, width, shape.experts)
        shared = int(str(shape.more.get("expert_shared_count", 0))) * inner
        if shared:
            yield "ffn_gate_shexp.weight", (width, shared)
            yield "ffn_up_shexp.weight", (width, shared)
            yield "ffn_down_shexp.weight", (shared, width)
        return
    if shape.architecture == "phi3":
        yield "ffn_up.weight", (width, 2 * inner)
    else:
        yield "ffn_gate.weight", (width, inner)
        yield "ffn_up.weight", (width, inner)
    yield "ffn_down.weight", (inner, width)


def _tokenizer(size: int, splitting: str) -> dict[str, Value]:
    """A byte-level BPE vocabulary: a symbol for each byte, two specials, and made-up words with their merges."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = iter(range(256, 512))
    symbols = [chr(byte if byte in plain else next(others)) for byte in range(256)]
    words = ["Ġ" + "".join(letters) for letters, _ in zip(product(_LETTERS, repeat=5), range(size - 258), strict=False)]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": splitting,
        "tokenizer.ggml.tokens": [*symbols, *words, "<|end|>", "<|start|>"],
        "tokenizer.ggml.token_type": [1] * (size - 2) + [3, 3],
        "tokenizer.ggml.merges": [f"{word[:3]} {word[3:]}" for word in words],
        "tokenizer.ggml.eos_token_id": size - 2,
        "tokenizer.ggml.bos_token_id": size - 1,
    }


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _pair(key: str, value: Value) -> bytes:
    if key in ("split.no", "split.count") and isinstance(value, int):
        return _text(key) + struct.pack("<IH", _SHORT, value)
    if key == "split.tensors.count" and isinstance(value, int):
        return _text(key) + struct.pack("<Ii", _SIGNED, value)
    return _text(key) + _value(value)


def _value(value: Value) -> bytes:
    match value:
        case bool():
            return struct.pack("<I?", 7, value)
        case int():
            return struct.pack("<II", _UNSIGNED, value)
        case float():
            return struct.pack("<If", 6, value)
        case str():
            return struct.pack("<I", 8) + _text(value)
    items = [_value(item) for item in value]
    kind = int.from_bytes(items[0][:4], "little")
    kind = _SIGNED if kind == _UNSIGNED else kind
    return struct.pack("<IIQ", 9, kind, len(items)) + b"".join(item[4:] for item in items)
