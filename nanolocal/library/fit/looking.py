"""The memory that a projector takes beside its model, from its header.

The figures were measured with llama-cpp-python 0.3.36 on Linux x86-64: the highest memory of a process that looks at
one picture of 0.2 to 1.6 million pixels, or listens to a sound of 5 seconds to 10 minutes by Whisper's encoder, less
what it held before. What the convolutions of other encoders take follows from the sizes of their graphs
(tools/mtmd/models).
"""

from nanolocal.chat.sounds import MOST_SECONDS, PIECE_SECONDS
from nanolocal.formats.gguf import Tensor
from nanolocal.formats.projectors import IN_PIECES, MOST_AT_ONCE_S, hears, number, sees, type_of
from nanolocal.library.fit.layout import Layout

_MOST_PIXELS = 1_600_000
"""What a picture has at the most when it gets to the model (engines/pictures.py)."""
_OF_ONE_SIZE = frozenset({
    "adapter", "cogvlm", "gemma3", "idefics3", "internvl", "janus_pro", "ldp", "ldpv2", "llama4", "mlp", "resampler",
})  # fmt: skip
"""Types that encode pictures, or tiles of them, of ``image_size``; others take a picture as large as it is."""
_FLOAT = 4
_STREAMS = 4.2
"""How many times the width a patch takes, beside the insides of a layer."""
_FILE = 25_000_000
"""The libraries and the picture itself, decoded and prepared."""
_POSITIONS = 1500
"""Frames of a piece of sound in the layers of an encoder."""
_SECOND = 350_000
"""A second of sound, decoded and as a spectrogram."""
_COLUMNS = 100
"""Columns of the spectrogram in a second."""
_CONVOLUTIONS = 2.5
"""Bytes for each number of the spectrogram and each channel of a first convolution in two dimensions."""


def looking_of(layout: Layout) -> int:
    """Bytes for its weights, which are copied into memory, and for encoding one picture and one sound."""
    metadata = layout.facts.metadata
    needed = sum(tensor.size_bytes for tensor in layout.tensors) + _FILE
    if sees(metadata):
        patch = max(number(metadata, "patch_size"), 1)
        patches = (number(metadata, "image_size") // patch) ** 2
        if type_of(metadata) not in _OF_ONE_SIZE:
            patches = max(patches, _MOST_PIXELS // patch**2)
        needed += _encoding(layout, patches, "vision")
    if hears(metadata):
        is_cut = type_of(metadata, "audio") in IN_PIECES
        seconds, piece = (MOST_SECONDS, PIECE_SECONDS) if is_cut else (MOST_AT_ONCE_S, MOST_AT_ONCE_S)
        spectrogram = piece * _COLUMNS * number(metadata, "num_mel_bins", part="audio")
        needed += int(seconds * _SECOND + _CONVOLUTIONS * spectrogram * _channels(layout))
        needed += _encoding(layout, _POSITIONS, "audio")
    return needed


def _encoding(layout: Layout, places: int, part: str) -> int:
    """Bytes of the layers of an encoder with so many ``places``."""
    width, inner = (
        number(layout.facts.metadata, f"{name}_length", part=part) for name in ("embedding", "feed_forward")
    )
    return int(_FLOAT * places * (inner + _STREAMS * width))


def _channels(layout: Layout) -> int:
    """Those of the first convolution of the ears, where that is one in two dimensions."""
    first = min((tensor for tensor in layout.tensors if _is_convolution(tensor)), key=lambda it: it.name, default=None)
    return 0 if first is None else max(first.shape)


def _is_convolution(tensor: Tensor) -> bool:
    return tensor.name.startswith("a.conv") and tensor.name.endswith(".weight") and len(tensor.shape) == 4
