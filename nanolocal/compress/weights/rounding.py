"""Rounding that looks at what a layer computes: the error of each weight is made up for by those that follow.

For a layer with weights W [rows, columns] and inputs X, H = X^T X, the loss is tr(E H E^T) with E the rounding error.
First GPTQ (arXiv 2210.17323) inside ggml's blocks: scales from ggml for the columns as they then are, integers by
error feedback. Then coordinate descent (QuantEase, arXiv 2309.01885) over all that the blocks hold: integers, scales,
mins and the factors of a block, each set to what is best while the others stand. No step raises the loss.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nanolocal.compress.weights.kquants import Blocks, Bytes, Floats, Layout, layout_of, packed, steps, unpacked, values

DAMPING = 0.01
"""This share of the mean diagonal is added to every Hessian, which makes rarely used inputs count a little."""

SWEEPS = 2
_LAZY = 32
_LEAF = 128
_TINY = 1e-30

Encode = Callable[[Floats, str, Floats], Bytes]
"""ggml's own quantization: weights [rows, columns], a type and the columns' importance to bytes [rows, bytes]."""

Decode = Callable[[Bytes, str], Floats]


def rounded(
    weights: Floats, hessian: NDArray[np.floating], kind: str, imatrix: Floats | None = None, sweeps: int = SWEEPS
) -> bytes:
    """``weights`` [rows, columns] encoded as ``kind``, rounded against ``hessian`` [columns, columns].

    A Hessian of zeros (an expert that no token went through) leaves ggml's own rounding by ``imatrix``.
    """
    from nanolocal.compress.native.library import encode

    if not np.diag(hessian).any():
        return encode(weights, kind, imatrix).tobytes()
    return round_with(encode, _decoded, weights, hessian, kind, sweeps).tobytes()


def _decoded(raw: Bytes, kind: str) -> Floats:
    from nanolocal.compress.native.library import decode
    from nanolocal.compress.weights.encodings import NUMBERS
    from nanolocal.formats.tensors import BLOCKS

    block, size = BLOCKS[NUMBERS[kind]]
    return decode(raw, kind, raw.shape[1] // size * block)


def damped(hessian: NDArray[np.floating], share: float = DAMPING) -> NDArray[np.float64]:
    """The Hessian in double precision with ``share`` of its mean diagonal added; one of zeros becomes the identity."""
    h = hessian.astype(np.float64)
    mean = float(np.diag(h).mean())
    if mean <= 0:
        return np.eye(len(h))
    h[np.diag_indices_from(h)] += share * mean
    return h


def loss(error: Floats, hessian: NDArray[np.floating]) -> float:
    """tr(E H E^T) for E [rows, columns]."""
    return float(np.einsum("ij,ij->", error @ hessian.astype(np.float32), error, dtype=np.float64))


def round_with(
    encode: Encode, decode: Decode, weights: Floats, hessian: NDArray[np.floating], kind: str, sweeps: int = SWEEPS
) -> Bytes:
    """The encoded rows of ``weights`` [rows, columns] in type ``kind``, rounded against ``hessian`` [columns, columns].

    A type whose blocks are not taken apart here gets feedback between its blocks only.
    """
    h = damped(hessian)
    layout = layout_of(kind)
    feedback = _feedback(h)
    if layout is None:
        return _fed_blockwise(encode, decode, weights, feedback, kind)
    descent = _Descent(layout, weights, h, _fed(encode, weights, feedback, layout))
    for _ in range(sweeps):
        descent.sweep()
    return descent.encoded()


def _feedback(hessian: NDArray[np.float64]) -> Floats:
    """U upper with inverse(H) = U^T U: how the error of a column is made up for by the later ones."""
    backwards = np.linalg.cholesky(hessian[::-1, ::-1])[::-1, ::-1]
    return _inverse_of_upper(backwards).astype(np.float32)


def _inverse_of_upper(matrix: NDArray[np.floating]) -> NDArray[np.floating]:
    """The inverse of an upper triangular matrix, by halves: a sixth of the work of a general one."""
    if len(matrix) <= _LEAF:
        return np.triu(np.linalg.inv(matrix))
    half = len(matrix) // 2
    inverse = np.zeros_like(matrix)
    inverse[:half, :half] = _inverse_of_upper(matrix[:half, :half])
    inverse[half:, half:] = _inverse_of_upper(matrix[half:, half:])
    inverse[:half, half:] = -inverse[:half, :half] @ matrix[:half, half:] @ inverse[half:, half:]
    return inverse


def _importance(feedback: Floats) -> Floats:
    """What an error in each column costs once later columns have made up for it, about 1 on average."""
    left = 1 / np.maximum(np.diag(feedback), _TINY) ** 2
    important: Floats = (left / left.mean()).astype(np.float32)
    return important


def _nearest(layout: Layout, wanted: Floats) -> Bytes:
    """The integers whose levels are nearest to ``wanted``."""
    levels = layout.levels
    if levels[1] - levels[0] == 1:
        linear: Bytes = np.clip(np.rint(wanted - levels[0]), 0, len(levels) - 1).astype(np.uint8)
        return linear
    return np.searchsorted((levels[1:] + levels[:-1]) / 2, wanted).astype(np.uint8)


def _fed(encode: Encode, weights: Floats, feedback: Floats, layout: Layout) -> Bytes:
    """GPTQ within and between the blocks."""
    x = np.ascontiguousarray(weights.T, np.float32)
    importance = _importance(feedback)
    encoded = []
    for first in range(0, len(x), layout.columns):
        last = first + layout.columns
        raw = encode(np.ascontiguousarray(x[first:last].T), layout.name, importance[first:last])
        blocks = unpacked(layout, raw)
        q, errors = _fed_block(layout, blocks, x[first:last], feedback[first:last, first:last])
        encoded.append(packed(layout, replace(blocks, q=q)))
        x[last:] -= feedback[first:last, last:].T @ errors
    return np.concatenate(encoded, axis=1)


def _fed_block(layout: Layout, blocks: Blocks, x: Floats, feedback: Floats) -> tuple[Bytes, Floats]:
    """The integers of one block [rows, columns], and the errors [columns, rows] that later blocks make up for."""
    scale, offset = (np.ascontiguousarray(part.T) for part in steps(layout, blocks))
    per_step = np.where(scale == 0, 0, 1 / np.where(scale == 0, 1, scale))
    q = np.empty(x.shape, np.uint8)
    errors = np.empty_like(x)
    for start in range(0, len(x), _LAZY):
        end = start + _LAZY
        for j in range(start, end):
            q[j] = _nearest(layout, (x[j] - offset[j]) * per_step[j])
            errors[j] = (x[j] - (scale[j] * layout.levels[q[j]] + offset[j])) / feedback[j, j]
            x[j + 1 : end] -= feedback[j, j + 1 : end, None] * errors[j]
        x[end:] -= feedback[start:end, end:].T @ errors[start:end]
    return np.ascontiguousarray(q.T), errors


def _fed_blockwise(encode: Encode, decode: Decode, weights: Floats, feedback: Floats, kind: str) -> Bytes:
    """Feedback between the blocks of a type that only ggml can encode."""
    x = np.ascontiguousarray(weights.T, np.float32)
    importance = _importance(feedback)
    encoded = []
    for first in range(0, len(x), 256):
        last = min(first + 256, len(x))
        raw = encode(np.ascontiguousarray(x[first:last].T), kind, importance[first:last])
        encoded.append(raw)
        error = x[first:last] - decode(raw, kind).T
        errors = np.linalg.solve(feedback[first:last, first:last].T, error)
        x[last:] -= feedback[first:last, last:].T @ errors
    return np.concatenate(encoded, axis=1)


@dataclass(slots=True)
class _Descent:
    """Coordinate descent on tr(E H E^T) over what the blocks of one tensor hold.

    All arrays here are [columns, rows], so that a step over all rows touches one stretch of memory.
    """

    layout: Layout
    h: Floats
    d: Floats
    m: Floats
    scales: Floats
    mins: Floats
    q: Bytes
    error: Floats

    def __init__(self, layout: Layout, weights: Floats, hessian: NDArray[np.float64], encoded: Bytes) -> None:
        self.layout = layout
        self.h = (hessian / np.diag(hessian).mean()).astype(np.float32)
        blocks = unpacked(layout, encoded)
        self.d, self.m = (np.ascontiguousarray(half.T, np.float32) for half in (blocks.d, blocks.m))
        self.scales, self.mins = (
            np.ascontiguousarray(part.transpose(1, 2, 0), np.float32) for part in (blocks.scales, blocks.mins)
        )
        self.q = np.ascontiguousarray(blocks.q.T)
        self.error = np.ascontiguousarray((values(layout, blocks) - weights).T)

    def encoded(self) -> Bytes:
        """The rows as ggml stores them."""
        blocks = Blocks(
            self.d.T.astype(np.float16),
            self.m.T.astype(np.float16),
            self.scales.transpose(2, 0, 1).astype(np.int16),
            self.mins.transpose(2, 0, 1).astype(np.int16),
            np.ascontiguousarray(self.q.T),
        )
        return packed(self.layout, blocks)

    def sweep(self) -> None:
        """One pass over all blocks."""
        width = self.layout.columns
        for block in range(len(self.d)):
            columns = slice(block * width, (block + 1) * width)
            slope = self.h[columns] @ self.error
            self._sweep_integers(block, columns, slope)
            if self.layout.has_parts:
                self._sweep_parts(block, columns, slope)
            self._sweep_factors(block, columns, slope)

    def _move(self, columns: slice, local: slice, change: Floats, within: Floats, slope: Floats) -> None:
        """Take a change of the weights in ``local`` of a block into its errors and slopes."""
        self.error[columns][local] += change
        slope += within[:, local] @ change

    def _sweep_integers(self, block: int, columns: slice, slope: Floats) -> None:
        levels, part = self.layout.levels, self.layout.part
        within, error, q = self.h[columns, columns], self.error[columns], self.q[columns]
        for p in range(self.scales.shape[1]):
            scale = self.d[block] * self.scales[block, p]
            per_step = np.where(scale == 0, 0, 1 / np.where(scale == 0, 1, scale))
            local = slice(p * part, (p + 1) * part)
            before = error[local].copy()
            for j in range(local.start, local.stop):
                level = levels[q[j]]
                q[j] = _nearest(self.layout, level - slope[j] * per_step / within[j, j])
                change = scale * (levels[q[j]] - level)
                error[j] += change
                slope[local] += within[local, j, None] * change
            change = error[local] - before
            for rest in (slice(0, local.start), slice(local.stop, len(q))):
                slope[rest] += within[rest, local] @ change

    def _sweep_parts(self, block: int, columns: slice, slope: Floats) -> None:
        layout, part = self.layout, self.layout.part
        within = self.h[columns, columns]
        for p in range(self.scales.shape[1]):
            local = slice(p * part, (p + 1) * part)
            level = layout.levels[self.q[columns][local]]
            self.scales[block, p] += self._step(
                self.scales[block, p], layout.scale_range, self.d[block] * level, within, local, slope, columns
            )
            if layout.has_min:
                offset = np.broadcast_to(layout.sign_of_min * self.m[block], level.shape)
                self.mins[block, p] += self._step(
                    self.mins[block, p], layout.min_range, offset, within, local, slope, columns
                )

    def _step(
        self,
        now: Floats,
        bounds: tuple[int, int],
        direction: Floats,
        within: Floats,
        local: slice,
        slope: Floats,
        columns: slice,
    ) -> Floats:
        """How far the integers ``now`` go along ``direction``, which is taken into errors and slopes."""
        curve = np.einsum("jr,jr->r", within[local, local] @ direction, direction)
        wanted = -np.einsum("jr,jr->r", slope[local], direction) / np.maximum(curve, _TINY)
        step: Floats = np.where(curve > _TINY, np.clip(np.rint(now + wanted), *bounds) - now, 0).astype(np.float32)
        self._move(columns, local, direction * step, within, slope)
        return step

    def _sweep_factors(self, block: int, columns: slice, slope: Floats) -> None:
        layout, part = self.layout, self.layout.part
        level = layout.levels[self.q[columns]]
        self._scale_factor(self.d, block, np.repeat(self.scales[block], part, axis=0) * level, columns, slope)
        if layout.has_min:
            offset = layout.sign_of_min * np.repeat(self.mins[block], part, axis=0)
            self._scale_factor(self.m, block, offset, columns, slope)

    def _scale_factor(self, factors: Floats, block: int, direction: Floats, columns: slice, slope: Floats) -> None:
        """Set a float16 factor of the block to the best value that is one."""
        within = self.h[columns, columns]
        curve = np.einsum("jr,jr->r", within @ direction, direction)
        wanted = -np.einsum("jr,jr->r", slope, direction) / np.maximum(curve, _TINY)
        best = (factors[block] + wanted).astype(np.float16).astype(np.float32)
        step = np.where((curve > _TINY) & np.isfinite(best), best - factors[block], 0).astype(np.float32)
        # A factor may round to a float16 that is farther from the best value than the present one is.
        step = np.where(np.abs(step - wanted) < np.abs(wanted), step, 0).astype(np.float32)
        factors[block] += step
        self._move(columns, slice(0, len(direction)), direction * step, within, slope)
