"""Weights for what ``blank_gguf`` writes: random ones, or such that the build counts through its vocabulary.

Both cost what trained ones of that shape and quantization cost, to the last instruction.
"""

from itertools import product
from pathlib import Path

import gguf
import numpy as np

FIRST_WORD = 256
"""The first token that is a word of ``blank_gguf``'s vocabulary."""
_BLOCK_BYTES = {"Q4_K": 144, "Q6_K": 210, "Q8_0": 34, "Q5_0": 22, "Q4_0": 18}
_SCALES = {"Q4_K": 0.001, "Q6_K": 0.0001, "Q8_0": 0.001, "Q5_0": 0.005, "Q4_0": 0.01}
_SMALL, _LOUD = 1e-3, 30
_NEWLINE = "Ċ"


def fill(path: Path, seed: int = 1) -> Path:
    """Give a build random weights of about equal size, norms of one; returns ``path``."""
    random = np.random.default_rng(seed)
    for tensor in gguf.GGUFReader(path, "r+").tensors:
        _fill(tensor, random)
    return path


def chain(path: Path, seed: int = 1) -> Path:
    """Make a build with a head of its own write word after word of its vocabulary; returns ``path``.

    After a line feed comes the first word, after each word the next one, whatever was said before. The layers are
    computed as always and whisper.
    """
    random = np.random.default_rng(seed)
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(path, "r+").tensors}
    for name, tensor in tensors.items():
        _fill(tensor, random)
        if name.endswith(("attn_norm.weight", "ffn_norm.weight")):
            tensor.data[:] = _SMALL
    embeddings, output = tensors["token_embd.weight"], tensors["output.weight"]
    kind = embeddings.tensor_type.name
    _set_scale(embeddings.data, kind, _LOUD * _SCALES[kind])
    rows, following = _rows(embeddings), _rows(output)
    following[:] = 0
    following[FIRST_WORD] = rows[_newline()]
    following[FIRST_WORD + 1 : -2] = rows[FIRST_WORD:-3]
    return path


def words(first: int, count: int) -> list[str]:
    """The words of so many tokens that follow each other in the vocabulary, each with its space."""
    letters = product("abcdefghijklmnopqrstuvwxyz", repeat=5)
    return [" " + "".join(each) for _, each in zip(range(first + count), letters, strict=False)][first:]


def _fill(tensor: gguf.ReaderTensor, random: np.random.Generator) -> None:
    kind, data = tensor.tensor_type.name, tensor.data
    if kind in _BLOCK_BYTES:
        blocks = data.reshape(-1, _BLOCK_BYTES[kind])
        blocks[:] = random.integers(0, 256, blocks.shape, dtype=np.uint8)
        _set_scale(data, kind, _SCALES[kind])
    elif "norm" in tensor.name or tensor.name.endswith(("ssm_a", "ssm_d")):
        data[:] = -1 if tensor.name.endswith("ssm_a") else 1
    else:
        data[:] = random.standard_normal(data.shape) * 0.1


def _set_scale(data: np.ndarray, kind: str, scale: float) -> None:
    """The factors of each block; Q4_K has a second one, for what is taken off."""
    blocks = data.reshape(-1, _BLOCK_BYTES[kind])
    factors = np.array([scale, 7.5 * scale] if kind == "Q4_K" else [scale], np.float16).view(np.uint8)
    if kind == "Q6_K":
        blocks[:, -2:] = factors
    else:
        blocks[:, : len(factors)] = factors


def _rows(tensor: gguf.ReaderTensor) -> np.ndarray:
    rows: np.ndarray = tensor.data.reshape(int(tensor.shape[1]), -1)
    return rows


def _newline() -> int:
    from tests.fakes.tiny_gguf import byte_symbols

    return byte_symbols().index(_NEWLINE)
