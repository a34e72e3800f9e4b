"""GGUF files of some kilobytes that llama.cpp really loads, one for each way in which headers differ."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import gguf
import numpy as np

from tests.fakes.tiny_gguf import CHATML, MERGES, bpe_vocabulary, spm_vocabulary

_WIDTH, _HEADS, _EXPERTS, _CONTEXT = 64, 2, 4, 128
_WORDPIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(chr(c) for c in range(33, 127)), "▁the", "▁a"]

Writer: TypeAlias = gguf.GGUFWriter
Shapes = Mapping[str, tuple[int, ...]]


def write_all(folder: Path) -> list[Path]:
    """Every kind of file; of the split one all parts, of which the first begins the model."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {
        "llama-bpe": lambda path: _write_text(path, "llama", _bpe),
        "llama-spm": lambda path: _write_text(path, "llama", _spm, quantized=True),
        "qwen2-bpe": lambda path: _write_text(path, "qwen2", _bpe, more=_BIASES),
        "gemma-spm": lambda path: _write_text(path, "gemma", _spm, without=("output.weight",)),
        "experts-bpe": lambda path: _write_text(path, "llama", _bpe, more=_EXPERT_WEIGHTS, without=_FEED_FORWARD),
        "bert-wpm": _write_bert,
        "mmproj": _write_projector,
        "adapter": _write_adapter,
    }
    for name, write in made.items():
        write(folder / f"{name}.gguf")
    return [*(folder / f"{name}.gguf" for name in made), *_write_split(folder)]


def write_ending(path: Path) -> Path:
    """A model that adds up and yet ends llama.cpp on a processor, which cannot multiply by a norm of 16 bits."""
    _write_text(path, "llama", _bpe, halves=("output_norm.weight",))
    return path


def _write_text(
    path: Path,
    architecture: str,
    vocabulary: Callable[[Writer], int],
    *,
    more: Shapes | None = None,
    without: tuple[str, ...] = (),
    quantized: bool = False,
    halves: tuple[str, ...] = (),
) -> None:
    writer = Writer(path, architecture)
    shapes = _text_shapes(_describe_text(writer, vocabulary)) | dict(more or {})
    if more is _EXPERT_WEIGHTS:
        writer.add_expert_count(_EXPERTS)
        writer.add_expert_used_count(2)
    _add_tensors(writer, {name: shape for name, shape in shapes.items() if name not in without}, quantized, halves)
    _finish(writer)


def _write_split(folder: Path) -> list[Path]:
    """Two parts, with the tensors shared among them."""
    paths = [folder / f"split-0000{number}-of-00002.gguf" for number in (1, 2)]
    first, second = Writer(paths[0], "llama"), Writer(paths[1], "llama")
    shapes = _text_shapes(_describe_text(first, _bpe))
    for number, writer in enumerate((first, second)):
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", 2)
        writer.add_int32("split.tensors.count", len(shapes))
    for writer, names in ((first, list(shapes)[:5]), (second, list(shapes)[5:])):
        _add_tensors(writer, {name: shapes[name] for name in names})
        _finish(writer)
    return paths


