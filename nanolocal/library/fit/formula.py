"""The memory of a text build as arithmetic over its header. The truth is ``probe``, which asks llama.cpp itself."""

from dataclasses import dataclass, replace

from nanolocal.chat.routes import Footprint, cells_for
from nanolocal.formats.gguf import Tensor
from nanolocal.library.fit.caches import Caches, caches_of
from nanolocal.library.fit.compute import compute_of, work_per_cell
from nanolocal.library.fit.layout import Layout, Span
from nanolocal.library.fit.process import LIBRARIES, per_cell, process_of
from nanolocal.library.fit.repacking import Rows, copied_bytes, is_copied, rows_here
from nanolocal.library.fit.speed import weights_read

BATCH, PICTURE_BATCH = 128, 256
"""Tokens in one step, as the engine runs it, and where pictures are read (engines/ggml.py)."""

ROWS = 16
"""Tokens of a step that may be predicted from (engines/ggml.py, ``ROWS``)."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Bytes of the model's files: all of them, what stays mapped, what of it is still read, and what is copied."""

    file: int
    mapped: int
    used: int
    copied: int


def weights_of(layout: Layout, rows: Rows) -> Weights:
    """Where the weights are once they are loaded."""
    copied = sum(copied_bytes(tensor, rows) for tensor in layout.tensors)
    used = sum(tensor.size_bytes for tensor in layout.tensors if not is_copied(tensor, rows))
    if not any(tensor.name == "output.weight" for tensor in layout.tensors):
        copied += sum(_copied_head(tensor, rows) for tensor in layout.tensors)
    return Weights(layout.size_bytes, sum(_mapped(span, rows) for span in layout.spans), used, copied)


def footprint_of(layout: Layout, kv: str = "f16", *, ubatch: int = BATCH, rows: Rows | None = None) -> Footprint:
    """The memory of a build for any context, with keys and values kept as ``kv``; raises ``KeyError`` for another."""
    weights = weights_of(layout, rows_here() if rows is None else rows)
    caches = caches_of(layout)
    flash = uses_flash(kv)
    compute = compute_of(layout, caches, ubatch, ROWS, flash=flash)
    scores = compute.per_cell + work_per_cell(layout, caches, ubatch, flash=flash)
    process = process_of(layout)
    logits = 4 * layout.vocabulary * ROWS
    held = LIBRARIES + process.running + weights.copied + caches.state_bytes + compute.fixed + logits
    return Footprint(
        file=weights.file,
        mapped=weights.mapped,
        used=weights.used,
        held=held,
        loading=LIBRARIES + process.loading + weights.copied,
        per_token=_per_token(caches, kv) + scores + per_cell(has_attention=scores > 0),
        read=weights_read(layout) + caches.state_bytes,
        wider=scores * PICTURE_BATCH // ubatch - scores,
    )


def uses_flash(kv: str) -> bool:
    """Whether the engine uses flash attention (engines/ggml.py, ``uses_flash_attention``), on a processor."""
    return kv != "f16"


def _per_token(caches: Caches, kv: str) -> int:
    cells = cells_for(1)
    return (caches.size_bytes(cells, kv) - caches.state_bytes) // cells


def _copied_head(tensor: Tensor, rows: Rows) -> int:
    """Bytes of an embedding's copy, made because the model predicts with it too."""
    return copied_bytes(replace(tensor, name="output.weight"), rows) if tensor.name == "token_embd.weight" else 0


def _mapped(span: Span, rows: Rows) -> int:
    """Bytes from the first to the last tensor that is used where it lies; llama.cpp unmaps what is around them."""
    kept = [tensor for tensor in span.tensors if not is_copied(tensor, rows)]
    if not kept:
        return 0
    return max(tensor.offset + tensor.size_bytes for tensor in kept) - min(tensor.offset for tensor in kept)
