"""Whether weights are those that a configuration describes, by their main tensors and the number of their layers.

A loader that finds other shapes fails late and at length, or draws noise where it fills in what is missing. Looked at
are tensors whose shapes follow from a few numbers of ``config.json``; what that leaves out is not compared.
"""

import math
import re
from collections.abc import Iterator, Mapping

Shapes = Mapping[str, tuple[int, ...]]

_INNER = "num_attention_heads*attention_head_dim"
_CLIP = (("embeddings.token_embedding.weight", ("vocab_size", "hidden_size")),)
_WORDS = (("embed_tokens.weight", ("vocab_size", "hidden_size")),)
_T5 = (("shared.weight", ("vocab_size", "d_model")),)
_TENSORS: Mapping[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    # class: (how the name of a tensor ends, its first dimensions as products of what the configuration says)
    "UNet2DConditionModel": (
        ("conv_in.weight", ("block_out_channels:0", "in_channels")),
        ("conv_out.weight", ("out_channels", "block_out_channels:0")),
    ),
    "ControlNetModel": (("conv_in.weight", ("block_out_channels:0", "in_channels")),),
    "AutoencoderKL": (
        ("decoder.conv_in.weight", ("block_out_channels:-1", "latent_channels")),
        ("decoder.conv_out.weight", ("out_channels", "block_out_channels:0")),
    ),
    "AutoencoderDC": (("decoder.conv_in.weight", ("decoder_block_out_channels:-1", "latent_channels")),),
    "AutoencoderKLQwenImage": (("decoder.conv_in.weight", ("base_dim*dim_mult:-1", "z_dim")),),
    "FluxTransformer2DModel": (
        ("x_embedder.weight", (_INNER, "in_channels")),
        ("context_embedder.weight", (_INNER, "joint_attention_dim")),
    ),
    "ChromaTransformer2DModel": (
        ("x_embedder.weight", (_INNER, "in_channels")),
        ("context_embedder.weight", (_INNER, "joint_attention_dim")),
    ),
    "Flux2Transformer2DModel": (
        ("x_embedder.weight", (_INNER, "in_channels")),
        ("context_embedder.weight", (_INNER, "joint_attention_dim")),
    ),
    "SD3Transformer2DModel": (
        ("pos_embed.proj.weight", (_INNER, "in_channels", "patch_size", "patch_size")),
        ("context_embedder.weight", ("caption_projection_dim", "joint_attention_dim")),
    ),
    "SanaTransformer2DModel": (("patch_embed.proj.weight", (_INNER, "in_channels", "patch_size", "patch_size")),),
    "PixArtTransformer2DModel": (("pos_embed.proj.weight", (_INNER, "in_channels", "patch_size", "patch_size")),),
    "QwenImageTransformer2DModel": (
        ("img_in.weight", (_INNER, "in_channels")),
        ("txt_in.weight", (_INNER, "joint_attention_dim")),
    ),
    "ZImageTransformer2DModel": (("cap_embedder.1.weight", ("dim", "cap_feat_dim")),),
    "CLIPTextModel": _CLIP,
    "CLIPTextModelWithProjection": _CLIP,
    "T5EncoderModel": _T5,
    "UMT5EncoderModel": _T5,
    "Gemma2Model": _WORDS,
    "Gemma2ForCausalLM": _WORDS,
    "Qwen3Model": _WORDS,
    "Qwen3ForCausalLM": _WORDS,
}
_BY_OTHER_NAMES = frozenset({"embeddings.token_embedding.weight", "embed_tokens.weight", "shared.weight"})
"""Tensors that releases of transformers have called differently."""
_LAYERS: Mapping[str, tuple[tuple[str, str], ...]] = {
    # class: (the list of its layers, what the configuration calls their number)
    "FluxTransformer2DModel": (
        ("transformer_blocks", "num_layers"), ("single_transformer_blocks", "num_single_layers"),
    ),
    "SD3Transformer2DModel": (("transformer_blocks", "num_layers"),),
    "SanaTransformer2DModel": (("transformer_blocks", "num_layers"),),
    "PixArtTransformer2DModel": (("transformer_blocks", "num_layers"),),
    "QwenImageTransformer2DModel": (("transformer_blocks", "num_layers"),),
    "ZImageTransformer2DModel": (("layers", "n_layers"),),
    "CLIPTextModel": (("encoder.layers", "num_hidden_layers"),),
    "CLIPTextModelWithProjection": (("encoder.layers", "num_hidden_layers"),),
    "T5EncoderModel": (("encoder.block", "num_layers"),),
    "Gemma2Model": (("layers", "num_hidden_layers"),),
    "Qwen3Model": (("layers", "num_hidden_layers"),),
}  # fmt: skip


def problems(class_name: str, config: Mapping[str, object], shapes: Shapes) -> Iterator[str]:
    """Each difference in words; none where weights were quantized, as those have shapes of their own."""
    if config.get("quantization_config"):
        return
    for ending, sizes in _TENSORS.get(class_name, ()):
        wanted = [_product(config, size) for size in sizes]
        if None in wanted:
            continue
        named = (name for name in shapes if name.endswith(f".{ending}"))
        name = ending if ending in shapes else next(named, None)
        if name is None:
            if ending not in _BY_OTHER_NAMES:
                yield f"there is no {ending}"
        elif list(shapes[name][: len(wanted)]) != wanted:
            yield f"{name} is {_by(shapes[name])} and should be {_by(wanted)} to begin with"
    for prefix, key in _LAYERS.get(class_name, ()):
        count = config.get(key)
        if isinstance(count, int) and (found := layers_of(shapes, prefix)) != count:
            yield f"{prefix} has {found} layers and should have {count}"


def layers_of(shapes: Shapes, prefix: str) -> int:
    """How many layers the list of that name has."""
    pattern = re.compile(rf"(?:^|\.){re.escape(prefix)}\.(\d{{1,4}})\.")
    return max((int(found[1]) + 1 for name in shapes if (found := pattern.search(name))), default=0)


def _product(config: Mapping[str, object], words: str) -> int | None:
    """``a*b:0`` is what the configuration says of ``a``, times the first item of ``b``; nothing where it does not."""
    factors = [_number(config, word) for word in words.split("*")]
    return None if None in factors else math.prod(factor for factor in factors if factor is not None)


def _number(config: Mapping[str, object], word: str) -> int | None:
    key, _, place = word.partition(":")
    value = config.get(key)
    if place:
        value = value[int(place)] if isinstance(value, list) and value else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _by(sizes: "tuple[int, ...] | list[int | None]") -> str:
    return " x ".join(map(str, sizes))
