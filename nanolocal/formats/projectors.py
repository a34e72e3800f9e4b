"""What the numbers of a vision projector must be, so that llama.cpp (tools/mtmd/clip.cpp) does not end the process.

What llama.cpp refuses with an error, such as a missing key or an unknown type, is left to it.
"""

from collections.abc import Mapping

from nanolocal.formats.refusal import Refused

ARCHITECTURE = "clip"
IN_ONE_STEP = frozenset({"deepseek4v", "gemma3", "gemma4uv", "gemma4v"})
"""Types whose pictures see all of themselves, so that one must be read in one step (``mtmd_decode_use_non_causal``)."""
MOST_BLOCKS = 512
MOST_SIDE = 2**14
_MOST_WIDTH = 2**16
_BOUNDS = {
    "image_size": MOST_SIDE,
    "patch_size": MOST_SIDE,
    "embedding_length": _MOST_WIDTH,
    "feed_forward_length": 2**20,
    "block_count": MOST_BLOCKS,
    "projection_dim": 2**20,
    "attention.head_count": _MOST_WIDTH,
    "spatial_merge_size": 64,
    "projector.scale_factor": 64,
}


def type_of(metadata: Mapping[str, object]) -> str:
    """What turns its pictures into embeddings, in llama.cpp's words."""
    return str(metadata.get("clip.projector_type") or metadata.get("clip.vision.projector_type", ""))


def number(metadata: Mapping[str, object], name: str, default: int = 0) -> int:
    """The whole number at ``name`` of its eyes."""
    value = metadata.get(f"clip.vision.{name}", default)
    return value if isinstance(value, int) else default


def check_projector(metadata: Mapping[str, object]) -> None:
    """Raise ``Refused`` for a value over which llama.cpp would end."""
    for key in ("clip.projector_type", "clip.vision.projector_type"):
        if not isinstance(metadata.get(key, ""), str):
            raise Refused(f"its {key} is no text")
    for name, most in _BOUNDS.items():
        value = metadata.get(f"clip.vision.{name}", 1)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            raise Refused(f"clip.vision.{name} is {str(value)[:40]!r}, not 1 to {most}")
    heads, width = number(metadata, "attention.head_count", 1), number(metadata, "embedding_length", 0)
    if width % heads and "clip.vision.attention.head_dim" not in metadata:
        raise Refused(f"{width} numbers cannot be shared by {heads} heads")
    patch, side = number(metadata, "patch_size", 1), number(metadata, "image_size", MOST_SIDE)
    if patch > side:
        raise Refused(f"its patches of {patch} pixels are larger than its pictures of {side}")
