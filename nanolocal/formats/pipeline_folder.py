"""A diffusers folder, checked whole before any code or weight of it is touched, and what its files say.

``model_index.json`` names the classes that diffusers would import, from any library; weights outside safetensors are
pickles, which run code; a configuration may ask for code by ``auto_map``; a link may lead out of the folder. All of it
is refused here, by one line that says what and where. Only headers are read, and nothing is written.

How weights are called follows diffusers (utils/__init__.py, models/modeling_utils.py) and transformers:
NAME.safetensors, or shards NAME-00001-of-00002.safetensors with an index, and in another precision
NAME.fp16.safetensors.
"""

import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nanolocal.errors import Damaged
from nanolocal.formats import pipeline_shapes
from nanolocal.formats.pipelines import CLASSES, CONTROLNETS, PIPELINES, WITHOUT_WEIGHTS, Family, Role, role_of
from nanolocal.formats.preflight import check_model
from nanolocal.formats.safetensors_header import FLOATS, bytes_of, joined, read_header

INDEX = "model_index.json"
GGUF = ".gguf"
PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"})
TO_CONVERT = "get its .safetensors, or load it where you trust its makers and save it with safe_serialization=True"
"""What to do about a pickle."""
_CODE_SUFFIXES = frozenset({".py", ".pyc", ".so", ".dll", ".dylib", ".pyd"})
_CODE_KEYS = frozenset({"auto_map", "custom_pipeline", "custom_pipelines", "trust_remote_code", "_module"})
"""What a configuration asks for code with, where it says anything by that name."""
_MAX_JSON_BYTES = 4 * 2**20
_MAX_WORDS_BYTES = 128 * 2**20
_MAX_FILES, _MAX_DEPTH = 5_000, 6
_GGUF_FLOATS = frozenset({0, 1, 30})
"""F32, F16 and BF16 as ggml counts types."""
QUANTIZED, EIGHT_BITS = "quantization_config", "nanolocal-int8"
"""The key of a configuration that says how weights are kept, and the method of ``engines.diffusion.int8``."""
_WORDS = frozenset({"tokenizer.json", "vocab.json", "added_tokens.json"})
"""Files of a tokenizer that may be long; they name no code."""
_VARIANTS = ("fp16", "bf16")
_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.safetensors")
_HINT = "use a folder of a known pipeline with safetensors weights"
_AGAIN = "get the missing files again"


@dataclass(frozen=True, slots=True)
class Weights:
    """What headers say: the shape of each tensor by name (as torch has it), the number of all weights, and bytes.

    ``floats`` of them are floating-point numbers, which loaders convert to what they compute in; ``stored_as`` is their
    type where all have the same, as safetensors spells it. The other weights take ``others_bytes``.
    """

    shapes: Mapping[str, tuple[int, ...]]
    parameters: int
    size_bytes: int
    floats: int
    stored_as: str = ""
    others_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Component:
    """One part of a pipeline: its class, its configuration, and of those with weights the files and their headers."""

    name: str
    role: Role
    class_name: str
    config: Mapping[str, object]
    files: tuple[Path, ...] = ()
    weights: Weights = Weights({}, 0, 0, 0)

    @property
    def is_int8(self) -> bool:
        """Whether its large weights are kept in 8 bits, each with a scale beside it."""
        given = self.config.get(QUANTIZED)
        return isinstance(given, Mapping) and given.get("quant_method") == EIGHT_BITS


@dataclass(frozen=True, slots=True)
class PipelineFacts:
    """A folder that passed. ``variant`` is the precision that is in the names of its weights, ``""`` where none is."""

    folder: Path
    pipeline: str
    family: Family
    components: Mapping[str, Component]
    variant: str = ""

    def of(self, role: Role) -> tuple[Component, ...]:
        """Its parts of that role."""
        return tuple(part for part in self.components.values() if part.role is role)

    @property
    def denoiser(self) -> Component:
        """Its UNet or transformer."""
        return self.of(Role.DENOISER)[0]

    @property
    def decoder(self) -> Component:
        """Its VAE."""
        return self.of(Role.DECODER)[0]


