"""What a model takes with tensors of other types: bytes of its file, memory when it runs, bytes read for a token."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from nanolocal.compress.weights.encodings import FLOATS, NAMES, NUMBERS
from nanolocal.formats.gguf import TENSOR_ALIGNMENT, Tensor
from nanolocal.formats.tensors import size_of
from nanolocal.library.fit.advice import USUAL_CONTEXT
from nanolocal.library.fit.formula import footprint_of
from nanolocal.library.fit.layout import Layout, Span


@dataclass(frozen=True, slots=True)
class Cost:
    """Bytes of the file, of memory at ``context`` tokens, and read for one token written there."""

    size_bytes: int
    memory: int
    read: int
    context: int


def retyped(layout: Layout, types: Mapping[str, str], header: int) -> Layout:
    """``layout`` as one file whose tensors have ``types`` where these name them, after ``header`` bytes.

    Raises ``KeyError`` for a type that is unknown, ``Refused`` for one whose blocks the tensor does not fill.
    """
    tensors: list[Tensor] = []
    offset = 0
    for tensor in layout.tensors:
        kind = NUMBERS[types[tensor.name]] if tensor.name in types else tensor.kind
        _, size = size_of(tensor.name, tensor.shape, kind)
        tensors.append(replace(tensor, kind=kind, offset=offset, size_bytes=size))
        offset += padded(size)
    return Layout(layout.facts, (Span(header + offset, header, tuple(tensors)),))


def cost_of(layout: Layout, context: int) -> Cost:
    """What running ``layout`` takes here with ``context`` tokens."""
    footprint = footprint_of(layout)
    read = footprint.read + footprint.per_token * context // 2
    return Cost(layout.size_bytes, footprint.needed(context), read, context)


def usual_context(layout: Layout) -> int:
    """Tokens of context that memory and speed are reckoned for: the usual ones, or all that the model knows."""
    return min(USUAL_CONTEXT, layout.number("context_length") or USUAL_CONTEXT)


def padded(size: int) -> int:
    """Bytes with those that are left free after them."""
    return -(-size // TENSOR_ALIGNMENT) * TENSOR_ALIGNMENT


def weights_bytes(layout: Layout) -> int:
    """All tensors together."""
    return sum(tensor.size_bytes for tensor in layout.tensors)


def source_kind(layout: Layout) -> str:
    """The type that most weights of matrices have."""
    counted: dict[int, int] = {}
    for tensor in layout.tensors:
        if len(tensor.shape) > 1:
            counted[tensor.kind] = counted.get(tensor.kind, 0) + tensor.size_bytes
    kind = max(counted, key=counted.__getitem__, default=0)
    return NAMES.get(kind, f"type {kind}")


def is_quantized(layout: Layout) -> bool:
    """Whether any matrix was quantized before."""
    return any(len(tensor.shape) > 1 and NAMES.get(tensor.kind) not in FLOATS for tensor in layout.tensors)
