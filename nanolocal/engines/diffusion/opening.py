"""Brings a pipeline into memory: from a folder, from one checkpoint file, or with a transformer in GGUF."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from nanolocal.engines.diffusion import checkpoints, int8
from nanolocal.engines.diffusion.int8 import shrink
from nanolocal.engines.diffusion.schedulers import scipy_left_out
from nanolocal.engines.failures import first_line, is_of_memory
from nanolocal.engines.manifest import facts_of
from nanolocal.engines.protocol import LoadImage, Progress, Reply
from nanolocal.errors import BuildFailed, EngineFailed, NanolocalError, OutOfMemory
from nanolocal.formats.pipeline_folder import GGUF, Component, PipelineFacts
from nanolocal.formats.pipelines import CLASSES, Family, Role
from nanolocal.formats.preflight import check_weights

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline
    from torch.nn import Module

_UNET_FAMILIES = frozenset({Family.SD, Family.SDXL})
_HALF = ("half", "int8")


@dataclass(frozen=True, slots=True)
class Opened:
    """A pipeline in memory. ``rung`` is how memory is saved and ``dtype`` what it computes in, in words."""

    pipeline: DiffusionPipeline
    rung: str
    dtype: str


def open_pipeline(request: LoadImage, emit: Callable[[Reply], None]) -> Opened:
    """Check, then load on the best device there is; raises ``EngineFailed`` in one line."""
    path = Path(request.path)
    folder = path if path.is_dir() else Path(request.base) if request.base else None
    whole = None if folder is None else check_weights(folder)
    facts = None if folder is None else facts_of(folder)
    checked, family = checkpoints.check(path, facts) if facts is None or not path.is_dir() else (whole, facts.family)
    emit(Progress(0.0))
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    with scipy_left_out(facts):
        import diffusers
        import torch

        emit(Progress(0.4))
        diffusers.utils.logging.disable_progress_bar()
        torch.set_num_threads(request.threads)
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        dtype = _dtype(device, family, request.rung)
        for each in filter(None, (checked, whole)):
            each.confirm()
        try:
            pipeline = _loaded(path, facts, dtype, request.rung)
            emit(Progress(0.9))
            pipeline.set_progress_bar_config(disable=True)
            _save_memory(pipeline, request.rung, device)
        except NanolocalError:
            raise
        except Exception as error:  # torch, diffusers, transformers and safetensors each raise their own
            raise _failed(path, error) from error
    return Opened(pipeline, request.rung, str(dtype).removeprefix("torch."))


def _loaded(path: Path, facts: PipelineFacts | None, dtype: torch.dtype, rung: str) -> DiffusionPipeline:
    """The pipeline with all its weights, wherever the loader puts them."""
    if facts is not None and path.is_dir():
        pipeline = _from_folder(facts, dtype, rung)
    else:
        pipeline = checkpoints.load(path, facts, dtype)
    _check_complete(pipeline, path)
    return pipeline


def _failed(path: Path, error: Exception) -> NanolocalError:
    """What a library raised, in one line."""
    kind = OutOfMemory if is_of_memory(error) else EngineFailed if isinstance(error, ImportError) else BuildFailed
    return kind(f"diffusers cannot load {path.name}: {first_line(error)}", "get the files again")


def _dtype(device: str, family: Family, rung: str) -> torch.dtype:
    """What is computed in: 32 bits on a CPU unless memory is short; Flux and its like overflow in float16."""
    import torch

    if device == "cpu":
        return torch.bfloat16 if rung in _HALF else torch.float32
    is_wide = family not in _UNET_FAMILIES and device == "cuda" and torch.cuda.is_bf16_supported()
    return torch.bfloat16 if is_wide else torch.float16


def _from_folder(facts: PipelineFacts, dtype: torch.dtype, rung: str) -> DiffusionPipeline:
    """Load a folder; for ``int8`` one part after the other, so that no more than one is there in full at a time."""
    denoiser = facts.denoiser
    if denoiser.files[0].suffix.lower() == GGUF:
        return checkpoints.with_denoiser(facts, denoiser.files[0], dtype)
    parts: dict[str, Any] = {}
    for part in (*facts.of(Role.TEXT_ENCODER), denoiser):
        if part.is_int8:
            parts[part.name] = int8.load(_home_of(part), part, dtype)
        elif rung == "int8":
            parts[part.name] = shrink(load_part(facts, part, dtype))
    return checkpoints.from_folder(facts, dtype, parts)


def _home_of(part: Component) -> ModuleType:
    """The library that has its class."""
    import diffusers
    import transformers

    home: ModuleType = diffusers if part.class_name in CLASSES[part.role].get("diffusers", ()) else transformers
    return home


def load_part(facts: PipelineFacts, part: Component, dtype: torch.dtype) -> Module:
    """One part with weights of its own."""
    loaded: Module = getattr(_home_of(part), part.class_name).from_pretrained(
        str(facts.folder / part.name),
        local_files_only=True,
        use_safetensors=True,
        torch_dtype=dtype,
        variant=facts.variant or None,
    )
    return loaded


def _check_complete(pipeline: DiffusionPipeline, path: Path) -> None:
    """A loader leaves out what it finds no weights for; raises ``BuildFailed``."""
    import torch

    for name, part in pipeline.components.items():
        if isinstance(part, torch.nn.Module):
            missing = next((each for each, value in part.named_parameters() if value.is_meta), None)
            if missing is not None:
                raise BuildFailed(f"{path.name} has no weights for {name}.{missing}", "get the files again")


def _save_memory(pipeline: DiffusionPipeline, rung: str, device: str) -> None:
    """Put it on its device, in the way of ``rung``; see ``chat.drawing.RUNGS``."""
    vae = pipeline.vae
    if rung != "full":
        for save in ("enable_slicing", "enable_tiling"):
            if hasattr(vae, save):
                getattr(vae, save)()
    if rung == "int8":
        for name, part in pipeline.components.items():
            if name.startswith(("text_encoder", "transformer", "unet")) and part is not None:
                shrink(part)
    if device != "cpu" and rung == "offload":
        pipeline.enable_model_cpu_offload(device=device)
    elif device != "cpu" and rung == "sequential":
        pipeline.enable_sequential_cpu_offload(device=device)
    else:
        pipeline.to(device)
