"""What a tensor computes wrongly once it is encoded, reckoned from the statistics of its inputs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nanolocal.compress.measuring.capture import Statistics
from nanolocal.compress.measuring.imatrix import importance_for
from nanolocal.compress.native.library import Floats, decode, encoded_and_back
from nanolocal.compress.native.weights import Weights
from nanolocal.compress.weights.rounding import rounded
from nanolocal.compress.work.tasks import Erred, Tell

MOST_ROWS = 512
"""Rows of a tensor that are encoded to see how it fares; of a taller one some at equal distances."""


@dataclass(frozen=True, slots=True)
class _Matrix:
    """One matrix [rows, columns] and what is known of its inputs; ``rows`` says how often each row was taken."""

    weights: Floats
    hessian: Floats | None
    importance: Floats | None
    rows: Floats | None

    def square(self, error: Floats) -> float:
        """What ``error`` adds up to: by the Hessian, by how often rows are taken, or by the columns."""
        if self.hessian is not None:
            return float(np.einsum("ij,ij->", error @ self.hessian, error, dtype=np.float64))
        if self.rows is not None:
            return float(self.rows @ np.square(error).sum(axis=1, dtype=np.float64))
        return self.weighed(error)

    def weighed(self, error: Floats) -> float:
        """The same by the importance of the columns alone."""
        columns = np.square(error).sum(axis=0, dtype=np.float64)
        return float(columns.sum() if self.importance is None else columns @ self.importance)


def erred(
    path: Path, tensor: str, types: Sequence[str], statistics: Statistics, tell: Tell, *, is_rounded: bool
) -> Erred:
    """What ``tensor`` of the build at ``path`` loses in each of ``types``."""
    matrices, share = _matrices(Weights(path), tensor, statistics)
    whole = sum(matrix.weighed(matrix.weights) for matrix in matrices)
    squares, shares = [], []
    for number, kind in enumerate(types):
        tell(number / len(types))
        encode = _rounding(kind) if is_rounded else _plain(kind)
        errors = [encode(matrix) - matrix.weights for matrix in matrices]
        squares.append(sum(matrix.square(error) for matrix, error in zip(matrices, errors, strict=True)) / share)
        wrong = sum(matrix.weighed(error) for matrix, error in zip(matrices, errors, strict=True))
        shares.append(wrong / whole if whole > 0 else 0.0)
    return Erred(tuple(squares), tuple(shares))


def _plain(kind: str) -> Callable[[_Matrix], Floats]:
    return lambda matrix: encoded_and_back(matrix.weights, kind, matrix.importance)


def _rounding(kind: str) -> Callable[[_Matrix], Floats]:
    def encode(matrix: _Matrix) -> Floats:
        if matrix.hessian is None:
            return encoded_and_back(matrix.weights, kind, matrix.importance)
        data = rounded(matrix.weights, matrix.hessian, kind, matrix.importance)
        raw = np.frombuffer(data, np.uint8).reshape(len(matrix.weights), -1)
        return decode(raw, kind, matrix.weights.shape[1])

    return encode


def _matrices(build: Weights, tensor: str, statistics: Statistics) -> tuple[list[_Matrix], float]:
    """Its matrices, and the share of all their rows that these have."""
    columns, rows = build.shape(tensor)[:2]
    step = -(-rows // MOST_ROWS)
    weights = build.read(tensor, slice(step // 2, None, step)).reshape(-1, len(range(step // 2, rows, step)), columns)
    hessian, importance = statistics.hessian(tensor), importance_for(statistics.imatrix, tensor, build.shape(tensor))
    tokens = np.float32(max(statistics.tokens, 1))
    taken = None if hessian is not None else _taken(statistics.rows.get(tensor), step)
    stacks = (
        None
        if hessian is None
        else np.broadcast_to(hessian.reshape(-1, columns, columns), (len(weights), columns, columns))
    )
    return [
        _Matrix(
            matrix,
            None if stacks is None else stacks[index] / tokens,
            None if importance is None else importance[index],
            taken,
        )
        for index, matrix in enumerate(weights)
    ], weights.shape[1] / rows


def _taken(rows: NDArray[np.int64] | None, step: int) -> Floats | None:
    """How likely each row is; one that was never seen counts as if it were half seen."""
    if rows is None:
        return None
    likely: Floats = ((rows + 0.5) / (rows.sum() + 0.5 * len(rows))).astype(np.float32)
    return likely[step // 2 :: step]
