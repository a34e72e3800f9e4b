"""The memory that a projector takes beside its model, from its header.

The figures were measured with llama-cpp-python 0.3.36 on Linux x86-64: the highest memory of a process that looks at
one picture of 0.2 to 1.6 million pixels, less what it held before.
"""

from nanolocal.formats.projectors import number, type_of
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
_PICTURE = 25_000_000
"""The libraries and the picture itself, decoded and prepared."""


def looking_of(layout: Layout) -> int:
    """Bytes for its weights, which are copied into memory, and for encoding one picture."""
    metadata = layout.facts.metadata
    weights = sum(tensor.size_bytes for tensor in layout.tensors)
    width, inner = number(metadata, "embedding_length"), number(metadata, "feed_forward_length")
    patch = max(number(metadata, "patch_size"), 1)
    patches = (number(metadata, "image_size") // patch) ** 2
    if type_of(metadata) not in _OF_ONE_SIZE:
        patches = max(patches, _MOST_PIXELS // patch**2)
    return weights + _PICTURE + int(_FLOAT * patches * (inner + _STREAMS * width))
