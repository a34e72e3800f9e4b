"""GGUF files to torch models and back.

F32, F16 and BF16 weights come back to the byte. Others are read as llama.cpp reads them and written as F32, which holds
exactly what was read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nanolocal.compress.torch.model import EMBEDDINGS, FACTORS, OUTPUT, Model
from nanolocal.compress.torch.shape import Fact, Shape, changed_facts, facts_for, shape_of
from nanolocal.errors import Damaged, UsageError
from nanolocal.formats.preflight import check_model

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFReader, GGUFValueType, GGUFWriter

FLOATS = ("F32", "F16", "BF16")
_FILE_TYPES = {"F32": 0, "F16": 1, "BF16": 32}
"""``general.file_type`` (llama_ftype) of files whose matrices have one type."""
_NOT_COPIED = ("GGUF.", "split.", "general.architecture", "general.alignment", "general.file_type")


@dataclass(frozen=True, slots=True)
class Entry:
    """One metadata entry: ``kind`` is a ``GGUFValueType``, ``items`` that of the items of an array."""

    value: Fact | list[str] | list[float]
    kind: GGUFValueType
    items: GGUFValueType | None = None


def read(path: Path) -> Model:
    """The model of a GGUF file, or of the split one that begins with ``path``.

    Raises ``Damaged`` for a file that does not add up and ``UsageError`` for a model that is not computed here.
    """
    import torch
    from gguf.quants import dequantize

    weights, kinds = {}, {}
    for reader in _readers(path):
        for tensor in reader.tensors:
            values = dequantize(tensor.data, tensor.tensor_type)
            weights[tensor.name] = torch.from_numpy(values.astype("float32", copy=True))
            kinds[tensor.name] = tensor.tensor_type.name
    facts = {key: entry.value for key, entry in entries_of(path).items()}
    if EMBEDDINGS not in weights:
        raise Damaged(f"{path.name} has no table of embeddings", "get the file again")
    shape = shape_of(facts, weights[EMBEDDINGS].shape[0])
    _check(path, shape, {name: tuple(weight.shape) for name, weight in weights.items()})
    return Model(shape, weights, kinds)


def entries_of(path: Path) -> dict[str, Entry]:
    """All metadata of a GGUF file, its architecture among them."""
    return {key: _entry(field) for key, field in next(_readers(path)).fields.items() if not key.startswith("GGUF.")}


def write(
    model: Model, path: Path, like: Path, *, kind: str | None = None, facts: Mapping[str, Fact] | None = None
) -> None:
    """As ``write_in_place``; the file appears under its name when it is whole."""
    part = path.with_name(f"{path.name}.part")
    try:
        write_in_place(model, part, like, kind=kind, facts=facts)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_in_place(
    model: Model, path: Path, like: Path, *, kind: str | None = None, facts: Mapping[str, Fact] | None = None
) -> None:
    """Write ``model`` to ``path`` with the vocabulary and other metadata of ``like``.

    ``kind`` is the type of all matrices; without it each gets the one it had, and F32 if that was none of ``FLOATS``.
    ``facts`` are added to the metadata. Adapters are not written. Raises ``UsageError`` for an unknown ``kind``.
    """
    from gguf import GGUFWriter

    if kind is not None and kind not in FLOATS:
        raise UsageError(f"weights are written as {', '.join(FLOATS)}, not {kind!r}", "choose one of these")
    kinds = {name: _kind_for(model, name, kind) for name in model.weights}
    entries = _entries_for(model.shape, like, kinds, facts or {})
    with closing(GGUFWriter(path, model.shape.architecture)) as writer:
        _add_entries(writer, entries)
        _add_tensors(writer, model, kinds)


def _kind_for(model: Model, name: str, wanted: str | None) -> str:
    if model.weights[name].dim() == 1:
        return "F32"
    found = wanted or model.kinds.get(name, "F32")
    return found if found in FLOATS else "F32"


def _add_entries(writer: GGUFWriter, entries: Mapping[str, Entry]) -> None:
    for key, entry in entries.items():
        if key == "general.alignment":
            writer.add_custom_alignment(entry.value)
        else:
            writer.add_key_value(key, entry.value, entry.kind, sub_type=entry.items)


def _add_tensors(writer: GGUFWriter, model: Model, kinds: Mapping[str, str]) -> None:
    """Announce all, then encode and write one after the other."""
    from gguf import GGMLQuantizationType
    from numpy import dtype

    for name, weight in model.weights.items():
        size = 4 if kinds[name] == "F32" else 2
        shown = dtype("float32") if size == 4 else dtype("float16")
        writer.add_tensor_info(
            name, tuple(weight.shape), shown, size * weight.numel(), raw_dtype=GGMLQuantizationType[kinds[name]]
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, weight in model.weights.items():
        writer.write_tensor_data(encoded(weight.detach().cpu().numpy(), kinds[name]))


def encoded(values: np.ndarray, kind: str) -> np.ndarray:
    """Float32 values as the bytes of one of ``FLOATS``."""
    from gguf import GGMLQuantizationType
    from gguf.quants import quantize

    result: np.ndarray = quantize(values, GGMLQuantizationType[kind])
    return result


def _readers(path: Path) -> Iterator[GGUFReader]:
    """A reader for each part, after the headers were checked."""
    from gguf import GGUFReader

    checked = check_model(path)
    checked.confirm()
    for file in checked.files:
        yield GGUFReader(file)


def _entry(field: object) -> Entry:
    from gguf import GGUFValueType, ReaderField

    assert isinstance(field, ReaderField)
    kind = field.types[0]
    items = field.types[-1] if kind == GGUFValueType.ARRAY else None
    return Entry(field.contents(), kind, items)


def _entries_for(shape: Shape, like: Path, kinds: Mapping[str, str], facts: Mapping[str, Fact]) -> dict[str, Entry]:
    """The metadata of ``like``, changed where the shape or the types differ from it."""
    before = entries_of(like)
    old = before["general.architecture"].value
    if old == shape.architecture:
        found = {key: entry.value for key, entry in before.items()}
        changed = changed_facts(shape_of(found, shape.vocabulary), shape)
    else:
        before = {key: entry for key, entry in before.items() if not key.startswith(f"{old}.")}
        changed = facts_for(shape)
    kept = {key: entry for key, entry in before.items() if not key.startswith(_NOT_COPIED)}
    kept |= {key: entry for key, entry in before.items() if key in ("general.alignment",)}
    own = {**changed, **_file_type(kinds), **facts}
    return kept | {key: _typed(value, kept.get(key)) for key, value in own.items()}


def _file_type(kinds: Mapping[str, str]) -> dict[str, Fact]:
    """The type of most matrices."""
    counted = [kinds[name] for name in kinds if name.startswith("blk.") and kinds[name] in _FILE_TYPES]
    most = max(_FILE_TYPES, key=lambda kind: (sum(one == kind for one in counted if one != "F32"), kind == "F32"))
    return {"general.file_type": _FILE_TYPES[most]}


def _typed(value: Fact, before: Entry | None) -> Entry:
    """An entry with the type that it had, or with the one that llama.cpp expects."""
    from gguf import GGUFValueType as Kind

    if isinstance(value, list):
        return Entry(value, Kind.ARRAY, Kind.BOOL if isinstance(value[0], bool) else Kind.INT32)
    if before is not None and before.kind != Kind.ARRAY:
        return Entry(value, before.kind)
    kinds = {bool: Kind.BOOL, int: Kind.UINT32, float: Kind.FLOAT32, str: Kind.STRING}
    return Entry(value, kinds[type(value)])


def _check(path: Path, shape: Shape, found: Mapping[str, tuple[int, ...]]) -> None:
    """Raise where a tensor is missing, of another shape, or none that is computed here."""
    known = tensors_of(shape, found)
    strange = next((name for name in found if name not in known), None)
    if strange is not None:
        raise UsageError(
            f"pruning and distilling do not know the tensor {strange[:80]!r} of {path.name}",
            "quantize this build only, or choose another one",
        )
    for name, wanted in known.items():
        if found.get(name) != wanted:
            raise Damaged(
                f"{path.name}: tensor {name} is {found.get(name, 'missing')} and not {wanted}", "get it again"
            )


def tensors_of(shape: Shape, found: Iterable[str] = ()) -> dict[str, tuple[int, ...]]:
    """The tensors of a model of this shape, (rows, columns) or (numbers,); of those it may lack the ``found`` ones."""
    there = set(found)
    rows, kv_rows = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    needed: dict[str, tuple[int, ...]] = {
        EMBEDDINGS: (shape.vocabulary, shape.width),
        "output_norm.weight": (shape.width,),
    }
    optional: dict[str, tuple[int, ...]] = {OUTPUT: (shape.vocabulary, shape.width), "output.bias": (shape.vocabulary,)}
    optional[FACTORS] = (shape.head_size // 2,)
    for layer in range(shape.layers):
        parts = {
            "attn_norm": (shape.width,),
            "attn_q": (rows, shape.width),
            "attn_k": (kv_rows, shape.width),
            "attn_v": (kv_rows, shape.width),
            "attn_output": (shape.width, rows),
            "ffn_norm": (shape.width,),
            "ffn_gate": (shape.hidden, shape.width),
            "ffn_up": (shape.hidden, shape.width),
            "ffn_down": (shape.width, shape.hidden),
        }
        biases = {name: size[:1] for name, size in parts.items() if len(size) == 2}
        if shape.architecture in ("qwen3", "gemma3"):
            parts |= {"attn_q_norm": (shape.head_size,), "attn_k_norm": (shape.head_size,)}
        if shape.architecture in ("gemma2", "gemma3"):
            parts |= {"post_attention_norm": (shape.width,), "post_ffw_norm": (shape.width,)}
        needed |= {f"blk.{layer}.{name}.weight": size for name, size in parts.items()}
        optional |= {f"blk.{layer}.{name}.bias": size for name, size in biases.items()}
    return needed | {name: size for name, size in optional.items() if name in there}
