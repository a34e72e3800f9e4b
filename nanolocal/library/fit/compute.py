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
"""Architectures for which llama.cpp switches flash attention off."""
_SCORES_FROM = 1024
"""Tokens of the shortest context for which the sum holds where all scores are kept; for a shorter one it is more."""


@dataclass(frozen=True, slots=True)
class Compute:
    """Bytes of scratch memory: whatever the context is, and for each token of it."""

    fixed: int
    per_cell: int


def compute_of(layout: Layout, caches: Caches, ubatch: int, outputs: int, *, flash: bool) -> Compute:
    """The scratch memory for steps of ``ubatch`` tokens of which ``outputs`` are predicted from.

    Without ``flash`` attention all its scores are held at once.
    """
    masks = bool(caches.keys) + bool(caches.window_keys)
    width, heads = layout.number("embedding_length"), layout.number("attention.head_count")
    predicting = outputs * (layout.vocabulary + width) + ubatch * width
    elsewhere = max(ubatch * (max(_feed_forward(layout), _recurrent(layout, ubatch)) + _INPUTS), predicting)
    if _flashes(layout, flash) or not masks:
        return Compute(_FLOAT * max(elsewhere, ubatch * (_attention(layout) + _INPUTS)), ubatch * _HALF * masks)
    # The scores of a context are gone by then, so only what is larger than those of a short one counts beside them.
    fixed = max(elsewhere - ubatch * _SCORES_FROM * heads, ubatch * (_attending(layout) + _INPUTS))
    return Compute(_FLOAT * fixed, ubatch * _FLOAT * (masks + heads) + _HALF * _latent(layout))


def work_per_cell(layout: Layout, caches: Caches, ubatch: int, *, flash: bool) -> int:
    """What a processor holds besides for each token of context: all scores once more, in 16 bits, to be multiplied."""
    has_scores = (bool(caches.keys) or bool(caches.window_keys)) and not _flashes(layout, flash)
    return ubatch * _HALF * layout.number("attention.head_count") * has_scores


def _flashes(layout: Layout, flash: bool) -> bool:
    return flash and layout.architecture not in _WITHOUT_FLASH


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


def _attending(layout: Layout) -> int:
    """The same while all scores are held, which take the place of much of it."""
    width, heads = layout.number("embedding_length"), layout.number("attention.head_count")
    head = layout.number("attention.key_length", width // max(heads, 1))
    if latent_key := layout.number("attention.key_length_mla"):
        return 4 * width + heads * (head + layout.number("attention.kv_lora_rank") + latent_key)
    return 4 * width + 2 * heads * head + 2 * layout.number("attention.head_count_kv", heads) * head


def _latent(layout: Layout) -> int:
    """Numbers of a cell that are laid out anew to be weighed by the scores: those of latent values."""
    return layout.number("attention.kv_lora_rank") if layout.number("attention.key_length_mla") else 0


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
