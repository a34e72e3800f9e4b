"""``llama_model_quantize``: a build written anew, each of its tensors in an encoding that is named.

It reads split builds and writes one file. Its own recipes count how many tensors of a kind they have seen, and would
be shifted by a list that names only some: the list names all of them.
"""

import ctypes
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nanolocal.compress.measuring.imatrix import Imatrix, importance_for
from nanolocal.compress.native.library import ggml
from nanolocal.compress.weights.encodings import FLOATS, NAMES, NEEDS_IMPORTANCE, fitting, is_encodable, number_of
from nanolocal.compress.work.tasks import Tell
from nanolocal.engines.ggml import backend, library
from nanolocal.errors import Damaged, EngineFailed, UsageError
from nanolocal.formats.gguf import Tensor, read_facts
from nanolocal.formats.preflight import check_model

RECIPES = {
    "F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K_S": 11, "Q3_K_M": 12,
    "Q3_K_L": 13, "Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_S": 16, "Q5_K_M": 17, "Q6_K": 18, "IQ2_XXS": 19, "IQ2_XS": 20,
    "Q2_K_S": 21, "IQ3_XS": 22, "IQ3_XXS": 23, "IQ1_S": 24, "IQ4_NL": 25, "IQ3_S": 26, "IQ3_M": 27, "IQ2_S": 28,
    "IQ2_M": 29, "IQ4_XS": 30, "IQ1_M": 31, "BF16": 32, "TQ1_0": 36, "TQ2_0": 37, "MXFP4_MOE": 38,
}  # fmt: skip
"""What llama-quantize offers by name, with the numbers of ``llama_ftype``."""

_NAMED_AFTER = {"Q2_K": "Q2_K", "Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M", "MXFP4": "MXFP4_MOE"}
"""Which recipe a file is said to follow when most of its weights are of an encoding; others have that one's name."""
_QUANTIZED_DEFAULT = "Q8_0"
"""Named encodings are looked at only when the recipe's own is a quantized one."""
_LINE = re.compile(r"\[ *(\d+)/ *(\d+)\] +(\S+) +- \[[^\]]*\], type = *(\w+), ")
_DRY_ROW = re.compile(_LINE.pattern + r"size = +[\d.]+ MiB(?: -> +[\d.]+ MiB \((\w+)\))?")
_BUFFER_BYTES = 2**29
"""Rows of a tensor that llama.cpp holds while it encodes them."""


@dataclass(frozen=True, slots=True)
class Written:
    """Tensors that were encoded anew without an importance, as there is none for them."""

    missing: tuple[str, ...]


def tensors_of(path: Path) -> dict[str, Tensor]:
    """All tensors of a build, in all its parts, by name; raises ``Damaged``."""
    facts = check_model(path, with_layout=True).facts
    return {tensor.name: tensor for part in facts for tensor in part.layout}


def dry_run(path: Path, recipe: str, imatrix: Imatrix | None = None) -> dict[str, str]:
    """The encoding that llama.cpp's ``recipe`` gives each tensor of ``path``; nothing is written.

    Some recipes depend on whether there is an importance matrix. Raises ``UsageError`` for an unknown recipe.
    """
    if recipe not in RECIPES:
        raise UsageError(f"llama.cpp has no recipe {recipe!r}", f"choose one of {', '.join(RECIPES)}")
    parameters, kept = _parameters(RECIPES[recipe], imatrix, {})
    parameters.dry_run = True
    log = _Log()
    with backend().heard_by(log.take):
        _quantize(path, path.with_name("nothing"), parameters)
    del kept
    plan = {row[2]: (row[4] or row[3]).upper() for row in _DRY_ROW.findall(log.text)}
    if set(plan) != set(tensors_of(path)):
        raise EngineFailed("llama.cpp does not say what it would do", "install llama-cpp-python 0.3.36")
    return plan


