"""What an answer consumes: what prices are for, and what the router reckons with."""

from dataclasses import dataclass

PICTURE_TOKENS = 4096
"""The most tokens that a picture may become; most models make a few hundred of one."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What an answer consumed. ``cached_tokens`` is the part of ``prompt_tokens`` that was not computed again.

    ``pixel_steps`` is width x height x denoising steps done, ``loads`` how often the build was brought into memory.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    pixel_steps: int = 0
    loads: int = 0
