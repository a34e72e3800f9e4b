"""ggml by ctypes: weights encoded as llama.cpp encodes them, and read back.

``ggml()`` compares what it finds with what the lab was written for: another release of llama.cpp that moved something
is refused before it computes nonsense.
"""

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
from numpy.typing import NDArray

from nanolocal.compress.weights.encodings import NEEDS_IMPORTANCE, NUMBERS, block_of, number_of, row_bytes
from nanolocal.engines.ggml import backend, library
from nanolocal.errors import EngineFailed, UsageError
from nanolocal.formats.tensors import BLOCKS

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

_ROWS_BYTES = 2**22
"""Weights that one thread encodes at a time, as 32-bit floats."""


class _Traits(ctypes.Structure):
    """``ggml_type_traits`` (ggml.h)."""


_Traits._fields_ = [
    ("name", ctypes.c_char_p),
    ("block", ctypes.c_int64),
    ("interleaved", ctypes.c_int64),
    ("block_bytes", ctypes.c_size_t),
    ("is_quantized", ctypes.c_bool),
    ("to_float", ctypes.c_void_p),
    ("from_float", ctypes.c_void_p),
]

_TO_FLOAT = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
_SIGNATURES: dict[str, tuple[object, tuple[object, ...]]] = {
    "ggml_quantize_chunk": (
        ctypes.c_size_t,
        (ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, *(ctypes.c_int64,) * 3, ctypes.c_void_p),
    ),
    "ggml_validate_row_data": (ctypes.c_bool, (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)),
    "ggml_get_type_traits": (ctypes.POINTER(_Traits), (ctypes.c_int,)),
    "ggml_type_name": (ctypes.c_char_p, (ctypes.c_int,)),
    "ggml_row_size": (ctypes.c_size_t, (ctypes.c_int, ctypes.c_int64)),
    "ggml_nbytes": (ctypes.c_size_t, (ctypes.c_void_p,)),
    "ggml_op_name": (ctypes.c_char_p, (ctypes.c_int,)),
    "ggml_backend_tensor_get": (None, (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t)),
    "ggml_backend_tensor_set": (None, (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t)),
    "ggml_tensor_overhead": (ctypes.c_size_t, ()),
}


@cache
def ggml() -> ctypes.CDLL:
    """The library of this process, checked; raises ``EngineFailed`` where it is of another make."""
    from llama_cpp._ggml import libggml

    backend()
    handle: ctypes.CDLL = libggml
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(handle, name, None)
        if function is None:
            raise _drifted(f"it has no {name}")
        function.restype, function.argtypes = result, list(arguments)
    check(handle)
    return handle


def check(handle: ctypes.CDLL) -> None:
    """Raise ``EngineFailed`` where ``handle`` is not what the lab was written for."""
    _check_encodings(handle)
    _check_answer(handle)
    _check_structures(handle)


@cache
def operation(number: int) -> str:
    """The name of a node's operation, as ``MUL_MAT``."""
    name: bytes = ggml().ggml_op_name(number)
    return name.decode()


