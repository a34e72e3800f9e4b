"""What a pipeline is called with: a job in the words of its family, and refusals of what the family cannot do."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from nanolocal.engines.diffusion.inputs import opened
from nanolocal.engines.protocol import RunImage
from nanolocal.errors import UsageError
from nanolocal.formats.pipelines import PIPELINES, UPSCALERS, Family

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

_DISTILLED = frozenset({Family.FLUX, Family.FLUX2})
"""Families that were taught to follow the prompt without a second, negative one."""
_FILES = {"image": "change a picture", "mask_image": "draw into a mask"}
_NEEDS_PICTURE = ("Edit", "Fill", "Img2Img", "Inpaint", "Pix2Pix", "Upscale")
"""In the names of pipelines that make nothing out of nothing."""
_AS_IT_IS = {"use_resolution_binning": False, "clean_caption": False}
"""The size that was asked for and the prompt as it was written."""


def arguments(pipeline: DiffusionPipeline, job: RunImage) -> dict[str, Any]:
    """What ``pipeline`` is called with for ``job``, beside prompts, seed and callback; raises ``UsageError``."""
    taken = inspect.signature(type(pipeline).__call__).parameters
    name = type(pipeline).__name__
    called: dict[str, Any] = {"num_inference_steps": job.steps, "output_type": "np"}
    called |= {option: value for option, value in _AS_IT_IS.items() if option in taken}
    if "height" in taken:
        called |= {"height": job.height, "width": job.width}
    called |= _guidance(pipeline, job, set(taken))
    size = (job.width, job.height) if "height" in taken or job.mask is not None else None
    if (factor := UPSCALERS.get(name)) is not None:
        size = (job.width // factor, job.height // factor)
    if job.source is not None:
        called["image"] = opened(job.source, size)
        if "strength" in taken:
            called["strength"] = job.strength
    if job.mask is not None:
        called["mask_image"] = opened(job.mask, size).convert("L")
    if job.control is not None:
        called["control_image" if "control_image" in taken else "image"] = opened(job.control, size)
    for option, ability in _FILES.items():
        if option in called and option not in taken:
            raise UsageError(f"{name} cannot {ability}", "choose another build with --model")
    if job.source is None and any(word in name for word in _NEEDS_PICTURE):
        raise UsageError(f"{name} changes a picture, and there is none", "give one with --from PICTURE")
    return called


def prompts(pipeline: DiffusionPipeline, job: RunImage, prompt: str, negative: str) -> dict[str, str]:
    """The prompts that go in; raises ``UsageError`` for a negative one where the family has none."""
    taken = inspect.signature(type(pipeline).__call__).parameters
    family = PIPELINES.get(type(pipeline).__name__)
    if not negative:
        is_needed = family is Family.QWEN and job.guidance > 1  # without one it does not follow the prompt at all
        return {"prompt": prompt, **({"negative_prompt": " "} if is_needed else {})}
    if "negative_prompt" not in taken or family in _DISTILLED:
        raise UsageError(f"{type(pipeline).__name__} takes no negative prompt", "leave --negative out")
    return {"prompt": prompt, "negative_prompt": negative}


def steps_of(job: RunImage) -> int:
    """How many steps one picture takes at the most: of a picture that is changed only the last ones."""
    return (
        max(1, min(int(job.steps * job.strength), job.steps)) if job.source is not None and job.strength else job.steps
    )


def _guidance(pipeline: DiffusionPipeline, job: RunImage, taken: set[str]) -> dict[str, float]:
    """How strictly the prompt is followed, in the family's words."""
    if PIPELINES.get(type(pipeline).__name__) is Family.QWEN and "true_cfg_scale" in taken:
        return {"true_cfg_scale": job.guidance}
    return {"guidance_scale": job.guidance} if "guidance_scale" in taken else {}
