"""How a pipeline is meant to draw, told by its family, its configurations and its name: size, steps and guidance.

Sizes follow from what the weights were trained at. Steps and guidance are those that the makers of each family give
(their model cards); those that were distilled for few steps draw worse with more, and with guidance burn the picture.
"""

import re
from collections.abc import Mapping

from nanolocal.formats.pipeline_folder import Component, PipelineFacts
from nanolocal.formats.pipelines import UPSCALERS, Family, Role

_USUAL: Mapping[Family, tuple[int, int, float]] = {
    # family: (side in pixels where no configuration says, steps, guidance)
    Family.SD: (512, 25, 7.5), Family.SDXL: (1024, 30, 5.0), Family.SD3: (1024, 28, 4.5), Family.FLUX: (1024, 28, 3.5),
    Family.FLUX2: (1024, 28, 4.0), Family.CHROMA: (1024, 35, 5.0), Family.QWEN: (1328, 30, 4.0),
    Family.Z_IMAGE: (1024, 30, 4.0), Family.SANA: (1024, 20, 4.5), Family.PIXART: (1024, 20, 4.5),
    Family.LUMINA: (1024, 30, 4.0), Family.AURA: (1024, 30, 3.5),
}  # fmt: skip
_MULTIPLES = {Family.SD: 8, Family.SDXL: 8, Family.SANA: 32}
_USUAL_MULTIPLE = 16
"""Pixels that a side is a multiple of: one latent of the decoder, and where the transformer takes two by two, those."""
_FAST = re.compile(r"(?:^|[^a-z])(turbo|lightning|schnell|lcm|hyper|flash|klein|sprint|tcd|dmd2?)(?:[^a-z]|$)")
_STEPS = re.compile(r"(?:^|[^0-9])([1-9]|1[0-6])[-_ ]?steps?(?:[^a-z]|$)")
_BY_WORD: Mapping[str, tuple[int, float]] = {
    # word: (steps, guidance)
    "turbo": (4, 0.0), "lightning": (4, 0.0), "schnell": (4, 0.0), "lcm": (4, 1.0), "hyper": (4, 0.0),
    "flash": (4, 0.0), "klein": (4, 1.0), "sprint": (2, 4.5), "tcd": (4, 0.0), "dmd": (4, 0.0), "dmd2": (4, 0.0),
}  # fmt: skip
_FAST_SCHEDULERS = {
    "LCMScheduler": "lcm",
    "FlowMatchLCMScheduler": "lcm",
    "TCDScheduler": "tcd",
    "SCMScheduler": "sprint",
}
_EULERS = frozenset({"EulerAncestralDiscreteScheduler", "EulerDiscreteScheduler"})
_UNET_FAMILIES = frozenset({Family.SD, Family.SDXL})
_Z_TURBO_STEPS = 8
_GUIDED_IN_ITSELF = 8.0
"""The guidance of models that take it as an input, and draw no second picture for it."""
_ENLARGING = {2: (20, 0.0), 4: (50, 9.0)}
"""Steps and guidance by the factor, as their makers' examples and pipelines have them."""
_LEAST_ENLARGED = 128
"""Pixels; below, nothing is left for the innermost level of its network."""
_ENLARGED_MULTIPLES = {2: 64, 4: 32}
"""Pixels that sides of the larger picture are a multiple of."""
_SMALLEST, _LEAST_SIDE, _MOST_SIDE = 8, 64, 4096
_MOST_STRETCHED = 4


