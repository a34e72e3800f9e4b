"""LoRAs on a pipeline: loaded when they are asked for, and kept as long as the same ones are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nanolocal.chat.drawing import Adapters as Ranks
from nanolocal.engines.failures import first_line, is_of_memory
from nanolocal.errors import UsageError
from nanolocal.formats.safetensors_header import read_header

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline


@dataclass(frozen=True, slots=True)
class _Loaded:
    name: str
    sha256: str
    stamp: tuple[int, int]


class Adapters:
    """The LoRAs on ``pipeline``; ``changed`` is called where its weights are no longer what they were."""

    def __init__(self, pipeline: DiffusionPipeline, changed: Callable[[], None]) -> None:
        self._pipeline = pipeline
        self._changed = changed
        self._loaded: dict[str, _Loaded] = {}
        self._weights: Ranks = ()
        self._count = 0

    def use(self, wanted: Ranks) -> Ranks:
        """Draw with these files and no others; returns their SHA-256 with the weights. Raises ``UsageError``.

        A weight of 0 is none.
        """
        weights = tuple((path, weight) for path, weight in wanted if weight)
        fresh = {path: _stamp(Path(path)) for path, _ in weights}
        if weights == self._weights and all(self._loaded[path].stamp == stamp for path, stamp in fresh.items()):
            return tuple((self._loaded[path].sha256, weight) for path, weight in weights)
        if weights and not hasattr(self._pipeline, "load_lora_weights"):
            raise UsageError(f"{type(self._pipeline).__name__} takes no LoRA", "leave --lora out")
        self._weights = ()
        self._changed()
        if any(path not in fresh or old.stamp != fresh[path] for path, old in self._loaded.items()):
            self._pipeline.unload_lora_weights()
            self._loaded.clear()
        for path, stamp in fresh.items():
            if path not in self._loaded:
                self._load(Path(path), stamp)
        if weights:
            self._pipeline.set_adapters([self._loaded[path].name for path, _ in weights], [w for _, w in weights])
        self._weights = weights
        return tuple((self._loaded[path].sha256, weight) for path, weight in weights)

    def _load(self, path: Path, stamp: tuple[int, int]) -> None:
        """Load one file; where it is not for this pipeline, none is left on it."""
        self._count += 1
        name = f"lora{self._count}"
        read_header(path)
        try:
            self._pipeline.load_lora_weights(
                str(path.parent), weight_name=path.name, adapter_name=name, local_files_only=True, use_safetensors=True
            )
            is_on = any(name in names for names in self._pipeline.get_list_adapters().values())
        except Exception as error:  # torch, diffusers and peft each raise their own
            self._clear()
            if is_of_memory(error) or isinstance(error, ImportError):
                raise
            raise _unfit(path, first_line(error)) from error
        if not is_on:
            self._clear()
            raise _unfit(path, "it has nothing for this build")
        with path.open("rb") as file:
            self._loaded[str(path)] = _Loaded(name, hashlib.file_digest(file, "sha256").hexdigest(), stamp)

    def _clear(self) -> None:
        self._pipeline.unload_lora_weights()
        self._loaded.clear()


def _unfit(path: Path, why: str) -> UsageError:
    return UsageError(f"{path.name} is no LoRA for this build: {why}", "choose one that was made for its family")


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise UsageError(f"cannot read {path.name}: {error.strerror}", "give the LoRA's .safetensors file") from error
    return found.st_size, found.st_mtime_ns