def quantize(
    path: Path,
    out: Path,
    types: Mapping[str, str],
    imatrix: Imatrix | None,
    tell: Tell,
    *,
    prune_layers: Sequence[int] = (),
    threads: int = 1,
) -> Written:
    """Write ``path`` to ``out`` with the tensors of ``types`` in these encodings, all others as they are.

    ``prune_layers`` are left out, the later ones renumbered; names are those of ``path``. Raises ``UsageError`` for a
    tensor that there is not, or that cannot have this encoding, ``EngineFailed`` with llama.cpp's reason.
    """
    tensors = tensors_of(path)
    pruned = sorted(set(prune_layers))
    _check_pruned(path, pruned)
    wanted = _wanted(tensors, types)
    kept_names = _renumbered(tensors, pruned)
    encoded = {name for name in kept_names if wanted[name] != NAMES.get(tensors[name].kind, "")}
    missing = _uncovered(tensors, encoded, wanted, imatrix)
    overrides = {new: wanted[name] for name, new in kept_names.items() if is_encodable(name, tensors[name].shape)}
    parameters, kept = _parameters(RECIPES[_QUANTIZED_DEFAULT], _fitting(imatrix, tensors), overrides)
    parameters.nthread = threads
    parameters.max_buf_size = _BUFFER_BYTES
    parameters.allow_requantize = True
    recipe = _recipe_named(Counter({name: tensors[name].size_bytes for name in kept_names}), wanted)
    kept.append(_file_type(RECIPES[recipe]))
    parameters.kv_overrides = kept[-1]
    layers = (ctypes.c_int32 * (len(pruned) + 1))(*pruned, -1)
    if pruned:
        parameters.prune_layers = layers
    log = _Log(lambda done, count: tell(done / count))
    with backend().heard_by(log.take):
        _quantize(path, out, parameters)
    del kept
    _check_written(out, {new: wanted[name] for name, new in kept_names.items()})
    return Written(missing)


def _check_written(out: Path, wanted: Mapping[str, str]) -> None:
    """Raise ``EngineFailed`` where the file holds other tensors, or other encodings, than it should."""
    found = {tensor.name: NAMES.get(tensor.kind, "") for tensor in read_facts(out, with_layout=True).layout}
    if found != wanted:
        other = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
        raise EngineFailed(
            f"llama.cpp wrote {other[0]} as {found.get(other[0], 'nothing')}, not {wanted.get(other[0], 'at all')}",
            "install llama-cpp-python 0.3.36",
        )


def _check_pruned(path: Path, pruned: Sequence[int]) -> None:
    """Layers that differ from each other by lists in the header cannot be left out: llama.cpp keeps the lists."""
    if not pruned:
        return
    facts = check_model(path).facts[0]
    architecture = facts.metadata.get("general.architecture")
    count = facts.metadata.get(f"{architecture}.block_count", 0)
    if not isinstance(count, int) or pruned[0] < 0 or pruned[-1] >= count or len(pruned) >= count:
        raise UsageError(f"{path.name} has {count} layers, so {list(pruned)} cannot be left out", "name fewer layers")
    by_layer = [key for key, length in facts.lengths.items() if length == count and key.startswith(f"{architecture}.")]
    if by_layer:
        raise UsageError(f"the layers of {path.name} differ ({by_layer[0]}), none can be left out", "prune its width")


def _wanted(tensors: Mapping[str, Tensor], types: Mapping[str, str]) -> dict[str, str]:
    """The encoding of every tensor, as llama.cpp will really write it."""
    if unknown := sorted(set(types) - set(tensors)):
        raise UsageError(f"the build has no tensor {unknown[0]!r}", "see its tensors")
    wanted = {}
    for name, tensor in tensors.items():
        held = NAMES.get(tensor.kind, "")
        if not held and is_encodable(name, tensor.shape):
            raise UsageError(f"{name} is encoded in a way that the lab does not know ({tensor.kind})", "see its maker")
        asked = types.get(name, held)
        if asked != held and not (held and is_encodable(name, tensor.shape)):
            raise UsageError(f"llama.cpp leaves {name} as it is", "leave it out of the recipe")
        wanted[name] = held if asked == held else fitting(asked, tensor.shape[0])
    return wanted


def _renumbered(tensors: Mapping[str, Tensor], pruned: Sequence[int]) -> dict[str, str]:
    """The names that tensors have once layers are gone; those of the layers are left out."""
    names = {}
    for name in tensors:
        match = re.match(r"blk\.(\d+)\.", name)
        layer = int(match[1]) if match else -1
        if layer not in pruned:
            after = layer - sum(gone < layer for gone in pruned)
            names[name] = name.replace(f"blk.{layer}.", f"blk.{after}.", 1) if match else name
    return names