def habits_of(facts: PipelineFacts, name: str) -> dict[str, float]:
    """The settings that a pipeline draws with unless told otherwise, the sizes that it takes in pixels among them.

    ``name`` is what it is called, in whatever case.
    """
    width, height = native_size(facts)
    steps, guidance = _pace(facts, name.lower())
    factor = UPSCALERS.get(facts.pipeline)
    if factor is not None:
        return _enlarging(facts, factor)
    multiple = max(_MULTIPLES.get(facts.family, _USUAL_MULTIPLE), scale_of(facts.decoder))
    least = max(_LEAST_SIDE, multiple, min(width, height) // _MOST_STRETCHED // multiple * multiple)
    most = _most_side(facts, max(width, height)) // multiple * multiple
    return {
        "width": width, "height": height, "steps": steps, "guidance": guidance, "multiple": multiple,
        "min_width": min(least, width), "min_height": min(least, height), "max_width": most, "max_height": most,
    }  # fmt: skip


def _enlarging(facts: PipelineFacts, factor: int) -> dict[str, float]:
    """The same for one that makes a picture ``factor`` times as large, whose own size is what counts."""
    multiple = _ENLARGED_MULTIPLES[factor]
    steps, guidance = _ENLARGING[factor]
    own = max(native_size(facts)[0] // multiple * multiple, _LEAST_ENLARGED)
    return {
        "width": own, "height": own, "steps": steps, "guidance": guidance, "multiple": multiple, "upscales": factor,
        "min_width": _LEAST_ENLARGED, "min_height": _LEAST_ENLARGED, "max_width": _MOST_SIDE, "max_height": _MOST_SIDE,
    }  # fmt: skip


def habits_by_name(family: Family, name: str) -> dict[str, float]:
    """The same for one file, of which its family and its name are all that is known."""
    side, steps, guidance = _USUAL[family]
    name = name.lower()
    if found := _FAST.search(name):
        steps, guidance = _few(family, found[1], name)
    return {"width": side, "height": side, "steps": steps, "guidance": guidance}


def own_size(settings: Mapping[str, float]) -> tuple[int, int] | None:
    """The size in pixels that settings name, some of which a card may have said; nothing where nobody can mean it."""
    width, height = settings.get("width", 0), settings.get("height", 0)
    if not all(_SMALLEST <= side <= _MOST_SIDE for side in (width, height)):
        return None
    return int(width), int(height)


def native_size(facts: PipelineFacts) -> tuple[int, int]:
    """Width and height that it was trained at, in pixels."""
    usual = _USUAL[facts.family][0]
    size = facts.denoiser.config.get("sample_size")
    sides = [size, size] if isinstance(size, int) else size if isinstance(size, list) else []
    scale = scale_of(facts.decoder)
    pixels = [side * scale for side in sides if isinstance(side, int) and not isinstance(side, bool)]
    if len(pixels) != 2 or not all(_LEAST_SIDE // 2 <= side <= _MOST_SIDE for side in pixels):
        return usual, usual
    return pixels[1], pixels[0]


def scale_of(decoder: Component) -> int:
    """How many pixels a side its decoder makes of one latent."""
    keys = ("encoder_block_out_channels", "block_out_channels", "dim_mult")
    stages = next((found for key in keys if isinstance(found := decoder.config.get(key), list) and found), [0] * 4)
    return 1 << min(len(stages) - 1, 6)


def is_fast(facts: PipelineFacts, name: str) -> str:
    """The word for how it was distilled for few steps, ``""`` where it was not."""
    scheduler = facts.of(Role.SCHEDULER)[0]
    if found := _FAST.search(name):
        return found[1]
    for word, is_so in (
        ("lcm", facts.pipeline.startswith("LatentConsistency")),
        ("sprint", "Sprint" in facts.pipeline),
        (_FAST_SCHEDULERS.get(scheduler.class_name, ""), scheduler.class_name in _FAST_SCHEDULERS),
    ):
        if is_so:
            return word
    if facts.family is Family.FLUX and facts.denoiser.config.get("guidance_embeds") is False:
        return "schnell"
    config = scheduler.config
    ends_at_noise = config.get("timestep_spacing") == "trailing" and not config.get("rescale_betas_zero_snr")
    if facts.family in _UNET_FAMILIES and scheduler.class_name in _EULERS and ends_at_noise:
        return "turbo"
    return ""


def _pace(facts: PipelineFacts, name: str) -> tuple[int, float]:
    """Steps and guidance."""
    _, steps, guidance = _USUAL[facts.family]
    word = is_fast(facts, name)
    if not word:
        return steps, guidance
    steps, guidance = _few(facts.family, word, name)
    if word == "lcm" and facts.denoiser.config.get("time_cond_proj_dim"):
        guidance = _GUIDED_IN_ITSELF
    return steps, guidance


def _few(family: Family, word: str, name: str) -> tuple[int, float]:
    """Steps and guidance of a model that was distilled for few steps; its name may say for how many."""
    steps, guidance = _BY_WORD[word]
    if family is Family.Z_IMAGE:
        steps = _Z_TURBO_STEPS
    if family in (Family.QWEN, Family.CHROMA):
        guidance = 1.0
    said = _STEPS.search(name)
    return int(said[1]) if said else steps, guidance


def _most_side(facts: PipelineFacts, usual: int) -> int:
    """The longest side: four times its own, or as far as its table of places goes."""
    most = min(_MOST_SIDE, _MOST_STRETCHED * usual)
    places, patch = facts.denoiser.config.get("pos_embed_max_size"), facts.denoiser.config.get("patch_size")
    if facts.family is Family.SD3 and isinstance(places, int) and isinstance(patch, int) and places > 0 < patch:
        most = min(most, max(places * patch * scale_of(facts.decoder), usual))
    return most
