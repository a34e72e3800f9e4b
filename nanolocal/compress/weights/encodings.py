"""The encodings of weights by name, as ``Q4_K``: their numbers, their sizes, and what stands in where a row is too odd.

Names are those of the gguf package, numbers those of ``ggml_type``. Nothing here needs llama.cpp.
"""

import math
from collections.abc import Sequence

from nanolocal.errors import UsageError
from nanolocal.formats.tensors import BLOCKS

NUMBERS = {
    "F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8, "Q2_K": 10, "Q3_K": 11, "Q4_K": 12,
    "Q5_K": 13, "Q6_K": 14, "IQ2_XXS": 16, "IQ2_XS": 17, "IQ3_XXS": 18, "IQ1_S": 19, "IQ4_NL": 20, "IQ3_S": 21,
    "IQ2_S": 22, "IQ4_XS": 23, "IQ1_M": 29, "BF16": 30, "TQ1_0": 34, "TQ2_0": 35, "MXFP4": 39,
}  # fmt: skip
NAMES = {number: name for name, number in NUMBERS.items()}
FLOATS = frozenset({"F32", "F16", "BF16"})
"""Not quantized: any row length will do."""
NEEDS_IMPORTANCE = frozenset({"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS"})
"""llama.cpp refuses these without an importance matrix, but for embeddings and output."""

_SUBSTITUTES = {
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS"), "IQ4_NL"),
    **dict.fromkeys(("Q2_K", "Q3_K", "TQ1_0", "TQ2_0"), "Q4_0"),
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
}
"""What llama.cpp takes where the rows do not fill blocks of 256 (llama-quant.cpp, tensor_type_fallback)."""

_NEVER_ENCODED = (
    "_norm.weight", "ffn_gate_inp.weight", "ffn_gate_tid2eid.weight", "altup", "laurel", "per_layer_model_proj",
    "ssm_conv1d", "shortconv.conv.weight", "indexer.k_proj.weight", "indexer.q_proj.weight", "time_mix_first.weight",
    "time_mix_w0.weight", "time_mix_w1.weight", "time_mix_w2.weight", "time_mix_v0.weight", "time_mix_v1.weight",
    "time_mix_v2.weight", "time_mix_a0.weight", "time_mix_a1.weight", "time_mix_a2.weight", "time_mix_g1.weight",
    "time_mix_g2.weight", "time_mix_decay_w1.weight", "time_mix_decay_w2.weight", "time_mix_lerp_fused.weight",
    "attn_rel_b.weight", "position_embd", "token_types.weight",
)  # fmt: skip
"""Parts of names of tensors that llama.cpp leaves alone (llama-quant.cpp, tensor_allows_quantization)."""


def is_encodable(tensor: str, shape: Sequence[int]) -> bool:
    """Whether llama.cpp's quantizer would touch it: a matrix or a stack of them that is neither tiny nor delicate."""
    matrix = len(shape) > 1 and math.prod(shape[1:]) > 1
    return matrix and tensor.endswith("weight") and not any(part in tensor for part in _NEVER_ENCODED)


def number_of(encoding: str) -> int:
    """The ``ggml_type``; raises ``UsageError`` for a name that is none."""
    try:
        return NUMBERS[encoding]
    except KeyError:
        known = ", ".join(NUMBERS)
        raise UsageError(f"{encoding!r} is no encoding of weights", f"choose one of {known}") from None


def block_of(encoding: str) -> int:
    """How many weights of a row are encoded together."""
    return BLOCKS[number_of(encoding)][0]


def fitting(encoding: str, columns: int) -> str:
    """The encoding that rows of ``columns`` weights really get when they are to have ``encoding``."""
    if columns % block_of(encoding) == 0:
        return encoding
    substitute = _SUBSTITUTES.get(encoding, encoding)
    return substitute if columns % block_of(substitute) == 0 else "F16"


def row_bytes(encoding: str, columns: int) -> int:
    """Bytes of one row; ``encoding`` has to fit it."""
    block, block_bytes = BLOCKS[number_of(encoding)]
    if columns % block:
        raise UsageError(f"rows of {columns} weights do not fill the blocks of {encoding}", "see fitting()")
    return columns // block * block_bytes


def tensor_bytes(encoding: str, shape: Sequence[int]) -> int:
    """Bytes of a tensor, ``shape`` as GGUF has it (columns first), with the padding that follows it in a file."""
    size = row_bytes(fitting(encoding, shape[0]), shape[0]) * math.prod(shape[1:])
    return -(-size // 32) * 32
