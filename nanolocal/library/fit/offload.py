"""What moves to a graphics processor when the last layers of a model run there.

llama.cpp counts layers from the end, the output as one of them; the embedding always stays (src/llama-model.cpp,
``load_tensors``). Scratch memory on the device is the probe's to tell.
"""

import re
from collections.abc import Sequence

from nanolocal.library.fit.caches import caches_of
from nanolocal.library.fit.layout import Layout

_SCRATCH = 512 * 2**20
"""Bytes of a device that are left for a step's results, and for the driver."""
_LAYER = re.compile(r"blk\.(\d+)\.")


def on_device(layout: Layout, gpu_layers: int, n_ctx: int, kv: str = "f16") -> int:
    """Bytes of weights and caches that ``gpu_layers`` layers keep in the memory of the device."""
    count = layout.number("block_count")
    first = max(count + 1 - gpu_layers, 0)
    weights = sum(tensor.size_bytes for tensor in layout.tensors if _moves(tensor.name, first, count))
    if first <= count and not any(tensor.name == "output.weight" for tensor in layout.tensors):
        weights += sum(tensor.size_bytes for tensor in layout.tensors if tensor.name == "token_embd.weight")
    return weights + caches_of(layout, first=first).size_bytes(n_ctx, kv)


def layers_that_fit(layout: Layout, free: Sequence[int], n_ctx: int, kv: str = "f16") -> int:
    """The most layers that devices with ``free`` bytes hold beside a step's scratch, the output among them."""
    room = sum(max(each - _SCRATCH, 0) for each in free)
    most = layout.number("block_count") + 1
    fewest = 0
    while fewest < most:
        middle = (fewest + most + 1) // 2
        if on_device(layout, middle, n_ctx, kv) <= room:
            fewest = middle
        else:
            most = middle - 1
    return fewest


def _moves(name: str, first: int, count: int) -> bool:
    match = _LAYER.match(name)
    return int(match[1]) >= first if match else name.startswith("output") and first <= count
