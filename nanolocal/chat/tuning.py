"""How a build runs fastest on this machine, where that was measured; and what guessing ahead gained."""

from dataclasses import dataclass

LEAST_GAIN = 1.15
"""So much faster an answer must be written with guesses at what follows, for them to be made."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """Settings of an engine; as they stand here, they leave everything to it.

    ``batch`` is the tokens that are read in a step, ``flash`` ``on`` or ``off`` for flash attention, ``maps`` whether
    weights are read from where the file lies in memory. ``gpu_layers`` are the layers on a graphics card, -1 for all.
    It takes ``more_bytes`` of memory more than the usual settings. ``draft`` is the SHA-256 of a build that writes
    ahead. ``cache`` is the step cache of a build that draws (``chat.drawing.STEP_CACHES``).
    """

    threads: int = 0
    batch: int = 0
    flash: str = ""
    maps: bool = True
    gpu_layers: int = -1
    more_bytes: int = 0
    draft: str = ""
    cache: str = ""


USUAL = Tuning()


@dataclass(frozen=True, slots=True)
class Tuned:
    """The settings that were found for a build, how many times as fast it is with them, and when (since 1970)."""

    tuning: Tuning
    gain: float
    tried_at: float


def in_words(tuning: Tuning) -> str:
    """What is not as usual, as ``2 threads, 512 tokens a step``; ``as usual`` where nothing is."""
    parts = [
        f"{tuning.threads} thread{'' if tuning.threads == 1 else 's'}" if tuning.threads else "",
        f"{tuning.batch} tokens a step" if tuning.batch else "",
        f"flash attention {tuning.flash}" if tuning.flash else "",
        "" if tuning.maps else "weights in memory of its own",
        "a smaller build that writes ahead" if tuning.draft else "",
        f"the step cache {tuning.cache}" if tuning.cache else "",
        f"{tuning.gpu_layers} layers on the graphics card" if tuning.gpu_layers >= 0 else "",
    ]
    return ", ".join(filter(None, parts)) or "as usual"
