"""How fast an answer is written: every token reads the weights once, so memory bandwidth sets the pace."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nanolocal.library.fit.layout import Layout

READING = 6.0
"""Tokens a second that people read at: some 270 words a minute at 1.3 tokens a word."""


def weights_read(layout: "Layout") -> int:
    """Bytes of the weights that one token reads.

    Of experts only those that are used count; of embeddings a single row, unless the model predicts with them too.
    """
    is_tied = not any(tensor.name == "output.weight" for tensor in layout.tensors)
    used, experts = layout.number("expert_used_count"), max(layout.number("expert_count"), 1)
    total = 0
    for tensor in layout.tensors:
        if "_exps." in tensor.name:
            total += tensor.size_bytes * min(used, experts) // experts
        elif tensor.name == "token_embd.weight":
            total += tensor.size_bytes if is_tied else 0
        elif tensor.name != "per_layer_token_embd.weight":
            total += tensor.size_bytes
    return total


def tokens_per_second(read: int, bandwidth: float) -> float:
    """The most that a machine of ``bandwidth`` bytes a second writes when a token reads ``read`` bytes."""
    return bandwidth / read if read else 0.0
