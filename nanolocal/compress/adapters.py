"""Low-rank corrections of a build: what quantizing took from its matrices, as a GGUF adapter that llama.cpp adds.

LQER (arXiv 2402.02446) takes the best low-rank part of the error W - Q itself; EoRA (arXiv 2410.21271) of the error as
the inputs see it, (W - Q) H^(1/2) with H = X^T X, which is the best there is for the outputs on that text. Layout and
keys of the file: convert_lora_to_gguf.py and src/llama-adapter.cpp in llama.cpp.
"""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nanolocal.errors import UsageError

_RIDGE = 1e-4
"""Added to the diagonal of H, as a share of its mean, so that it has an inverse."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The correction B A of one matrix: ``first`` is A (rank, columns), ``second`` B (rows, rank), float32."""

    first: np.ndarray
    second: np.ndarray

    def __post_init__(self) -> None:
        if self.first.ndim != 2 or self.second.ndim != 2 or self.first.shape[0] != self.second.shape[1]:
            raise UsageError(f"{self.second.shape} times {self.first.shape} is no low-rank pair", "make it anew")


def low_rank(error: np.ndarray, rank: int, gram: np.ndarray | None = None) -> Pair:
    """The pair of ``rank`` closest to ``error`` (rows, columns), by its outputs where ``gram``, X^T X, is given.

    Raises ``UsageError`` for a rank that the matrix does not have.
    """
    if not 0 < rank <= min(error.shape):
        raise UsageError(f"a matrix of {error.shape} has no rank of {rank}", f"choose 1 to {min(error.shape)}")
    wide = error.astype(np.float64)
    if gram is None:
        left, sizes, right = np.linalg.svd(wide, full_matrices=False)
    else:
        values, vectors = np.linalg.eigh(_ridged(gram))
        root = np.sqrt(values)
        left, sizes, right = np.linalg.svd((wide @ vectors) * root, full_matrices=False)
        right = (right / root) @ vectors.T
    share = np.sqrt(sizes[:rank])
    second, first = left[:, :rank] * share, right[:rank] * share[:, None]
    return Pair(np.ascontiguousarray(first, np.float32), np.ascontiguousarray(second, np.float32))


def _ridged(gram: np.ndarray) -> np.ndarray:
    """``gram`` as float64 with all eigenvalues above zero."""
    wide = gram.astype(np.float64)
    mean = float(np.trace(wide)) / len(wide)
    result: np.ndarray = (wide + wide.T) / 2 + max(_RIDGE * mean, 1e-30) * np.eye(len(wide))
    return result


def write_adapter(pairs: Mapping[str, Pair], path: Path, architecture: str) -> None:
    """Write an adapter for the matrices that ``pairs`` are named after.

    Raises ``UsageError`` for one without pairs, and for tables of embeddings, whose pairs llama.cpp reads otherwise.
    """
    from gguf import GGUFWriter

    if not pairs or "token_embd.weight" in pairs:
        raise UsageError("an adapter corrects matrices of layers, at least one", "choose others")
    with closing(GGUFWriter(path, architecture)) as writer:
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
        # An alpha of 0 adds the product as it is, whatever its rank (llama_adapter_lora_weight::get_scale).
        writer.add_float32("adapter.lora.alpha", 0.0)
        for tensor, pair in pairs.items():
            writer.add_tensor(f"{tensor}.lora_a", pair.first)
            writer.add_tensor(f"{tensor}.lora_b", pair.second)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()


def adapter_bytes(pairs: Mapping[str, Pair]) -> int:
    """Bytes of the weights of an adapter."""
    return sum(pair.first.nbytes + pair.second.nbytes for pair in pairs.values())