def encode(weights: Floats, encoding: str, importance: Floats | None = None, threads: int = 1) -> Bytes:
    """The bytes of ``weights`` [..., rows, columns] in ``encoding``: [..., rows, bytes of a row].

    ``importance`` are positive weights of the columns: [columns], or [experts, columns] where there are more matrices.
    Raises ``UsageError`` where the rows do not fill its blocks, or it needs an importance and there is none.
    """
    *outer, rows, columns = weights.shape
    size = row_bytes(encoding, columns)
    if importance is None and encoding in NEEDS_IMPORTANCE:
        raise UsageError(f"{encoding} needs an importance matrix", "calibrate first")
    matrices = np.ascontiguousarray(weights, np.float32).reshape(-1, rows, columns)
    spread = None if importance is None else _spread(importance, len(matrices), columns)
    encoded = np.empty((len(matrices), rows, size), np.uint8)
    step = max(1, _ROWS_BYTES // (4 * columns))
    handle, number = ggml(), number_of(encoding)

    def work(place: tuple[int, int]) -> bool:
        matrix, first = place
        count = min(step, rows - first)
        target = encoded[matrix, first : first + count]
        column_weights = None if spread is None else spread[matrix].ctypes.data
        source = matrices[matrix, first : first + count]
        handle.ggml_quantize_chunk(number, source.ctypes.data, target.ctypes.data, 0, count, columns, column_weights)
        return bool(handle.ggml_validate_row_data(number, target.ctypes.data, target.nbytes))

    places = [(matrix, first) for matrix in range(len(matrices)) for first in range(0, rows, step)]
    if not all(_each(work, places, threads)):
        raise EngineFailed(f"weights cannot be encoded as {encoding}: some are no numbers", "get the file again")
    return encoded.reshape(*outer, rows, size)


def decode(data: Bytes, encoding: str, columns: int) -> Floats:
    """The weights in ``data`` [..., bytes of a row]: [..., columns]."""
    data = np.ascontiguousarray(data)
    if data.shape[-1] != row_bytes(encoding, columns):
        raise UsageError(f"{data.shape[-1]} bytes are no {columns} weights of {encoding}", "")
    if encoding == "F32":
        return data.view(np.float32)
    weights = np.empty((*data.shape[:-1], columns), np.float32)
    _to_float(encoding)(data.ctypes.data, weights.ctypes.data, weights.size)
    return weights


def encoded_and_back(weights: Floats, encoding: str, importance: Floats | None = None, threads: int = 1) -> Floats:
    """What ``weights`` become by being stored in ``encoding``."""
    return decode(encode(weights, encoding, importance, threads), encoding, weights.shape[-1])


@cache
def _to_float(encoding: str) -> "ctypes._FuncPointer":
    address = ggml().ggml_get_type_traits(number_of(encoding)).contents.to_float
    if not address:
        raise UsageError(f"llama.cpp cannot read {encoding} back", "choose another encoding")
    return _TO_FLOAT(address)


def _spread(importance: Floats, matrices: int, columns: int) -> Floats:
    spread = np.ascontiguousarray(importance, np.float32).reshape(-1, columns)
    if len(spread) not in (1, matrices):
        raise UsageError(f"an importance for {len(spread)} matrices cannot weigh {matrices}", "calibrate again")
    return np.broadcast_to(spread, (matrices, columns))


def _each(work: Callable[[tuple[int, int]], bool], places: list[tuple[int, int]], threads: int) -> list[bool]:
    if threads < 2 or len(places) < 2:
        return [work(place) for place in places]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, places))


def _check_encodings(handle: ctypes.CDLL) -> None:
    for name, number in NUMBERS.items():
        traits = handle.ggml_get_type_traits(number).contents
        known = traits.name.decode().upper(), traits.block, traits.block_bytes
        if known != (name, *BLOCKS[number]) or handle.ggml_row_size(number, 256) != row_bytes(name, 256):
            raise _drifted(f"encoding {number} is {known[0]}, with {known[2]} bytes for {known[1]} weights")


def _check_answer(handle: ctypes.CDLL) -> None:
    """Whole numbers up to 127 are kept exactly by Q8_0: one block has a known answer."""
    weights = np.arange(-96, 160, 5, dtype=np.float32)[:32].copy()
    weights[0] = -127
    answer = np.empty(34, np.uint8)
    size = handle.ggml_quantize_chunk(
        NUMBERS["Q8_0"], weights.ctypes.data, answer.ctypes.data, 0, 1, block_of("Q8_0"), None
    )
    if size != 34 or answer[:2].view(np.float16)[0] != 1 or (answer[2:].view(np.int8) != weights).any():
        raise _drifted("it encodes numbers otherwise")


def _check_structures(handle: ctypes.CDLL) -> None:
    """The mirrors of structures are as long as theirs, and the defaults are found where they are looked for."""
    from nanolocal.compress.native.tensor import Tensor

    head = 4 * ctypes.sizeof(ctypes.c_void_p)
    if handle.ggml_tensor_overhead() != head + ctypes.sizeof(Tensor):
        raise _drifted("its tensors have another layout")
    lib = library()
    defaults = lib.llama_model_quantize_default_params()
    expected = (7, lib.GGML_TYPE_COUNT, lib.GGML_TYPE_COUNT, 8 * 2**30)
    found = (defaults.ftype, defaults.output_tensor_type, defaults.token_embedding_type, defaults.max_buf_size)
    if found != expected:
        raise _drifted("its quantizer has other parameters")


def _drifted(what: str) -> EngineFailed:
    return EngineFailed(
        f"the compression lab does not know this release of llama.cpp: {what}", "install llama-cpp-python 0.3.36"
    )
