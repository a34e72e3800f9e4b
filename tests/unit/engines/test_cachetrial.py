"""When a step cache is on: measured to be faster in every round, and hardly to be seen."""

import asyncio
import io
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from nanolocal.chat.drawing import STEP_CACHES
from nanolocal.chat.events import EngineEvent
from nanolocal.chat.ports import ImageJob, Job
from nanolocal.chat.routes import Build, Kind
from nanolocal.chat.tuning import Tuning
from nanolocal.engines.cachetrial import Round, distance_of, pays, tune
from nanolocal.engines.pool import EnginePool
from nanolocal.engines.search import Tried
from nanolocal.engines.settled import Settled
from tests.fakes.pipelines import write_pipelines
from tests.unit.engines.helpers import build_of, listen, with_pool

JOB = ImageJob("a red boat", 64, 64, 6, 4.0, seed=7)


def of_one_colour(level: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (level, level, level)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [
        ([Round(1.5, 0.001), Round(1.2, 0.02)], True),
        ([Round(1.5, 0.001), Round(1.05, 0.001)], False),
        ([Round(1.5, 0.001), Round(1.5, 0.03)], False),
        ([Round(3.0, 0.5), Round(3.0, 0.5)], False),
    ],
)
def test_a_cache_pays_where_every_round_is_faster_and_nearly_the_same(rounds: list[Round], expected: bool) -> None:
    assert pays(rounds) is expected


def test_the_distance_of_pictures_is_their_mean_difference() -> None:
    assert distance_of(of_one_colour(10), of_one_colour(10)) == 0
    assert distance_of(of_one_colour(0), of_one_colour(255)) == 1
    assert distance_of(of_one_colour(0), of_one_colour(51)) == pytest.approx(0.2)


class Known(Settled):
    """Knows of a cache that pays."""

    def step_cache(self, build: Build) -> str:
        return STEP_CACHES[0]


class Watched:
    """A pool that notes the caches of its jobs."""

    def __init__(self, pool: EnginePool) -> None:
        self._pool = pool
        self.caches: list[str | None] = []

    def run(self, build: Build, job: Job, stop: asyncio.Event) -> AsyncGenerator[EngineEvent]:
        assert isinstance(job, ImageJob)
        self.caches.append(job.cache)
        return self._pool.run(build, job, stop)


def test_every_cache_is_measured_at_equal_seeds_and_what_is_known_is_used_and_told(tmp_path: Path) -> None:
    flux = build_of(write_pipelines(tmp_path, "flux")["flux"], Kind.IMAGE)
    tried: list[Tried] = []

    async def both(pool: EnginePool) -> tuple[tuple[str, float], list[str | None], list[str]]:
        engines = Watched(pool)
        found = await tune(engines, flux, JOB, tried.append)
        receipts = [(await listen(pool, flux, job)).done.pictures[0].receipt for job in (JOB, replace(JOB, cache=""))]
        return found, engines.caches, receipts

    (name, gain), caches, receipts = with_pool(both, tunings=Known(Tuning()))
    assert [each.what.partition(" ")[0] for each in tried] == list(STEP_CACHES)
    assert [caches.count(each) for each in STEP_CACHES] == [3] * len(STEP_CACHES)
    assert caches.count("") == 1 + 3 * len(STEP_CACHES)
    taken = [each.what.partition(" ")[0] for each in tried if each.is_taken]
    assert name == (taken[-1] if taken else "")
    assert (gain > 1.0) == bool(taken)
    assert f'"cache":"{STEP_CACHES[0]}"' in receipts[0]
    assert '"cache":""' in receipts[1]
