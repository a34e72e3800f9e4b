"""The other pipelines of the same weights: picture to picture, into a mask, along a ControlNet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nanolocal.engines.failures import first_line, is_of_memory
from nanolocal.engines.protocol import RunImage
from nanolocal.errors import BuildFailed, Damaged, UsageError
from nanolocal.formats.pipeline_folder import check_controlnet
from nanolocal.formats.pipelines import CONTROLNETS, PIPELINES

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from torch.nn import Module

_CHANGES_PICTURES = ("Edit", "Fill", "Img2Img", "Inpaint", "InstructPix2Pix", "Kontext", "Upscale", "Flux2")
"""In the names of pipelines that take a picture as they are."""
_OTHERWISE_CALLED = {"StableDiffusion3ControlNetInpaintPipeline": "StableDiffusion3ControlNetInpaintingPipeline"}
_ABILITIES = {"Img2Img": "change a picture", "Inpaint": "draw into a mask", "ControlNet": "follow a control picture"}


class Variants:
    """Pipelines made of the parts of ``own``, none of them copied."""

    def __init__(self, own: DiffusionPipeline) -> None:
        self._own = own
        self._made: dict[str, DiffusionPipeline] = {}
        self._net: tuple[str, Module] | None = None

    @property
    def takes_pictures(self) -> bool:
        """Whether the build's own pipeline changes pictures."""
        return any(word in type(self._own).__name__ for word in _CHANGES_PICTURES)

    def for_job(self, job: RunImage) -> DiffusionPipeline:
        """The pipeline that draws ``job``; raises ``UsageError`` where the family has none."""
        name = type(self._own).__name__
        net = self._controlnet(job.controlnet) if job.controlnet else None
        if net is None:
            self._net = None
            self._made = {made: pipeline for made, pipeline in self._made.items() if "ControlNet" not in made}
        wanted = name
        if not self.takes_pictures:
            change = "Inpaint" if job.mask is not None else "Img2Img" if job.source is not None else ""
            wanted = f"{name.removesuffix('Pipeline')}{'ControlNet' if net is not None else ''}{change}Pipeline"
            wanted = _OTHERWISE_CALLED.get(wanted, wanted)
        elif net is not None:
            raise _unable(name, "ControlNet")
        if wanted == name:
            return self._own
        if wanted not in self._made:
            self._made[wanted] = self._make(wanted, net)
        return self._made[wanted]

    def _make(self, wanted: str, net: Module | None) -> DiffusionPipeline:
        import diffusers

        cls = getattr(diffusers, wanted, None)
        if cls is None:
            raise _unable(type(self._own).__name__, next(word for word in reversed(_ABILITIES) if word in wanted))
        expected, optional = cls._get_signature_keys(cls)
        parts: dict[str, Any] = {name: self._own.components.get(name) for name in expected}
        if net is not None:
            parts["controlnet"] = net
        options = {name: self._own.config[name] for name in optional if name in self._own.config}
        pipeline = cls(**parts, **options)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def _controlnet(self, folder: str) -> Module:
        """The ControlNet in ``folder``, loaded once as long as it is the same one; raises ``UsageError``."""
        import diffusers

        if self._net is not None and self._net[0] == folder:
            return self._net[1]
        self._net = None
        self._made = {made: pipeline for made, pipeline in self._made.items() if "ControlNet" not in made}
        path = Path(folder)
        try:
            found = check_controlnet(path)
        except (Damaged, BuildFailed) as error:
            raise UsageError(error.message, error.hint) from error
        if PIPELINES.get(type(self._own).__name__) not in CONTROLNETS.get(found.class_name, ()):
            raise UsageError(f"{path.name} is no ControlNet for this build", "choose one that was made for its family")
        variant = next((word for word in ("fp16", "bf16") if f".{word}" in found.files[0].name), None)
        try:
            net = getattr(diffusers, found.class_name).from_pretrained(
                folder, local_files_only=True, use_safetensors=True, torch_dtype=self._own.dtype, variant=variant
            )
        except Exception as error:  # torch, diffusers and safetensors each raise their own
            if is_of_memory(error):
                raise
            raise UsageError(
                f"the ControlNet {path.name} cannot be loaded: {first_line(error)}", "get its files again"
            ) from error
        self._net = (folder, net.to(self._own.device))
        return self._net[1]


def _unable(name: str, ability: str) -> UsageError:
    return UsageError(f"{name} cannot {_ABILITIES[ability]}", "choose another build with --model")
