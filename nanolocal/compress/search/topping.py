"""A stock recipe with what room there is left: its own types, of which some become finer ones until the bytes are used.

No tensor gets a coarser type than stock gives it, so a wrong table of losses can waste bytes here, and nothing else.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from nanolocal.compress.search.losses import Table, types_for, usual_cost
from nanolocal.compress.weights.encodings import NAMES, NUMBERS, is_encodable, tensor_bytes
from nanolocal.formats.gguf import Tensor
from nanolocal.formats.tensors import BLOCKS

_QUARTERED = 4.0
"""A bit more for each weight leaves a quarter of the squared error."""


def by_bits(tensors: Mapping[str, Tensor], *, are_alike: bool = False) -> Table:
    """What tensors lose in each type by its bits alone, for a search that has seen neither text nor weights.

    By their role some count more than others, unless all ``are_alike``.
    """
    chosen = {name: types_for(tensor) for name, tensor in tensors.items() if is_encodable(name, tensor.shape)}
    types = tuple(dict.fromkeys(kind for row in chosen.values() for kind in row))
    loss = np.full((len(chosen), len(types)), np.inf)
    sizes = np.zeros(loss.shape, np.int64)
    for i, (name, row) in enumerate(chosen.items()):
        for kind in row:
            j = types.index(kind)
            loss[i, j] = (1.0 if are_alike else usual_cost(name, chosen)) * _QUARTERED ** -bits_of(kind)
            sizes[i, j] = tensor_bytes(kind, tensors[name].shape)
    return Table(tuple(chosen), types, loss, sizes, "bits")


def above(table: Table, stock: Mapping[str, str], tensors: Mapping[str, Tensor]) -> Table:
    """``table`` with no choice for any tensor but its type in ``stock`` and those with more bits."""
    held = [stock.get(name) or NAMES[tensors[name].kind] for name in table.tensors]
    types = tuple(dict.fromkeys((*table.types, *held)))
    more = len(types) - len(table.types)
    loss = np.pad(table.loss, ((0, 0), (0, more)), constant_values=np.inf)
    sizes = np.pad(table.bytes, ((0, 0), (0, more)))
    bits = np.array([bits_of(kind) for kind in types])
    for i, kind in enumerate(held):
        own = types.index(kind)
        loss[i, bits <= bits[own]] = np.inf
        finer = loss[i, np.isfinite(loss[i])]
        known = table.loss[i, own] if own < len(table.types) else np.inf
        loss[i, own] = known if np.isfinite(known) else _QUARTERED * finer.max(initial=0.0)
        sizes[i, own] = tensor_bytes(kind, tensors[table.tensors[i]].shape)
    return replace(table, types=types, loss=loss, bytes=sizes, micros=None)


def bits_of(kind: str) -> float:
    """Bits of a weight in this type."""
    weights, size = BLOCKS[NUMBERS[kind]]
    return 8 * size / weights
