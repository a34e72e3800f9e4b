"""Language models of some hundred kilobytes with random weights, wide enough for blocks of 256 weights, for the lab."""

from pathlib import Path

import gguf
import numpy as np

from tests.fakes.tiny_gguf import MERGES, bpe_vocabulary

CONTEXT = 128
EXPERTS, USED = 4, 2
_HEADS = 4


def write_lab_gguf(
    path: Path,
    *,
    width: int = 256,
    layers: int = 2,
    experts: bool = False,
    tied: bool = False,
    halves: bool = False,
    parts: int = 1,
    bos: bool = True,
    seed: int = 1,
) -> Path:
    """Write the build, 16-bit floats if ``halves``, and return its first file: of two ``parts`` NAME-00001-of-00002."""
    shapes = _shapes(width, layers, experts, tied)
    random = np.random.default_rng(seed)
    values = {name: _values(name, shape, random, halves) for name, shape in shapes.items()}
    paths = (
        [path.with_name(f"{path.stem}-{n:05}-of-{parts:05}.gguf") for n in range(1, parts + 1)] if parts > 1 else [path]
    )
    names = list(values)
    for number, place in enumerate(paths):
        writer = gguf.GGUFWriter(place, "llama")
        if number == 0:
            _describe(writer, width, layers, experts, bos)
        if parts > 1:
            writer.add_uint16("split.no", number)
            writer.add_uint16("split.count", parts)
            writer.add_int32("split.tensors.count", len(names))
        for name in names[number :: len(paths)]:
            writer.add_tensor(name, values[name])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return paths[0]


def _values(name: str, shape: tuple[int, ...], random: np.random.Generator, halves: bool) -> np.ndarray:
    if "norm" in name:
        return np.ones(shape, np.float32)
    scale = 0.5 if "embd" in name else 0.1 if name == "output.weight" else 1.5 / shape[-1] ** 0.5
    weights = random.standard_normal(shape) * scale
    keeps = len(shape) == 1 or "gate_inp" in name or not halves
    return weights.astype(np.float32 if keeps else np.float16)


def _describe(writer: gguf.GGUFWriter, width: int, layers: int, experts: bool, bos: bool) -> None:
    tokens, types = bpe_vocabulary()
    writer.add_name("lab")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(width)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS // 2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // _HEADS)
    if experts:
        writer.add_expert_count(EXPERTS)
        writer.add_expert_used_count(USED)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(list(MERGES))
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_bos_token_id(tokens.index("<|endoftext|>"))
    writer.add_add_bos_token(bos)


def _shapes(width: int, layers: int, experts: bool, tied: bool) -> dict[str, tuple[int, ...]]:
    tokens = len(bpe_vocabulary()[0])
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (tokens, width), "output_norm.weight": (width,)}
    if not tied:
        shapes["output.weight"] = (tokens, width)
    for layer in range(layers):
        block: dict[str, tuple[int, ...]] = {"attn_norm": (width,), "ffn_norm": (width,)}
        block |= {
            f"attn_{name}": (width // divided, width) for name, divided in (("q", 1), ("k", 2), ("v", 2), ("output", 1))
        }
        if experts:
            block["ffn_gate_inp"] = (EXPERTS, width)
            block |= {f"ffn_{name}_exps": (EXPERTS, width, width) for name in ("gate", "up", "down")}
        else:
            block |= {f"ffn_{name}": (width, width) for name in ("gate", "up", "down")}
        shapes |= {f"blk.{layer}.{name}.weight": shape for name, shape in block.items()}
    return shapes
