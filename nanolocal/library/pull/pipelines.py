"""The files of a diffusers pipeline that are worth fetching: what its index names, without pickles and code.

How weights are called follows diffusers (utils/__init__.py, models/modeling_utils.py): ``NAME.safetensors`` or shards
``NAME-00001-of-00002.safetensors`` with an index, and in another precision ``NAME.fp16.safetensors``.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nanolocal.errors import UsageError
from nanolocal.library.pull.choosing import Option, RemoteFile, Shape

INDEX = "model_index.json"
HALF = "fp16"
LABEL, USUAL, ONLY = "F16", "F32", "full"
"""Half precision, what stands beside it, and the only one, of which the names of the files do not tell."""
_WEIGHTS = re.compile(r"(?P<base>[\w-]+?)(?:\.(?P<variant>\w+))?(?P<shard>-\d{5}-of-\d{5})?\.safetensors")
_SHARDS = re.compile(r"(?P<base>[\w-]+)(?:\.(?P<before>\w+))?\.safetensors\.index(?:\.(?P<after>\w+))?\.json")
_PLAIN_SUFFIXES = (".json", ".txt", ".model")
_NOT_OURS = re.compile(r"(?:\.bin\.index(?:\.\w+)?\.json|\.msgpack\.index\.json)$")
_COMPONENT = re.compile(r"[A-Za-z0-9]\w{0,60}")
_MAX_PLAIN = 64 * 2**20


@dataclass(frozen=True, slots=True)
class _Weights:
    """The weights of one component in one precision, and the index of their shards."""

    files: tuple[RemoteFile, ...]
    shards: RemoteFile | None


def pipelines(files: Sequence[RemoteFile], index: Mapping[str, object]) -> tuple[Option, ...]:
    """The pipeline in half precision where there is one, then as it is; raises ``UsageError`` for pickled weights."""
    root = next(file for file in files if file.path == INDEX)
    components = {name: _below(files, name) for name in _components(index)}
    weights = {name: _weights_of(inside) for name, inside in components.items()}
    for name, inside in components.items():
        if not weights[name] and any(file.path.endswith((".bin", ".ckpt", ".msgpack")) for file in inside):
            raise UsageError(f"the weights of its {name} are pickled, and unpickling runs code", "take another model")
    plain = [file for inside in components.values() for file in inside if _is_plain(file)]
    variants = [HALF, ""] if any(HALF in each for each in weights.values()) else [""]
    usual = USUAL if HALF in variants else ONLY
    labels = [LABEL if variant == HALF else usual for variant in variants]
    return tuple(_option(root, plain, weights, variant, label)
                 for variant, label in zip(variants, labels, strict=True) if _has_all(weights, variant))  # fmt: skip


def _components(index: Mapping[str, object]) -> Iterable[str]:
    """The folders that the index names: ``"unet": ["diffusers", "UNet2DConditionModel"]``; a null means none."""
    for name, value in index.items():
        if not isinstance(value, list) or name.startswith("_") or len(value) != 2:
            continue
        if all(isinstance(part, str) for part in value):
            if not _COMPONENT.fullmatch(name):
                raise UsageError(f"the pipeline has a part called {name[:80]!r}: refused", "take another model")
            yield name


def _below(files: Iterable[RemoteFile], component: str) -> list[RemoteFile]:
    return [file for file in files if file.path.rpartition("/")[0] == component]


def _is_plain(file: RemoteFile) -> bool:
    name = file.base
    is_index = _SHARDS.fullmatch(name) is not None or _NOT_OURS.search(name) is not None
    is_small = file.size is None or file.size <= _MAX_PLAIN
    return name.lower().endswith(_PLAIN_SUFFIXES) and not is_index and is_small


def _weights_of(inside: Sequence[RemoteFile]) -> dict[str, _Weights]:
    """The weights of one component by precision: a whole file where there is one, else the shards."""
    found: dict[str, _Weights] = {}
    matched = [(match, file) for file in inside if (match := _WEIGHTS.fullmatch(file.base))]
    for variant in {match["variant"] or "" for match, _ in matched}:
        of_variant = [(match, file) for match, file in matched if (match["variant"] or "") == variant]
        base = min((match["base"] for match, _ in of_variant), key=lambda base: ("pytorch" in base, base))
        same = [(match, file) for match, file in of_variant if match["base"] == base]
        whole = tuple(file for match, file in same if not match["shard"])
        shards = tuple(file for _, file in same)
        found[variant] = _Weights(whole, None) if whole else _Weights(shards, _index_of(inside, base, variant))
    return found


def _index_of(inside: Iterable[RemoteFile], base: str, variant: str) -> RemoteFile | None:
    for file in inside:
        match = _SHARDS.fullmatch(file.base)
        if match and match["base"] == base and (match["before"] or match["after"] or "") == variant:
            return file
    return None


def _has_all(weights: Mapping[str, dict[str, _Weights]], variant: str) -> bool:
    """Whether every component that has weights at all has some in this precision or in the usual one."""
    return all(not each or variant in each or "" in each for each in weights.values())


def _option(
    root: RemoteFile,
    plain: Sequence[RemoteFile],
    weights: Mapping[str, dict[str, _Weights]],
    variant: str,
    label: str,
) -> Option:
    chosen = [each.get(variant) or each[""] for each in weights.values() if each]
    heavy = [file for each in chosen for file in (*each.files, *([each.shards] if each.shards else []))]
    return Option(Shape.PIPELINE, label, (root, *plain, *heavy))
