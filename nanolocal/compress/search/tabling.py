"""The tables of losses of a run: each deeper than the one before, as deep as the plan says and there is time for."""

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import TypeVar

from nanolocal.compress.plan import DEPTHS, Plan, Tier
from nanolocal.compress.progress import Course
from nanolocal.compress.search import losses
from nanolocal.compress.search.losses import Evidence, Probing, Table
from nanolocal.compress.work.remembered import Remembered

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Depth:
    """Tables, the deepest last, and for each that one for rounded tensors; ``tier`` is how deep they go."""

    plain: tuple[Table, ...] = ()
    rounded: tuple[Table, ...] = ()
    tier: Tier = Tier.STOCK


async def tables(
    runner: Remembered,
    evidence: Evidence,
    probing: Probing,
    plan: Plan,
    seed: int,
    course: Course,
    deadline: float,
) -> Depth:
    """Find out what each tensor loses in each type; a depth that is not done by ``deadline`` is left out."""
    if plan.tier is Tier.STOCK:
        return Depth()
    course.begin("errors", "what each tensor loses in each type")
    erred = await _in_time(losses.errors(runner, evidence, course.tell), deadline)
    if erred is None:
        return Depth()
    rounded = None
    if plan.rounds:
        course.begin("rounded errors", "what each tensor loses when it is rounded")
        rounded = await _in_time(losses.rounded_errors(runner, evidence, course.tell), deadline)
    found, tier = [losses.by_importance(evidence, erred, seed)], Tier.WEIGHTED
    for depth in (Tier.QUADRATIC, Tier.PROBED):
        if DEPTHS.index(plan.tier) < DEPTHS.index(depth):
            break
        course.begin(str(depth), "probing tensor by tensor")
        if depth is Tier.QUADRATIC:
            probed = losses.by_probes(runner, evidence, erred, probing, course.tell, seed)
        else:
            probed = losses.by_divergence(runner, evidence, probing, course.tell, seed)
        table = await _in_time(probed, deadline)
        if table is None:
            break
        found.append(table)
        tier = depth
    adapted = [] if rounded is None else [losses.when_rounded(table, erred, rounded) for table in found]
    return Depth(tuple(found), tuple(adapted), tier)


async def _in_time(work: Coroutine[None, None, T], deadline: float) -> T | None:
    """The result of ``work``, nothing where it is not there by ``deadline``; what it had found out is kept."""
    try:
        return await asyncio.wait_for(work, max(deadline - time.monotonic(), 0.001))
    except TimeoutError:
        return None
