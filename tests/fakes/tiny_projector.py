"""A projector for the tiny text build: random weights in the shapes of LLaVA, Gemma 3 or Qwen 2 VL, some hundred KB.

With ears it is one in those of Ultravox or Qwen 2 Audio.
"""

from pathlib import Path

import gguf
import numpy as np

_PATCH = 8
_STACK, _POSITIONS = 10, 1500
"""Frames that Ultravox makes one token of, and those that Whisper's encoder takes at once."""
_FAINTLY, _FAINT = ("a.position_embd.weight",), 0.03
"""What is heard has to count for more than where: a short tone is followed by half a minute of silence."""


def write_tiny_projector(
    path: Path,
    *,
    kind: str = "mlp",
    ears: str = "",
    mels: int = 16,
    stack: int = _STACK,
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

    ``kind`` is ``mlp``, ``gemma3`` or ``qwen2vl_merger``, ``ears`` is ``ultravox`` or ``qwen2a``; ``""`` has none of
    these. ``without`` leaves tensors out, ``numbers`` changes keys of the eyes, or of the ears where there are no eyes.
    """
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_type("mmproj")
    writer.add_name(path.stem)
    writer.add_bool("clip.use_gelu", True)
    both = {"embedding_length": width, "feed_forward_length": inner, "block_count": blocks,
            "projection_dim": embedding, "attention.head_count": heads}  # fmt: skip
    shapes: dict[str, tuple[int, ...]] = {}
    if kind:
        writer.add_string("clip.vision.projector_type" if ears else "clip.projector_type", kind)
        counts = both | {"image_size": side, "patch_size": patch}
        if kind == "gemma3":
            counts["projector.scale_factor"] = 2
        _add_part(writer, "vision", counts | (numbers or {}))
        writer.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
        writer.add_array("clip.vision.image_std", [0.5, 0.5, 0.5])
        shapes |= _shapes(kind, embedding, (side // patch) ** 2, width, inner, blocks, patch)
    if ears:
        writer.add_string("clip.audio.projector_type" if kind else "clip.projector_type", ears)
        counts = both | {"num_mel_bins": mels} | ({"projector.stack_factor": stack} if ears == "ultravox" else {})
        _add_part(writer, "audio", counts | ({} if kind else numbers or {}))
        shapes |= _shapes_of_ears(ears, embedding, mels, stack, width, inner, blocks)
    random = np.random.default_rng(seed)
    for name, shape in shapes.items():
        if name in without:
            continue
        is_norm = "norm_" in name or name.endswith(
            ("ln1.weight", "ln2.weight", "post_ln.weight", "norm.weight", "ln_q.weight")
        )
        values = np.ones(shape) if is_norm else random.standard_normal(shape) * (_FAINT if name in _FAINTLY else 0.3)
        writer.add_tensor(name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_part(writer: gguf.GGUFWriter, part: str, counts: dict[str, int]) -> None:
    """The keys of the eyes or the ears."""
    writer.add_bool(f"clip.has_{part}_encoder", True)
    for key, value in counts.items():
        writer.add_uint32(f"clip.{part}.{key}", value)
    writer.add_float32(f"clip.{part}.attention.layer_norm_epsilon", 1e-5)


def _layers(prefix: str, width: int, inner: int, blocks: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for block in range(blocks):
        for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
            at = f"{prefix}.blk.{block}.{name}"
            shapes[f"{at}.weight"] = (width, width)
            if prefix == "v" or name != "attn_k":
                shapes[f"{at}.bias"] = (width,)
        at = f"{prefix}.blk.{block}"
        shapes |= {f"{at}.ffn_up.weight": (inner, width), f"{at}.ffn_up.bias": (inner,)}
        shapes |= {f"{at}.ffn_down.weight": (width, inner), f"{at}.ffn_down.bias": (width,)}
        for name in ("ln1", "ln2"):
            shapes |= {f"{at}.{name}.weight": (width,), f"{at}.{name}.bias": (width,)}
    return shapes


def _shapes_of_ears(
    kind: str, embedding: int, mels: int, stack: int, width: int, inner: int, blocks: int
) -> dict[str, tuple[int, ...]]:
    """Whisper's encoder, which has no bias for keys, and what makes tokens of its frames."""
    shapes: dict[str, tuple[int, ...]] = {
        "a.position_embd.weight": (_POSITIONS, width),
        "a.conv1d.1.weight": (width, mels, 3),
        "a.conv1d.1.bias": (width, 1),
        "a.conv1d.2.weight": (width, width, 3),
        "a.conv1d.2.bias": (width, 1),
        "a.post_ln.weight": (width,),
        "a.post_ln.bias": (width,),
    }
    shapes |= _layers("a", width, inner, blocks)
    if kind == "qwen2a":
        return shapes | {"mm.a.fc.weight": (embedding, width), "mm.a.fc.bias": (embedding,)}
    shapes |= {"mm.a.norm_pre.weight": (width * stack,), "mm.a.mlp.1.weight": (2 * inner, width * stack)}
    return shapes | {"mm.a.norm_mid.weight": (inner,), "mm.a.mlp.2.weight": (embedding, inner)}


def _shapes(
    kind: str, embedding: int, patches: int, width: int, inner: int, blocks: int, patch: int
) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"v.patch_embd.weight": (width, 3, patch, patch)}
    if kind == "qwen2vl_merger":
        shapes["v.patch_embd.weight.1"] = (width, 3, patch, patch)
    else:
        shapes["v.position_embd.weight"] = (patches, width)
    shapes |= _layers("v", width, inner, blocks)
    if kind == "gemma3":
        shapes |= {"v.post_ln.weight": (width,), "v.post_ln.bias": (width,)}
        return shapes | {"mm.input_projection.weight": (width, embedding), "mm.soft_emb_norm.weight": (width,)}
    if kind == "qwen2vl_merger":
        shapes |= {"v.post_ln.weight": (width,), "v.post_ln.bias": (width,)}
        shapes |= {"mm.0.weight": (4 * width, 4 * width), "mm.0.bias": (4 * width,)}
        return shapes | {"mm.2.weight": (embedding, 4 * width), "mm.2.bias": (embedding,)}
    shapes |= {"mm.0.weight": (embedding, width), "mm.0.bias": (embedding,)}
    return shapes | {"mm.2.weight": (embedding, embedding), "mm.2.bias": (embedding,)}
