"""``ggml_tensor`` as ctypes sees it (ggml.h), and the weights or activations in one as numpy arrays.

``library.ggml`` makes sure when it loads ggml that this mirror is of its release.
"""

import ctypes

import numpy as np
from numpy.typing import NDArray

from nanolocal.compress.native.library import ggml

F32, I32 = 0, 26


class Tensor(ctypes.Structure):
    """One node of a graph or one weight: ``ne`` are its sizes, ``nb`` its strides in bytes, columns first."""


Tensor._fields_ = [
    ("type", ctypes.c_int),
    ("buffer", ctypes.c_void_p),
    ("ne", ctypes.c_int64 * 4),
    ("nb", ctypes.c_size_t * 4),
    ("op", ctypes.c_int),
    ("op_params", ctypes.c_int32 * 16),
    ("flags", ctypes.c_int32),
    ("src", ctypes.c_void_p * 10),
    ("view_src", ctypes.c_void_p),
    ("view_offs", ctypes.c_size_t),
    ("data", ctypes.c_void_p),
    ("name", ctypes.c_char * 64),
    ("extra", ctypes.c_void_p),
    ("padding", ctypes.c_char * 8),
]


def at(address: int) -> Tensor:
    """The tensor at ``address``, which lives as long as its graph or model does."""
    return Tensor.from_address(address)


def name_of(tensor: Tensor) -> str:
    """Its name; of a copy on another device (``CPU#blk.0.attn_q.weight#0``) that of the original."""
    name: bytes = tensor.name
    parts = name.decode("utf-8", "replace").split("#")
    return parts[1] if len(parts) == 3 else parts[0]


def shape_of(tensor: Tensor) -> tuple[int, ...]:
    """Its four sizes, columns last, as numpy has them."""
    return tuple(tensor.ne[::-1])


def values(tensor: Tensor) -> "NDArray[np.number]":
    """A copy of what a tensor of 32-bit numbers holds, [ne3, ne2, ne1, ne0], read from whatever device it is on."""
    size = ggml().ggml_nbytes(ctypes.addressof(tensor))
    buffer = np.empty(size, np.uint8)
    read(tensor, 0, buffer)
    numbers = buffer.view(np.int32 if tensor.type == I32 else np.float32)
    return np.lib.stride_tricks.as_strided(numbers, shape_of(tensor), tuple(tensor.nb[::-1]), writeable=False)


def read(tensor: Tensor, offset: int, into: NDArray[np.uint8]) -> None:
    """Fill ``into`` with the bytes from ``offset`` on."""
    ggml().ggml_backend_tensor_get(ctypes.addressof(tensor), into.ctypes.data, offset, into.nbytes)


def write(tensor: Tensor, offset: int, data: NDArray[np.uint8]) -> None:
    """Replace the bytes from ``offset`` on; where a file is mapped into memory that ends the process."""
    data = np.ascontiguousarray(data)
    ggml().ggml_backend_tensor_set(ctypes.addressof(tensor), data.ctypes.data, offset, data.nbytes)


def size_bytes(tensor: Tensor) -> int:
    """Bytes it takes."""
    return int(ggml().ggml_nbytes(ctypes.addressof(tensor)))
