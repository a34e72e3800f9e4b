"""A GGUF file of any size that takes no disk: a real header, and a hole where the weights would be."""

from pathlib import Path

import gguf
import numpy as np

_COLUMNS = 64
_ROW_BYTES = _COLUMNS * 4


def write_large_gguf(path: Path, size: int, name: str = "Large") -> Path:
    """Write it with at least ``size`` bytes of weights, all zero, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = -(-size // _ROW_BYTES)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(name)
    writer.add_block_count(2)
    writer.add_context_length(256)
    writer.add_embedding_length(_COLUMNS)
    writer.add_head_count(4)
    writer.add_tensor_info("token_embd.weight", [rows, _COLUMNS], np.dtype(np.float32), rows * _ROW_BYTES)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    header = path.stat().st_size
    start = -(-header // writer.data_alignment) * writer.data_alignment
    with path.open("r+b") as file:
        file.truncate(start + rows * _ROW_BYTES)
    return path
