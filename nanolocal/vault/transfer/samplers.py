"""How other programs call the schedulers of diffusers.

By https://huggingface.co/docs/diffusers/api/schedulers/overview for AUTOMATIC1111 (Forge and SD.Next go on with it),
and comfy/samplers.py for ComfyUI. What spaces the steps ("Karras") is another setting and no part of these names.
"""

import re

_NAMES = {
    # (diffusers, AUTOMATIC1111 and those after it, ComfyUI)
    "DDIMScheduler": ("DDIM", "ddim"),
    "DDPMScheduler": ("DDPM", "ddpm"),
    "DEISMultistepScheduler": ("DEIS", "deis"),
    "DPMSolverMultistepScheduler": ("DPM++ 2M", "dpmpp_2m"),
    "DPMSolverSDEScheduler": ("DPM++ 2M SDE", "dpmpp_2m_sde"),
    "DPMSolverSinglestepScheduler": ("DPM++ SDE", "dpmpp_sde"),
    "EulerAncestralDiscreteScheduler": ("Euler a", "euler_ancestral"),
    "EulerDiscreteScheduler": ("Euler", "euler"),
    "FlowMatchEulerDiscreteScheduler": ("Euler FlowMatch", "flow_euler"),
    "FlowMatchHeunDiscreteScheduler": ("Heun FlowMatch", "flow_heun"),
    "HeunDiscreteScheduler": ("Heun", "heun"),
    "IPNDMScheduler": ("IPNDM", "ipndm"),
    "KDPM2AncestralDiscreteScheduler": ("DPM2 a", "dpm_2_ancestral"),
    "KDPM2DiscreteScheduler": ("DPM2", "dpm_2"),
    "LCMScheduler": ("LCM", "lcm"),
    "LMSDiscreteScheduler": ("LMS", "lms"),
    "PNDMScheduler": ("PLMS", "plms"),
    "TCDScheduler": ("TCD", "tcd"),
    "UniPCMultistepScheduler": ("UniPC", "uni_pc"),
}
_CLASSES = {name.casefold(): scheduler for scheduler, names in _NAMES.items() for name in names}
_SPACING = re.compile(r"\s+(?:karras|exponential|polyexponential|sgm uniform|simple|beta|normal)$")
_KNOWN_BY_CLASS = re.compile(r"[A-Z]\w{0,60}Scheduler")


def sampler_of(scheduler: str) -> str:
    """The name that AUTOMATIC1111 has for a class of diffusers, or the class's own."""
    return _NAMES[scheduler][0] if scheduler in _NAMES else scheduler


def scheduler_of(sampler: str) -> str:
    """The class of diffusers for a name of AUTOMATIC1111 or ComfyUI, or of a class; ``""`` where there is none."""
    if _KNOWN_BY_CLASS.fullmatch(sampler):
        return sampler
    return _CLASSES.get(_SPACING.sub("", sampler.strip().casefold()), "")
