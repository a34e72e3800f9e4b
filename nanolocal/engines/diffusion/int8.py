"""Layers with weights of 8 bits: a quarter of the memory of 32, computed with in the precision of their input.

Each row of a weight has a scale of its own, the largest of it over 127; that is the weight-only int8 of torchao, whose
compiled parts do not come for every release of torch. ``save`` and ``load`` keep such a part of a pipeline: its weights
as int8, a tensor ``scale`` beside each, and a method of its own in ``config.json``, so that no other program takes the
numbers for what they are not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from nanolocal.errors import BuildFailed
from nanolocal.formats.pipeline_folder import EIGHT_BITS, QUANTIZED, Component

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.nn import Module

_SCALE = ".scale"
_LEAST = 1024
"""Weights of fewer numbers stay as they are."""


def shrink(module: Module, *, convolutions: bool = False) -> Module:
    """``module`` with the weights of all large plain linear layers in 8 bits; it is changed itself.

    With ``convolutions`` those of plain two-dimensional ones too.
    """
    import torch

    kinds: dict[type[Module], type[Module]] = (
        _layers() if convolutions else {torch.nn.Linear: _layers()[torch.nn.Linear]}
    )
    for part in list(module.modules()):
        into, weight = kinds.get(type(part)), getattr(part, "weight", None)
        if into is None or not isinstance(weight, torch.nn.Parameter) or weight.numel() < _LEAST:
            continue
        weight = weight.data
        rows = tuple(range(1, weight.dim()))
        scale = (weight.abs().amax(dim=rows, keepdim=True).float() / 127).clamp_min(1e-12)
        _become(part, into, (weight.float() / scale).round().to(torch.int8), scale)
    return module


def save(module: Module, part: Component, folder: Path) -> None:
    """Write a part that was shrunk into ``folder``: its weights and its configuration.

    Numbers of 32 bits that are not scales become 16 where those can hold them.
    """
    from safetensors.torch import save_file

    tensors = {name: _smaller(name, value) for name, value in module.state_dict().items()}
    save_file(_unshared(tensors), folder / _file_name(part), metadata={"format": "pt"})
    config = {**part.config, QUANTIZED: {"quant_method": EIGHT_BITS}}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def load(home: object, part: Component, dtype: torch.dtype) -> Module:
    """Load what ``save`` has written, a class of ``home`` (diffusers or transformers), to compute in ``dtype``.

    No weight is ever there in full. Raises ``BuildFailed`` where the files are not what the configuration says.
    """
    from accelerate import init_empty_weights
    from safetensors.torch import load_file

    tensors = {name: value for file in part.files for name, value in load_file(file).items()}
    kind, config = (
        getattr(home, part.class_name),
        {name: each for name, each in part.config.items() if name != QUANTIZED},
    )
    with init_empty_weights(include_buffers=False):
        module: Module = (
            kind.from_config(config) if hasattr(kind, "from_config") else kind(kind.config_class.from_dict(config))
        )
    for name, layer in module.named_modules():
        if (scale := tensors.pop(name + _SCALE, None)) is None:
            continue
        into, weight = _layers().get(type(layer)), tensors.pop(f"{name}.weight", None)
        if into is None or weight is None or weight.shape != getattr(layer, "weight", weight).shape:
            raise BuildFailed(f"{part.name} has a weight in 8 bits where none can be: {name}", "get its files again")
        _become(layer, into, weight, scale)
    found = {name: value.to(dtype) if value.is_floating_point() else value for name, value in tensors.items()}
    if module.load_state_dict(found, strict=False, assign=True).unexpected_keys:
        raise BuildFailed(f"{part.name} has other weights than its config.json says", "get its files again")
    if tie := getattr(module, "tie_weights", None):
        tie()
    return module.eval().requires_grad_(False)


@cache
def _layers() -> dict[type[Module], type[Module]]:
    """Kinds of layers, with those that have their weights in 8 bits."""
    import torch
    from torch.nn.functional import linear

    class Int8Linear(torch.nn.Linear):
        scale: Tensor

        def forward(self, values: Tensor) -> Tensor:
            return linear(values, _full(self.weight, self.scale, values), self.bias)

    class Int8Conv2d(torch.nn.Conv2d):
        scale: Tensor

        def forward(self, values: Tensor) -> Tensor:
            result: Tensor = self._conv_forward(values, _full(self.weight, self.scale, values), self.bias)
            return result

    return {torch.nn.Linear: Int8Linear, torch.nn.Conv2d: Int8Conv2d}


def _full(weight: Tensor, scale: Tensor, like: Tensor) -> Tensor:
    return weight.to(like.dtype) * scale.to(like.dtype)


def _become(layer: Module, into: type[Module], weight: Tensor, scale: Tensor) -> None:
    import torch

    layer.weight = torch.nn.Parameter(weight, requires_grad=False)
    layer.register_buffer("scale", scale)
    layer.__class__ = into


def _smaller(name: str, value: Tensor) -> Tensor:
    import torch

    fits = value.dtype == torch.float32 and not name.endswith(_SCALE) and value.abs().max() < 2**15
    return (value.half() if fits else value).contiguous()


def _unshared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the later names of tensors that are one: files keep each once."""
    seen: dict[int, str] = {}
    return {name: value for name, value in tensors.items() if seen.setdefault(value.data_ptr(), name) == name}


def _file_name(part: Component) -> str:
    return "model.safetensors" if "architectures" in part.config else "diffusion_pytorch_model.safetensors"
