"""Which weights llama.cpp copies out of the file, into an order that suits this processor.

A copy lives in anonymous memory beside the file's pages, which the system may take back. The rules are those of
llama.cpp's ggml/src/ggml-cpu: ``repack.cpp`` (interleaved rows) and ``amx/amx.cpp`` (tiles), for libraries built for
the processor they run on, which is how pip builds them.
"""

import mmap
import platform
from collections.abc import Mapping, Set
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from nanolocal.formats.gguf import Tensor

Q4_0, Q8_0, Q2_K, Q4_K, Q5_K, Q6_K, IQ4_NL, MXFP4, Q1_0 = 2, 8, 10, 12, 13, 14, 20, 39, 41
_AVX2 = {Q4_0: 8, Q4_K: 8, IQ4_NL: 8, MXFP4: 8}
_AVX512 = {Q2_K: 8}
_DOT_PRODUCT = {Q4_0: 4, Q4_K: 8, Q5_K: 8, Q6_K: 8, IQ4_NL: 4, MXFP4: 4, Q8_0: 4, Q1_0: 4}
_TILE = 32
_AMX = dict.fromkeys((1, Q4_0, 3, Q8_0, Q4_K, Q5_K, Q6_K, 23), _TILE)
_AMX_ADDS = {Q8_0: (34, 4), Q4_K: (144, 4), Q5_K: (176, 4), 23: (136, 2)}
"""The bytes of a block, and what a tile has for each one besides."""
_ROW_LOOKUPS = ("token_embd", "per_layer_token_embd", "position_embd", "token_types")
"""Tensors that single rows are read from; nothing is multiplied with them."""

Rows = Mapping[int, int]
"""ggml type -> how many rows are interleaved: only matrices of a multiple of that are copied."""


@cache
def rows_here() -> Rows:
    """What is copied on this machine, by the llama.cpp that is installed."""
    flags = _flags()
    if "amx_int8" in flags and not _has_amx():
        flags -= {"amx_int8"}
    return rows_for(platform.machine().lower(), flags)


def rows_for(machine: str, flags: Set[str]) -> Rows:
    """What is copied on a processor with these features, named as in Linux' /proc/cpuinfo."""
    if machine in ("x86_64", "amd64"):
        rows = (_AVX2 if "avx2" in flags else {}) | (_AVX512 if "avx512f" in flags else {})
        return rows | (_AMX if "amx_int8" in flags else {})
    if machine in ("arm64", "aarch64"):
        return _DOT_PRODUCT if "asimddp" in flags or not flags else {}
    return {}


def is_copied(tensor: Tensor, rows: Rows) -> bool:
    """Whether the weights of ``tensor`` are copied."""
    interleaved = rows.get(tensor.kind)
    if interleaved is None or tensor.name.startswith(_ROW_LOOKUPS):
        return False
    dimensions = len(tensor.shape) if tensor.shape[-1] > 1 or len(tensor.shape) <= 2 else len(tensor.shape) - 1
    is_matrix = dimensions == 2 or (dimensions == 3 and "_exps" in tensor.name)
    return is_matrix and tensor.shape[1] % interleaved == 0 and "norm" not in tensor.name


def copied_bytes(tensor: Tensor, rows: Rows) -> int:
    """Bytes of the copy, 0 where there is none."""
    if not is_copied(tensor, rows):
        return 0
    block, more = _AMX_ADDS.get(tensor.kind, (1, 0)) if rows[tensor.kind] == _TILE else (1, 0)
    return tensor.size_bytes + tensor.size_bytes // block * more


def _flags() -> frozenset[str]:
    """The features that Linux reports; nothing elsewhere, where x86 has AVX2 or is too old to matter."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset({"avx2"}) if platform.machine().lower() in ("x86_64", "amd64") else frozenset()
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip().lower() in ("flags", "features"):
            return frozenset(value.split())
    return frozenset()


def _has_amx() -> bool:
    """Whether llama.cpp was compiled with AMX; a compiler that breaks it is told to leave it out (scripts/setup)."""
    package = find_spec("llama_cpp")
    folders = () if package is None else package.submodule_search_locations or ()
    for path in (path for folder in folders for path in Path(folder, "lib").glob("*ggml-cpu*")):
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as library:
            if library.find(b"ggml_backend_amx_buffer_type") >= 0:
                return True
    return False
