"""Work that hardly changes from one step to the next, and is then not done again: the cache hooks of diffusers.

A picture drawn so is another one, if mostly by little. So none is on unless a job asks for it, and each job begins
with an empty cache: what was drawn before has no say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nanolocal.chat.drawing import STEP_CACHES
from nanolocal.errors import UsageError

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

_LAST_TIMESTEPS = (-1, 901)
"""Those in which attention may be what it was: not the first ones, in which the picture finds its form."""


def use(pipeline: DiffusionPipeline, name: str) -> None:
    """Draw with the cache of that name (``STEP_CACHES``), for ``""`` with none; raises ``UsageError``."""
    part: Any = getattr(pipeline, "transformer", None)
    can_cache = hasattr(part, "enable_cache")
    if can_cache and part.is_cache_enabled:
        part.disable_cache()
    if not name:
        return
    if name not in STEP_CACHES or not can_cache:
        known = (
            "leave it out: this build keeps nothing" if not can_cache else f"those there are: {', '.join(STEP_CACHES)}"
        )
        raise UsageError(f"{type(pipeline).__name__} has no step cache {name[:40]!r}", known)
    part.enable_cache(_config(pipeline, name))


def _config(pipeline: DiffusionPipeline, name: str) -> Any:  # noqa: ANN401 - each has a class of its own
    import diffusers

    kind, _, strength = name.rpartition("-")
    if kind == "first-block":
        return diffusers.FirstBlockCacheConfig(threshold=float(strength))
    common: dict[str, Any] = {
        "spatial_attention_block_skip_range": int(strength),
        "spatial_attention_timestep_skip_range": _LAST_TIMESTEPS,
        "current_timestep_callback": lambda: pipeline.current_timestep,
    }
    if kind == "pyramid":
        return diffusers.PyramidAttentionBroadcastConfig(**common)
    return diffusers.FasterCacheConfig(**common, is_guidance_distilled=True, attention_weight_callback=lambda _: 0.5)
