"""Whether a step cache pays for a build: pictures of equal seed with it and without, one right after the other.

It has to be faster in every round, and every picture has to be nearly the one that is drawn without.
"""

import asyncio
import io
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from nanolocal.chat.drawing import STEP_CACHES
from nanolocal.chat.events import EngineDone
from nanolocal.chat.ports import Engines, ImageJob
from nanolocal.chat.routes import Build
from nanolocal.engines.search import Tried
from nanolocal.errors import EngineFailed, UsageError

LEAST_GAIN, MOST_DISTANCE = 1.1, 0.02
"""How many times as fast, and how far off as the mean of all channels of all pixels, which go from 0 to 1."""
_SEEDS = (1, 2, 3)


@dataclass(frozen=True, slots=True)
class Round:
    """How many times as fast a picture was with the cache, and how far it is from the one without, 0 to 1."""

    gain: float
    distance: float


async def tune(engines: Engines, build: Build, job: ImageJob, tell: Callable[[Tried], None]) -> tuple[str, float]:
    """The cache that is fastest of those that certainly pay, and its gain; ``""`` and 1 for none.

    ``tell`` hears of each that the build can have. Raises ``EngineFailed``.
    """
    await _drawn(engines, build, replace(job, cache="", seed=_SEEDS[0]))  # loads, and warms up
    best, most = "", 1.0
    for name in STEP_CACHES:
        try:
            rounds = [await _round(engines, build, replace(job, seed=seed), name) for seed in _SEEDS]
        except UsageError:
            continue
        gain = statistics.median(each.gain for each in rounds)
        is_taken = pays(rounds) and gain > most
        distance = max(each.distance for each in rounds)
        tell(Tried(f"{name} (differs by {distance:.1%})", gain, is_taken))
        if is_taken:
            best, most = name, gain
    return best, most


def pays(rounds: Sequence[Round]) -> bool:
    """Whether it is on: certainly faster, and hardly to be seen."""
    return all(each.gain >= LEAST_GAIN and each.distance <= MOST_DISTANCE for each in rounds)


async def _round(engines: Engines, build: Build, job: ImageJob, name: str) -> Round:
    """Both ways, the other one first in every second round."""
    ways = ("", name) if (job.seed or 0) % 2 else (name, "")
    took = {way: await _drawn(engines, build, replace(job, cache=way)) for way in ways}
    (plain_s, plain), (cached_s, cached) = took[""], took[name]
    return Round(plain_s / cached_s, distance_of(plain, cached))


async def _drawn(engines: Engines, build: Build, job: ImageJob) -> tuple[float, bytes]:
    """Seconds, and the picture."""
    began = time.monotonic()
    async with aclosing(engines.run(build, job, asyncio.Event())) as events:
        async for event in events:
            if isinstance(event, EngineDone) and event.pictures:
                return time.monotonic() - began, event.pictures[0].data
    raise EngineFailed(f"{build.id} ended without a picture", "try again")


def distance_of(one: bytes, other: bytes) -> float:
    """The mean difference of two PNGs of the same size, over all channels of all pixels, 0 to 1."""
    from PIL import Image, ImageChops, ImageStat

    pictures = [Image.open(io.BytesIO(data), formats=["PNG"]).convert("RGB") for data in (one, other)]
    return statistics.fmean(ImageStat.Stat(ImageChops.difference(*pictures)).mean) / 255
