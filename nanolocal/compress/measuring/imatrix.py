"""Importance matrices: how much each column of a weight matters, and the GGUF file that llama.cpp's tools share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nanolocal.errors import Damaged, UsageError
from nanolocal.formats.gguf import read_facts

Floats = NDArray[np.float32]

_SUMS, _COUNTS = ".in_sum2", ".counts"
_MAX_BYTES = 2**31


@dataclass(frozen=True, slots=True)
class Entry:
    """Of one tensor: the sum of x^2 by column, [matrices, columns], and how many x there were, [matrices] or [1]."""

    in_sum2: Floats
    counts: Floats

    def weights(self) -> Floats:
        """The mean of x^2, [matrices, columns]; 1 for a matrix that none went through, as llama-quantize has it."""
        counts = self.counts.reshape(-1, 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            means = self.in_sum2 / counts
        return np.where(counts > 0, means, np.float32(1)).astype(np.float32)


Imatrix = Mapping[str, Entry]


def read_imatrix(path: Path) -> Imatrix:
    """The importance matrix in a file of ``capture`` or of llama-imatrix (GGUF); raises ``Damaged``, ``UsageError``."""
    if path.suffix == ".npz":
        from nanolocal.compress.measuring.capture import read_statistics

        return read_statistics(path).imatrix
    return read_gguf(path)


def read_gguf(path: Path) -> dict[str, Entry]:
    """The importance matrix that llama-imatrix or ``write_gguf`` wrote."""
    try:
        facts = read_facts(path, is_first=False, with_layout=True)
    except FileNotFoundError:
        raise UsageError(f"there is no {path.name}", "name the file of an importance matrix") from None
    tensors = {tensor.name: tensor for tensor in facts.layout}
    names = [name.removesuffix(_SUMS) for name in tensors if name.endswith(_SUMS)]
    if facts.metadata.get("general.type") != "imatrix" or not names:
        raise UsageError(f"{path.name} is no importance matrix", "make one with llama-imatrix, as GGUF")
    data = np.memmap(path, np.uint8, "r", facts.data_start)
    found: dict[str, Entry] = {}
    for name in names:
        parts = [tensors.get(name + _SUMS), tensors.get(name + _COUNTS)]
        if any(part is None or part.kind != 0 or part.size_bytes > _MAX_BYTES for part in parts):
            raise Damaged(f"{path.name} has no whole entry for {name[:80]}", "make it again")
        sums, counts = (
            np.array(data[part.offset : part.offset + part.size_bytes]).view("<f4") for part in parts if part
        )
        if not counts.size or sums.size % counts.size or not (np.isfinite(sums).all() and np.isfinite(counts).all()):
            raise Damaged(f"the entry for {name[:80]} in {path.name} does not add up", "make it again")
        found[name] = Entry(sums.reshape(counts.size, -1), counts)
    return found


def write_gguf(imatrix: Imatrix, path: Path, *, chunks: int, n_ctx: int, datasets: Sequence[str] = ()) -> None:
    """Write the file that llama-quantize reads with ``--imatrix``; ``datasets`` are names of the text, in clear."""
    import gguf

    writer = gguf.GGUFWriter(path, "")
    writer.kv_data[0].clear()  # no architecture
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", list(datasets) or ["nanolocal"])
    writer.add_uint32("imatrix.chunk_count", chunks)
    writer.add_uint32("imatrix.chunk_size", n_ctx)
    for name in sorted(imatrix):
        entry = imatrix[name]
        counts = entry.counts.reshape(-1, 1)
        writer.add_tensor(name + _SUMS, np.ascontiguousarray(entry.in_sum2.reshape(len(counts), -1)))
        writer.add_tensor(name + _COUNTS, np.ascontiguousarray(counts))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def as_llama_imatrix(imatrix: Imatrix) -> dict[str, Entry]:
    """What llama-imatrix collects by default: neither embeddings nor the output. The stock recipes are made with it."""
    return {name: entry for name, entry in imatrix.items() if name.startswith("blk.")}


def importance_for(imatrix: Imatrix, tensor: str, shape: Sequence[int]) -> Floats | None:
    """The weights of the columns of ``tensor``, [matrices, columns]; None where there is no entry.

    ``shape`` is columns first. Raises ``UsageError`` where the entry is of another shape.
    """
    entry = imatrix.get(tensor)
    if entry is None:
        return None
    weights = entry.weights()
    matrices = shape[2] if len(shape) > 2 else 1
    if weights.shape != (matrices, shape[0]):
        raise UsageError(f"the importance matrix is of another model: {tensor} has another shape", "calibrate again")
    return weights