def _uncovered(
    tensors: Mapping[str, Tensor], encoded: set[str], wanted: Mapping[str, str], imatrix: Imatrix | None
) -> tuple[str, ...]:
    """Of ``encoded`` those without an importance; raises ``UsageError`` where they cannot do without."""
    known = {name for name in encoded if wanted[name] not in FLOATS and imatrix and name in imatrix}
    for name in known:
        assert imatrix is not None
        importance_for(imatrix, name, tensors[name].shape)
    missing = sorted(name for name in encoded - known if wanted[name] not in FLOATS)
    for name in missing:
        if wanted[name] in NEEDS_IMPORTANCE and name not in ("token_embd.weight", "output.weight"):
            raise UsageError(f"{name} cannot be {wanted[name]} without an importance matrix", "calibrate on more text")
    return tuple(missing) if imatrix else ()


def _fitting(imatrix: Imatrix | None, tensors: Mapping[str, Tensor]) -> Imatrix | None:
    """The entries that there are tensors for."""
    return {name: entry for name, entry in imatrix.items() if name in tensors} if imatrix else None


def _recipe_named(sizes: Counter[str], wanted: Mapping[str, str]) -> str:
    weights: Counter[str] = Counter()
    for name, size in sizes.items():
        weights[wanted[name] or "F32"] += size
    most = weights.most_common(1)[0][0]
    return _NAMED_AFTER.get(most, most)


def _parameters(
    ftype: int, imatrix: Imatrix | None, overrides: Mapping[str, str]
) -> tuple[ctypes.Structure, list[object]]:
    """The quantizer's parameters, and what has to live as long as they do."""
    ggml()
    lib = library()
    parameters: ctypes.Structure = lib.llama_model_quantize_default_params()
    parameters.ftype = ftype
    kept: list[object] = []
    if overrides:
        rows = [
            lib.llama_model_tensor_override(_exactly(name), number_of(encoding)) for name, encoding in overrides.items()
        ]
        array = (lib.llama_model_tensor_override * (len(rows) + 1))(*rows)
        parameters.tt_overrides = array
        kept.append(array)
    if imatrix:
        arrays: list[NDArray[np.float32]] = []
        entries = (lib.llama_model_imatrix_data * (len(imatrix) + 1))()
        for index, (name, entry) in enumerate(imatrix.items()):
            arrays.append(np.ascontiguousarray(entry.weights()))
            pointer = arrays[-1].ctypes.data_as(ctypes.POINTER(ctypes.c_float))
            entries[index] = lib.llama_model_imatrix_data(name.encode(), pointer, arrays[-1].size)
        parameters.imatrix = entries
        kept += [arrays, entries]
    return parameters, kept


def _file_type(number: int) -> object:
    """What the header is to say of the whole, as the quantizer takes it."""
    lib = library()
    overrides = (lib.llama_model_kv_override * 2)()
    overrides[0].tag = lib.LLAMA_KV_OVERRIDE_TYPE_INT
    overrides[0].key = b"general.file_type"
    overrides[0].value.val_i64 = number
    return overrides


def _exactly(name: str) -> bytes:
    """A regular expression (ECMAScript's) for this name alone."""
    escaped = re.sub(r"([.^$|()\[\]{}*+?\\])", r"\\\1", name)
    return f"^{escaped}$".encode()


def _quantize(path: Path, out: Path, parameters: ctypes.Structure) -> None:
    checked = check_model(path)
    log = backend()
    log.forget_errors()
    checked.confirm()
    if library().llama_model_quantize(os.fsencode(path), os.fsencode(out), ctypes.byref(parameters)):
        reason = log.last_error() or "no reason given"
        if "validation failed" in reason or "invalid" in reason:
            raise Damaged(f"{path.name} holds weights that are no numbers", "get the build again")
        raise EngineFailed(f"llama.cpp cannot encode {path.name}: {reason}", "nanolocal models verify checks the file")


class _Log:
    """The quantizer's log, and how far it is by it."""

    def __init__(self, on_row: Callable[[int, int], None] | None = None) -> None:
        self._pieces: list[str] = []
        self._on_row = on_row

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    def take(self, piece: str) -> None:
        self._pieces.append(piece)
        if self._on_row is not None and (match := _LINE.match(piece)):
            self._on_row(int(match[1]) - 1, int(match[2]))
