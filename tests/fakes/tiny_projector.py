"""A projector for the tiny text build: random weights in the shapes of LLaVA, Gemma 3 or Qwen 2 VL, some hundred KB."""

from pathlib import Path

import gguf
import numpy as np

_PATCH = 8


def write_tiny_projector(
    path: Path,
    *,
    kind: str = "mlp",
    embedding: int = 320,
    side: int = 32,
    width: int = 64,
    inner: int = 128,
    blocks: int = 2,
    heads: int = 4,
    patch: int = _PATCH,
    without: tuple[str, ...] = (),
    numbers: dict[str, int] | None = None,
    seed: int = 3,
) -> Path:
    """Write the projector to ``path`` and return it; it makes embeddings of ``embedding`` numbers.

    ``kind`` is ``mlp``, ``gemma3`` or ``qwen2vl_merger``; ``without`` leaves tensors out, ``numbers`` changes keys.
    """
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_type("mmproj")
    writer.add_name(path.stem)
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", kind)
    writer.add_bool("clip.use_gelu", True)
    counts = {"image_size": side, "patch_size": patch, "embedding_length": width, "feed_forward_length": inner,
              "block_count": blocks, "projection_dim": embedding, "attention.head_count": heads}  # fmt: skip
    if kind == "gemma3":
        counts["projector.scale_factor"] = 2
    for key, value in (counts | (numbers or {})).items():
        writer.add_uint32(f"clip.vision.{key}", value)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    writer.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
    writer.add_array("clip.vision.image_std", [0.5, 0.5, 0.5])
    random = np.random.default_rng(seed)
    shapes = _shapes(kind, embedding, (side // patch) ** 2, width, inner, blocks, patch)
    for name, shape in shapes.items():
        if name in without:
            continue
        is_norm = name.endswith(("ln1.weight", "ln2.weight", "post_ln.weight", "norm.weight", "ln_q.weight"))
        values = np.ones(shape) if is_norm else random.standard_normal(shape) * 0.3
        writer.add_tensor(name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _shapes(
    kind: str, embedding: int, patches: int, width: int, inner: int, blocks: int, patch: int
) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"v.patch_embd.weight": (width, 3, patch, patch)}
    if kind == "qwen2vl_merger":
        shapes["v.patch_embd.weight.1"] = (width, 3, patch, patch)
    else:
        shapes["v.position_embd.weight"] = (patches, width)
    for block in range(blocks):
        for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
            shapes |= {f"v.blk.{block}.{name}.weight": (width, width), f"v.blk.{block}.{name}.bias": (width,)}
        shapes |= {f"v.blk.{block}.ffn_up.weight": (inner, width), f"v.blk.{block}.ffn_up.bias": (inner,)}
        shapes |= {f"v.blk.{block}.ffn_down.weight": (width, inner), f"v.blk.{block}.ffn_down.bias": (width,)}
        for name in ("ln1", "ln2"):
            shapes |= {f"v.blk.{block}.{name}.weight": (width,), f"v.blk.{block}.{name}.bias": (width,)}
    if kind == "gemma3":
        shapes |= {"v.post_ln.weight": (width,), "v.post_ln.bias": (width,)}
        return shapes | {"mm.input_projection.weight": (width, embedding), "mm.soft_emb_norm.weight": (width,)}
    if kind == "qwen2vl_merger":
        shapes |= {"v.post_ln.weight": (width,), "v.post_ln.bias": (width,)}
        shapes |= {"mm.0.weight": (4 * width, 4 * width), "mm.0.bias": (4 * width,)}
        return shapes | {"mm.2.weight": (embedding, 4 * width), "mm.2.bias": (embedding,)}
    shapes |= {"mm.0.weight": (embedding, width), "mm.0.bias": (embedding,)}
    return shapes | {"mm.2.weight": (embedding, embedding), "mm.2.bias": (embedding,)}