def check_folder(folder: Path) -> PipelineFacts:
    """Check a pipeline; raises ``Damaged`` with the first thing that must not, or cannot, be loaded."""
    label = folder.name
    _check_files(folder)
    index = read_config(folder / INDEX)
    name = index.get("_class_name")
    if not isinstance(name, str) or name not in PIPELINES:
        raise Damaged(f"{label} has the unknown pipeline {str(name)[:80]!r}", f"known are {_families()}")
    _check_keys(label, INDEX, index)
    named = {part: value for part, value in index.items() if not part.startswith("_") and isinstance(value, list)}
    wanted = {part: value for part, value in named.items() if value != [None, None]}
    roles = {part: _checked_class(label, part, value) for part, value in wanted.items()}
    for missing in (Role.SCHEDULER, Role.DENOISER, Role.DECODER):
        if all(role is not missing for role, _ in roles.values()):
            raise Damaged(f"{label} has no {missing}", _AGAIN)
    variant = _variant(folder, roles)
    components = {part: _component(folder, part, role, cls, variant) for part, (role, cls) in roles.items()}
    return PipelineFacts(folder, name, PIPELINES[name], components, variant)


def check_controlnet(folder: Path) -> Component:
    """Check the folder of a ControlNet, a configuration beside its weights; raises ``Damaged``."""
    _check_files(folder)
    config = read_config(folder / "config.json")
    name = config.get("_class_name")
    if not isinstance(name, str) or name not in CONTROLNETS:
        raise Damaged(f"{folder.name} has the unknown class {str(name)[:80]!r}", "use a folder of a known ControlNet")
    variant = next((each for each in _VARIANTS if any(folder.glob(f"*.{each}*.safetensors"))), "")
    return _component(folder.parent, folder.name, Role.CONTROLNET, name, variant)


def _families() -> str:
    return ", ".join(family.described for family in Family)


def _checked_class(label: str, part: str, value: list[object]) -> tuple[Role, str]:
    """Role and class of a part; both have to be known, and to go together."""
    texts = [item for item in value if isinstance(item, str)]
    if len(value) != 2 or len(texts) != 2:
        raise Damaged(f"{label} describes its {part[:80]!r} wrongly: {str(value)[:80]}", _HINT)
    library, name = texts
    role = role_of(part)
    if not any(name in libraries.get(library, ()) for libraries in CLASSES.values()):
        raise Damaged(f"{label} wants the unknown class {library[:80]}.{name[:80]} as {part[:80]}", _HINT)
    if role is None:
        raise Damaged(f"{label} has the unknown part {part[:80]!r}", _HINT)
    if name not in CLASSES[role].get(library, ()):
        raise Damaged(f"{label} wants {library}.{name} as its {part}, which is for something else", _HINT)
    return role, name


def _component(folder: Path, part: str, role: Role, name: str, variant: str) -> Component:
    """Check the folder of one part; ``folder`` is that of the pipeline."""
    place = folder / part
    if place.parent != folder or not place.is_dir():
        raise Damaged(f"{folder.name} has no folder {part[:80]!r}", _AGAIN)
    configs = {file.name: _settings(file) for file in sorted(place.glob("*.json"))}
    for file, content in configs.items():
        _check_keys(folder.name, f"{part}/{file}", content)
    if role in WITHOUT_WEIGHTS:
        return Component(part, role, name, configs.get("scheduler_config.json") or {})
    config = configs.get("config.json")
    if config is None:
        raise Damaged(f"{folder.name} has no {part}/config.json", _AGAIN)
    base = "model" if role in (Role.TEXT_ENCODER, Role.IMAGE_ENCODER, Role.SAFETY) else "diffusion_pytorch_model"
    files = _weights(folder.name, place, base, variant, takes_gguf=role is Role.DENOISER)
    weights = weights_of(files)
    is_as_named = files[0].suffix.lower() != GGUF
    for problem in pipeline_shapes.problems(name, config, weights.shapes) if is_as_named else ():
        raise Damaged(f"{folder.name} has weights in its {part} that are not those of its config.json: {problem}",
                      "get its files again, all from one place")  # fmt: skip
    return Component(part, role, name, config, files, weights)


