"""The probabilities of the original as a file: llama-perplexity's ``--kl-divergence-base`` format, byte for byte.

After ``_logits_`` come n_ctx, n_vocab and n_chunk (int32) and all tokens; then, for each predicted token of each chunk,
a scale and a minimum (float32) and log-probabilities in 65,536 steps between that minimum, at most 16 below the
largest, and the largest (V/tools/perplexity/perplexity.cpp). It holds its text in clear: public text only.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from nanolocal.compress.work.tasks import Chunks
from nanolocal.errors import Damaged, UsageError

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

MAX_BYTES = 8 * 10**9
"""A file larger than this is not begun: two bytes for each word of the vocabulary at each token add up."""
_MAGIC = b"_logits_"
_HEAD = struct.Struct("<8siii")
_RANGE = np.float32(16)
_STEPS = np.float32(65535)


def file_bytes(chunks: Chunks, vocabulary: int) -> int:
    """The size of the file."""
    count = len(chunks.tokens)
    return _HEAD.size + 4 * count * chunks.length + 2 * count * chunks.rows * _width(vocabulary)


def log_probabilities(scores: Floats) -> Doubles:
    """The logarithm of softmax of each row of ``scores`` [rows, vocabulary]."""
    wide = scores.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    wide -= np.log(np.exp(wide).sum(axis=1, keepdims=True))
    return wide


class BaseWriter:
    """Writes the file: rows in their order, any number at a time."""

    def __init__(self, path: Path, chunks: Chunks, vocabulary: int) -> None:
        if (size := file_bytes(chunks, vocabulary)) > MAX_BYTES:
            raise UsageError(
                f"the probabilities of the original would take {size / 10**9:.1f} GB", "measure fewer tokens"
            )
        self._file = path.open("wb")
        self._vocabulary = vocabulary
        self._file.write(_HEAD.pack(_MAGIC, chunks.length, vocabulary, len(chunks.tokens)))
        self._file.write(np.array(chunks.tokens, "<i4").tobytes())

    def __enter__(self) -> "BaseWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, scores: Floats) -> None:
        """The next rows, [rows, vocabulary]."""
        largest = scores.max(axis=1, keepdims=True)
        least = np.maximum(scores.min(axis=1, keepdims=True), largest - _RANGE)
        sums = np.exp(scores - largest).sum(axis=1, dtype=np.float64, keepdims=True)
        scale = (largest - least) / _STEPS
        with np.errstate(divide="ignore", invalid="ignore"):
            steps = np.where(scores > least, np.rint((scores - least) * (np.float32(1) / scale)), 0)
        steps = np.where(scale > 0, steps, 0)
        rows = np.zeros((len(scores), _width(self._vocabulary)), "<u2")
        head = np.concatenate([scale, least - largest - np.log(sums).astype(np.float32)], axis=1, dtype=np.float32)
        rows[:, :4] = head.astype("<f4").view("<u2")
        rows[:, 4 : 4 + self._vocabulary] = steps
        self._file.write(rows.tobytes())


@dataclass(frozen=True, slots=True)
class BaseFile:
    """An open file of that format; rows are read from the disk when they are asked for."""

    chunks: Chunks
    vocabulary: int
    _rows: NDArray[np.uint16]

    @classmethod
    def open(cls, path: Path) -> "BaseFile":
        """Raises ``Damaged`` for a file that is something else, or cut off."""
        try:
            with path.open("rb") as file:
                magic, n_ctx, vocabulary, count = _HEAD.unpack(file.read(_HEAD.size))
                if magic != _MAGIC or min(n_ctx, vocabulary, count) < 1:
                    raise ValueError
                tokens = np.frombuffer(file.read(4 * n_ctx * count), "<i4").reshape(count, n_ctx)
                chunks = Chunks(tuple(map(tuple, tokens.tolist())))
            if path.stat().st_size != file_bytes(chunks, vocabulary):
                raise ValueError
            offset = _HEAD.size + 4 * n_ctx * count
            shape = (count, chunks.rows, _width(vocabulary))
            return cls(chunks, vocabulary, np.memmap(path, "<u2", "r", offset, shape))
        except FileNotFoundError:
            raise UsageError(f"there is no {path.name}", "measure the original first") from None
        except (ValueError, struct.error) as error:
            raise Damaged(f"{path.name} holds no probabilities", "measure the original again") from error

    def log_probabilities(self, chunk: int, first: int = 0, count: int | None = None) -> Floats:
        """Of ``count`` rows of a chunk from ``first`` on: [count, vocabulary]."""
        end = self._rows.shape[1] if count is None else first + count
        rows = np.array(self._rows[chunk, first:end])
        head = np.ascontiguousarray(rows[:, :4]).view("<f4")
        steps = rows[:, 4 : 4 + self.vocabulary].astype(np.float32)
        steps *= head[:, :1]
        steps += head[:, 1:]
        return steps


def _width(vocabulary: int) -> int:
    return 2 * ((vocabulary + 1) // 2) + 4
