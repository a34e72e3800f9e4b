"""The scratch memory of one step: what is alive at once while ``ubatch`` tokens pass through the model.

llama.cpp lays its intermediate results out in one buffer, whose size is the most that any point of the computation
needs. The terms below are those points, fitted to what llama.cpp 0.3.36's library reserves over a grid of widths; where
its allocator leaves gaps, they take the larger figure.
"""

from dataclasses import dataclass

from nanolocal.library.fit.caches import Caches
from nanolocal.library.fit.layout import Layout

_FLOAT, _HALF = 4, 2
_INPUTS = 6
"""Numbers per token beside the activations: its id, position, place in the caches."""
_WITHOUT_FLASH = frozenset({"grok"})
"""Architectures whose attention scores are all kept, as llama.cpp switches flash attention off."""


@dataclass(frozen=True, slots=True)
class Compute:
    """Bytes of scratch memory: whatever the context is, and for each token of it."""

    fixed: int
    per_cell: int


def compute_of(layout: Layout, caches: Caches, ubatch: int, outputs: int) -> Compute:
    """The scratch memory for steps of ``ubatch`` tokens of which ``outputs`` are predicted from."""
    per_token = max(_feed_forward(layout), _attention(layout), _recurrent(layout, ubatch))
    head = outputs * (layout.vocabulary + layout.number("embedding_length"))
    fixed = _FLOAT * max(ubatch * (per_token + _INPUTS), head + ubatch * layout.number("embedding_length"))
    return Compute(fixed, _per_cell(layout, caches, ubatch))


def _per_cell(layout: Layout, caches: Caches, ubatch: int) -> int:
    """The mask that says which token sees which, one for each kind of attention; without flash attention the scores."""
    masks = bool(caches.keys) + bool(caches.window_keys)
    if layout.architecture in _WITHOUT_FLASH:
        return ubatch * _FLOAT * (masks + layout.number("attention.head_count"))
    return ubatch * _HALF * masks


def _feed_forward(layout: Layout) -> int:
    """Gate, up and their product beside the stream; with experts as many times as there are used."""
    width = layout.number("embedding_length")
    used = layout.number("expert_used_count")
    inner = layout.number("feed_forward_length")
    if not used:
        return 3 * inner + 4 * width
    expert = layout.number("expert_feed_forward_length", inner)
    shared = layout.number("expert_shared_feed_forward_length", layout.number("expert_shared_count") * expert)
    dense = 3 * inner if layout.number("leading_dense_block_count") else 0
    routed = 3 * used * expert + 4 * width
    if routed < 2 * used * width:  # what the experts answer does not fit into the place of their insides
        routed = 2 * used * (width + expert)
    return max(routed, 3 * shared + 6 * width, dense + 4 * width)


def _attention(layout: Layout) -> int:
    """Queries, keys and values beside the stream."""
    width, heads = layout.number("embedding_length"), layout.number("attention.head_count")
    head = layout.number("attention.key_length", width // max(heads, 1))
    if latent_key := layout.number("attention.key_length_mla"):
        latent = layout.number("attention.kv_lora_rank")
        return 5 * width + heads * (head + latent + 2 * latent_key)
    keys = layout.number("attention.head_count_kv", heads) * head
    return (7 * width) // 2 + 2 * heads * head + 2 * keys if heads else 0


def _recurrent(layout: Layout, ubatch: int) -> int:
    """A step of a state-space layer: its projections, the convolution, the scan and the state that it ends with."""
    width = layout.number("embedding_length")
    if layout.number("shortconv.l_cache"):
        return 7 * width + width // 8
    inner, state = layout.number("ssm.inner_size"), layout.number("ssm.state_size")
    if not inner:
        return 0
    groups = 2 * layout.number("ssm.group_count") * state
    ends = 2 * inner * state // ubatch
    stream = width if not layout.number("attention.head_count") else 3 * width
    return stream + 6 * inner + 3 * groups + ends