def weights_of(files: Sequence[Path]) -> Weights:
    """Read the headers of one GGUF file, or of all safetensors files of one component; raises ``Damaged``."""
    if files[0].suffix.lower() == GGUF:
        return _of_gguf(files[0])
    facts = joined([read_header(file) for file in files])
    floats = {name: count for name, count in facts.stored.items() if name in FLOATS}
    only = next(iter(floats)) if len(floats) == 1 else ""
    others = facts.size_bytes - bytes_of(floats)
    return Weights(facts.shapes, facts.parameters, facts.size_bytes, sum(floats.values()), only, others)


def _of_gguf(file: Path) -> Weights:
    """A GGUF file has the dimensions of a tensor the other way round."""
    (facts,) = check_model(file, with_layout=True).facts
    plain = [tensor for tensor in facts.layout if tensor.kind in _GGUF_FLOATS]
    return Weights(
        shapes={tensor.name: tensor.shape[::-1] for tensor in facts.layout},
        parameters=facts.parameters,
        size_bytes=sum(tensor.size_bytes for tensor in facts.layout),
        floats=sum(math.prod(tensor.shape) for tensor in plain),
        others_bytes=sum(tensor.size_bytes for tensor in facts.layout if tensor.kind not in _GGUF_FLOATS),
    )


def _settings(file: Path) -> Mapping[str, object]:
    """What a JSON file of a part says, where it is one of settings; of the others only the size is looked at."""
    if file.name in _WORDS:
        if file.stat().st_size > _MAX_WORDS_BYTES:
            raise Damaged(f"{file.parent.name}/{file.name} is too large", _HINT)
        return {}
    return {} if ".index." in file.name else read_config(file)


def _weights(label: str, place: Path, base: str, variant: str, *, takes_gguf: bool) -> tuple[Path, ...]:
    """The files that a loader takes, in order: of ``variant`` where there are any, whole before shards.

    The denoiser may be one GGUF file instead.
    """
    for dot in dict.fromkeys((f".{variant}" if variant else "", "")):
        whole = place / f"{base}{dot}.safetensors"
        if whole.is_file():
            return (whole,)
        named = f"{base}.safetensors.index{dot}.json"
        for index in (place / named, place / f"{base}{dot}.safetensors.index.json"):
            if index.is_file():
                return _shards(label, index)
    others = sorted(place.glob("*.safetensors"))
    if match := next((found for file in others if (found := _SHARD.fullmatch(file.name))), None):
        raise Damaged(f"{label} has no index of the shards in {place.name}: {match[1]}.safetensors.index.json", _AGAIN)
    if len(others) == 1:
        return (others[0],)
    quantized = sorted(place.glob(f"*{GGUF}")) if takes_gguf else []
    if len(quantized) == 1:
        return (quantized[0],)
    pickles = [file.name for file in sorted(place.iterdir()) if file.suffix.lower() in PICKLES]
    if pickles:
        why = f"{pickles[0]} is pickled, and other formats run code"
        raise Damaged(f"{label} has no safetensors weights for its {place.name}: {why}", TO_CONVERT)
    raise Damaged(f"{label} has no safetensors weights for its {place.name}; other formats run code", _AGAIN)


def _shards(label: str, index: Path) -> tuple[Path, ...]:
    """The shards that an index names: files beside it, all of them there."""
    places = read_config(index, _MAX_JSON_BYTES * 4).get("weight_map")
    where = f"{index.parent.name}/{index.name}"
    if not isinstance(places, dict) or not places:
        raise Damaged(f"{label} has the index {where} of no shards", _AGAIN)
    names = {str(name) for name in places.values()}
    for name in sorted(names):
        if Path(name).name != name or not name.endswith(".safetensors") or "\0" in name:
            raise Damaged(f"{label} names a shard outside its folder in {where}: {name[:80]!r}", _HINT)
        if not (index.parent / name).is_file():
            raise Damaged(f"{label} lacks a shard of its {index.parent.name}: {name}", _AGAIN)
    return tuple(index.parent / name for name in sorted(names))


