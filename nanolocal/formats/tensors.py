"""What a tensor's shape and type must be: how many bytes they stand for, and what llama.cpp can compute with."""

import math
from collections.abc import Sequence

from nanolocal.formats.refusal import Refused

MAX_ELEMENTS = 2**48

# ggml type -> (elements in a block, bytes of a block), from ggml.c's type traits
BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 16: (256, 66),
    17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136),
    24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54),
    35: (256, 66), 39: (32, 17), 40: (64, 36), 41: (128, 18),
}  # fmt: skip
_NO_WEIGHTS = frozenset({24, 25, 28})
"""8 and 16 bit integers and 64 bit floats, which no operation of llama.cpp takes as weights."""
_INDICES = frozenset({26, 27})
"""32 and 64 bit integers: single rows and tables of numbers of experts, never weights."""


def size_of(name: str, shape: Sequence[int], kind: int) -> tuple[int, int]:
    """How many elements a tensor has, and bytes; raises ``Refused`` where these do not go together."""
    elements = math.prod(shape)
    if not 0 < elements <= MAX_ELEMENTS:
        raise Refused(f"a tensor of shape {shape}")
    if kind not in BLOCKS:
        raise Refused(f"tensor {name[:80]!r} has unknown type {kind}")
    block, block_bytes = BLOCKS[kind]
    if shape[0] % block:
        raise Refused(f"tensor {name[:80]!r} does not fill its blocks")
    return elements, elements // block * block_bytes


def check_tensor(name: str, shape: Sequence[int], kind: int, query_rows: int) -> None:
    """Raise ``Refused`` for a tensor of a text model that ends llama.cpp when it is loaded or used.

    ``query_rows`` is how many numbers all heads ask with, 0 where the architecture does not say.
    """
    is_row = len(shape) == 1
    if kind in _NO_WEIGHTS or (kind in _INDICES and not is_row and "tid2eid" not in name):
        raise Refused(f"tensor {name[:80]!r} has a type that weights never have")
    if is_row and BLOCKS.get(kind, (1, 0))[0] > 1:
        raise Refused(f"tensor {name[:80]!r} is a single row and quantized")
    if query_rows and name.endswith(".attn_q.weight") and tuple(shape[1:2]) != (query_rows,):
        raise Refused(f"tensor {name[:80]!r} does not have the {query_rows} rows of its heads")
