"""The memory that a projector takes beside its model, from its header."""

from nanolocal.formats.projectors import number
from nanolocal.library.fit.layout import Layout

_MOST_PIXELS = 1_600_000
"""What a picture has at the most when it gets to the model (engines/pictures.py)."""
_FLOAT = 4


def looking_of(layout: Layout) -> int:
    """Bytes for its weights, which are copied into memory, and for encoding one picture."""
    metadata = layout.facts.metadata
    weights = sum(tensor.size_bytes for tensor in layout.tensors)
    width, inner = number(metadata, "embedding_length"), number(metadata, "feed_forward_length")
    patches = (number(metadata, "image_size") // max(number(metadata, "patch_size"), 1)) ** 2
    return weights + _FLOAT * patches * (inner + 6 * width)