def _variant(folder: Path, roles: Mapping[str, tuple[Role, str]]) -> str:
    heavy = [part for part, (role, _) in roles.items() if role not in WITHOUT_WEIGHTS]
    return next((each for each in _VARIANTS for part in heavy if any((folder / part).glob(f"*.{each}*.safetensors"))),
                "")  # fmt: skip


def _check_files(folder: Path) -> None:
    """No code, no link that leads out, nothing that is neither file nor folder, and not without end."""
    homes = _homes(folder)
    for number, entry in enumerate(_entries(folder)):
        if number >= _MAX_FILES:
            raise Damaged(f"{folder.name} has more than {_MAX_FILES:,} files", _HINT)
        path = Path(entry.path)
        label = path.relative_to(folder)
        if path.suffix.lower() in _CODE_SUFFIXES:
            raise Damaged(f"{folder.name} brings code of its own: {label}", _HINT)
        if entry.is_symlink() and not _is_below(path, homes):
            raise Damaged(f"{folder.name} has a link that leads out of it, or nowhere: {label}", _HINT)
        if not entry.is_file() and not entry.is_dir():
            raise Damaged(f"{folder.name} has something that is no file: {label}", _HINT)


def _entries(folder: Path) -> Iterator["os.DirEntry[str]"]:
    """Everything below ``folder``, folders that are links not entered."""
    waiting = [(os.fspath(folder), 0)]
    while waiting:
        place, depth = waiting.pop()
        try:
            with os.scandir(place) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    yield entry
                    if entry.is_dir(follow_symlinks=False):
                        if depth >= _MAX_DEPTH:
                            raise Damaged(f"{folder.name} has folders more than {_MAX_DEPTH} levels down", _HINT)
                        waiting.append((entry.path, depth + 1))
        except OSError as error:
            raise Damaged(f"{Path(place).name} cannot be read: {error.strerror}", _AGAIN) from error


def _homes(folder: Path) -> tuple[str, ...]:
    """Where links may lead: into the folder, and for a snapshot of the Hugging Face cache into its blobs."""
    real = Path(os.path.realpath(folder))
    caches = [up.parent / "blobs" for up in real.parents if up.name == "snapshots"]
    return (os.fspath(real), *(os.fspath(blobs) for blobs in caches[:1] if blobs.parent.name.startswith("models--")))


def _is_below(path: Path, homes: Sequence[str]) -> bool:
    real = os.path.realpath(path)
    return os.path.exists(real) and any(os.path.commonpath((real, home)) == home for home in homes)  # noqa: PTH110


def _check_keys(label: str, file: str, content: object) -> None:
    """Raise where a configuration, however deep inside, asks for code."""
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            asked = next((key for key in _CODE_KEYS & value.keys() if value[key]), None)
            if asked is not None:
                raise Damaged(f"{label} asks for code of its own in {file}, by {asked}", _HINT)
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def read_config(file: Path, limit: int = _MAX_JSON_BYTES) -> dict[str, object]:
    """The JSON object in ``file``; raises ``Damaged`` where there is none, or it is too large or too deep."""
    label = f"{file.parent.name}/{file.name}"
    try:
        if file.stat().st_size > limit:
            raise Damaged(f"{label} is too large: more than {limit >> 20} MiB", _HINT)
        value = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise Damaged(f"{label} cannot be read: {error.strerror}", _AGAIN) from error
    except RecursionError as error:
        raise Damaged(
            f"{label} is not JSON that anyone means: it is nested too deeply", "get the file again"
        ) from error
    except ValueError as error:
        raise Damaged(f"{label} is not JSON", "get the file again") from error
    if not isinstance(value, dict):
        raise Damaged(f"{label} holds no object", _HINT)
    return value
