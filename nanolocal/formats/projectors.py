"""What the numbers of a projector must be, so that llama.cpp (tools/mtmd/clip.cpp) does not end the process.

What llama.cpp refuses with an error, such as a missing key or an unknown type, is left to it.
"""

from collections.abc import Mapping

from nanolocal.formats.refusal import Refused

ARCHITECTURE = "clip"
IN_ONE_STEP = frozenset({"deepseek4v", "gemma3", "gemma4uv", "gemma4v"})
"""Types whose pictures see all of themselves, so that one must be read in one step (``mtmd_decode_use_non_causal``)."""
IN_PIECES = frozenset({
    "dots3note_a", "gemma4a", "gemma4ua", "glma", "meralion", "musicflamingo", "qwen2.5o", "qwen2a", "qwen3a",
    "ultravox", "voxtral",
})  # fmt: skip
"""Types that take a long sound piece by piece (``mtmd_audio_preprocessor``); others encode all of it at once."""
MOST_AT_ONCE_S = 60.0
"""Seconds of sound that one of the others gets at the most: what it needs grows with the square of them."""
MOST_BLOCKS = 512
MOST_SIDE = 2**14
_MOST_WIDTH = 2**16
_SPEAKING = frozenset({"qwen3tts_spkenc", "pockettts_spkenc"})
"""Types that take a voice to speak with, and no sound to answer."""
_WITHOUT_LAYERS = frozenset({"gemma4ua", "gemma4uv"})
"""Types that encode nothing: their counts of layers and what is in them are 0."""
_OF_LAYERS = frozenset({"attention.head_count", "block_count", "feed_forward_length"})
_STACKED = {"ultravox": 1500, "meralion": 1500, "voxtral": 750}
"""Types that make one token of several frames, and how many frames they have of a piece."""
_MELS = 3000
"""Columns of the spectrogram of a piece."""
_VISION = {
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
_AUDIO = {
    "num_mel_bins": 2**12,
    "embedding_length": _MOST_WIDTH,
    "feed_forward_length": 2**20,
    "block_count": MOST_BLOCKS,
    "projection_dim": 2**20,
    "attention.head_count": _MOST_WIDTH,
    "projector.stack_factor": 64,
    "projector.window_size": 2**12,
    "projector.downsample_rate": 2**12,
    "projector.head_count": _MOST_WIDTH,
    "chunk_size": 2**13,
    "conv_kernel_size": 2**10,
    "subsampling_factor": 64,
}


def type_of(metadata: Mapping[str, object], part: str = "vision") -> str:
    """What turns its pictures, with ``audio`` its sounds, into embeddings, in llama.cpp's words."""
    return str(metadata.get("clip.projector_type") or metadata.get(f"clip.{part}.projector_type", ""))


def sees(metadata: Mapping[str, object]) -> bool:
    """Whether it is for pictures; one that does not say what it is for is left to llama.cpp."""
    says = any(f"clip.has_{part}_encoder" in metadata for part in ("vision", "audio", "gen_audio"))
    return bool(metadata.get("clip.has_vision_encoder", not says))


def hears(metadata: Mapping[str, object]) -> bool:
    """Whether it is for sounds."""
    return bool(metadata.get("clip.has_audio_encoder")) and type_of(metadata, "audio") not in _SPEAKING


def number(metadata: Mapping[str, object], name: str, default: int = 0, part: str = "vision") -> int:
    """The whole number at ``name`` of its eyes, with ``audio`` of its ears."""
    value = metadata.get(f"clip.{part}.{name}", default)
    return value if isinstance(value, int) else default


def check_projector(metadata: Mapping[str, object]) -> None:
    """Raise ``Refused`` for a value over which llama.cpp would end."""
    for key in ("clip.projector_type", "clip.vision.projector_type", "clip.audio.projector_type"):
        if not isinstance(metadata.get(key, ""), str):
            raise Refused(f"its {key} is no text")
    for part, bounds in (("vision", _VISION), ("audio", _AUDIO)):
        _check_numbers(metadata, part, bounds)
    _check_stacks(metadata)
    patch, side = number(metadata, "patch_size", 1), number(metadata, "image_size", MOST_SIDE)
    if patch > side:
        raise Refused(f"its patches of {patch} pixels are larger than its pictures of {side}")


def _check_stacks(metadata: Mapping[str, object]) -> None:
    """Frames become as many tokens in ``build_stack`` as ``clip_n_output_tokens`` says: each rounds in its own way."""
    frames = _STACKED.get(type_of(metadata, "audio"), 0)
    stack, width = (
        number(metadata, "projector.stack_factor", 1, "audio"),
        number(metadata, "embedding_length", 0, "audio"),
    )
    if not frames or not width or stack < 2:
        return
    stride = width * stack
    made = ((frames * width + stride - 1) & ~(stride - 1)) // stride
    if made != -(-_MELS // stack) * frames // _MELS:
        raise Refused(f"its frames of {width} numbers cannot be stacked by {stack}")


def _check_numbers(metadata: Mapping[str, object], part: str, bounds: Mapping[str, int]) -> None:
    has_layers = type_of(metadata, part) not in _WITHOUT_LAYERS
    for name, most in bounds.items():
        least = 1 if has_layers or name not in _OF_LAYERS else 0
        value = metadata.get(f"clip.{part}.{name}", 1)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise Refused(f"clip.{part}.{name} is {str(value)[:40]!r}, not {least} to {most}")
    heads, width = number(metadata, "attention.head_count", 1, part), number(metadata, "embedding_length", 0, part)
    if heads and width % heads and f"clip.{part}.attention.head_dim" not in metadata:
        raise Refused(f"{width} numbers cannot be shared by {heads} heads")