def _describe_text(writer: Writer, vocabulary: Callable[[Writer], int]) -> int:
    """The keys of a text model; returns how many tokens it has."""
    writer.add_name("small")
    writer.add_context_length(_CONTEXT)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(_WIDTH)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(1)
    writer.add_key_length(_WIDTH // _HEADS)
    writer.add_value_length(_WIDTH // _HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(_WIDTH // _HEADS)
    writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
    writer.add_rope_scaling_factor(1.0)
    writer.add_chat_template(CHATML)
    return vocabulary(writer)


def _bpe(writer: Writer) -> int:
    tokens, types = bpe_vocabulary()
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_merges(list(MERGES))
    return _tokens(writer, tokens, types)


def _spm(writer: Writer) -> int:
    tokens, types = spm_vocabulary()
    writer.add_tokenizer_model("llama")
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_add_space_prefix(False)
    return _tokens(writer, tokens, types)


def _tokens(writer: Writer, tokens: list[str], types: list[int]) -> int:
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_bos_token_id(tokens.index("<|endoftext|>"))
    writer.add_add_bos_token(False)
    return len(tokens)


def _text_shapes(tokens: int) -> dict[str, tuple[int, ...]]:
    layer = {f"attn_{name}": (rows, _WIDTH) for name, rows in _PROJECTIONS.items()}
    layer |= {"ffn_gate": (_WIDTH, _WIDTH), "ffn_up": (_WIDTH, _WIDTH), "ffn_down": (_WIDTH, _WIDTH)}
    blocks = {f"blk.0.{name}.weight": shape for name, shape in layer.items()}
    norms = {f"blk.0.{name}.weight": (_WIDTH,) for name in ("attn_norm", "ffn_norm")}
    ends = {"token_embd.weight": (tokens, _WIDTH), "output.weight": (tokens, _WIDTH), "output_norm.weight": (_WIDTH,)}
    return ends | norms | blocks


_PROJECTIONS = {"q": _WIDTH, "k": _WIDTH // _HEADS, "v": _WIDTH // _HEADS, "output": _WIDTH}
_BIASES = {f"blk.0.attn_{name}.bias": (rows,) for name, rows in _PROJECTIONS.items() if name != "output"}
_FEED_FORWARD = tuple(f"blk.0.ffn_{name}.weight" for name in ("gate", "up", "down"))
_EXPERT_WEIGHTS = {"blk.0.ffn_gate_inp.weight": (_EXPERTS, _WIDTH)} | {
    f"blk.0.ffn_{name}_exps.weight": (_EXPERTS, _WIDTH, _WIDTH) for name in ("gate", "up", "down")
}


def _write_bert(path: Path) -> None:
    writer = Writer(path, "bert")
    writer.add_context_length(_CONTEXT)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(_WIDTH)
    writer.add_head_count(_HEADS)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.CLS)
    writer.add_tokenizer_model("bert")
    writer.add_token_type_count(2)
    writer.add_token_list(_WORDPIECES)
    writer.add_token_types([gguf.TokenType.CONTROL] * 5 + [gguf.TokenType.NORMAL] * (len(_WORDPIECES) - 5))
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (len(_WORDPIECES), _WIDTH),
        "token_types.weight": (2, _WIDTH),
        "position_embd.weight": (_CONTEXT, _WIDTH),
    }
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_up", "ffn_down"):
        shapes |= {f"blk.0.{name}.weight": (_WIDTH, _WIDTH), f"blk.0.{name}.bias": (_WIDTH,)}
    for name in ("token_embd_norm", "blk.0.attn_output_norm", "blk.0.layer_output_norm"):
        shapes |= {f"{name}.weight": (_WIDTH,), f"{name}.bias": (_WIDTH,)}
    _add_tensors(writer, shapes)
    _finish(writer)


def _write_projector(path: Path) -> None:
    writer = Writer(path, "clip")
    writer.add_type("mmproj")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", "mlp")
    for key, value in (("image_size", 32), ("patch_size", 16), ("embedding_length", 32), ("block_count", 1)):
        writer.add_uint32(f"clip.vision.{key}", value)
    writer.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
    _add_tensors(writer, {"v.patch_embd.weight": (32, 3, 16, 16), "mm.0.weight": (32, 32), "mm.0.bias": (32,)})
    _finish(writer)


def _write_adapter(path: Path) -> None:
    writer = Writer(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 8.0)
    names = {"blk.0.attn_q.weight.lora_a": (4, _WIDTH), "blk.0.attn_q.weight.lora_b": (_WIDTH, 4)}
    _add_tensors(writer, names)
    _finish(writer)


def _add_tensors(writer: Writer, shapes: Shapes, quantized: bool = False, halves: tuple[str, ...] = ()) -> None:
    random = np.random.default_rng(5)
    for name, shape in shapes.items():
        values = (random.standard_normal(shape) * 0.1).astype(np.float32)
        if quantized and len(shape) > 1:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, values.astype(np.float16) if name in halves else values)


def _finish(writer: Writer) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
