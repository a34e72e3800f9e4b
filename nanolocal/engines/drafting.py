"""Whether a draft makes a build faster: the same answers with and without it, in turn, in one engine."""

import asyncio
import statistics
from contextlib import aclosing

from nanolocal.chat.events import EngineDone
from nanolocal.chat.messages import Message, Role
from nanolocal.chat.ports import TextJob
from nanolocal.chat.routes import Build
from nanolocal.chat.tuning import Tuning
from nanolocal.engines import governor
from nanolocal.engines.governor import Setup
from nanolocal.engines.pool import EnginePool
from nanolocal.engines.settled import Settled
from nanolocal.errors import OutOfMemory

_ASKED = (
    "Explain how a refrigerator works, step by step, to a curious child.",
    "Write a Python function that returns the prime numbers below n, and explain each line.",
    "Tell a short story about a lighthouse keeper who finds a letter.",
)
_N_CTX, _TOKENS = 2048, 96


async def gain_of(build: Build, draft: Build, tuning: Tuning, memory: int) -> float:
    """How many times as fast ``build`` writes with ``draft``, in the middle of some answers.

    Raises ``OutOfMemory`` where ``memory`` bytes do not hold both, ``EngineFailed`` when the build fails.
    """
    n_ctx = min(_N_CTX, build.context_length or _N_CTX)
    if governor.peak(build, Setup(n_ctx, tuning=tuning, draft=draft)) > memory:
        raise OutOfMemory(f"there is no memory for {build.id} and {draft.id} together", "choose a smaller build")
    pool = EnginePool(memory, tunings=Settled(tuning, draft))
    ratios = []
    try:
        await _speed(pool, build, _job(_ASKED[0], n_ctx, drafts=True))  # finds the weights that are not in memory yet
        for number, text in enumerate(_ASKED):
            speeds = {}
            for drafts in (False, True) if number % 2 else (True, False):
                speeds[drafts] = await _speed(pool, build, _job(text, n_ctx, drafts=drafts))
            ratios.append(speeds[True] / speeds[False] if speeds[False] else 1.0)
    finally:
        await pool.close(keeps=False)
    return statistics.median(ratios)


def _job(text: str, n_ctx: int, *, drafts: bool) -> TextJob:
    return TextJob((Message(Role.USER, text),), n_ctx, min(_TOKENS, n_ctx // 2), temperature=0.0, drafts=drafts)


async def _speed(pool: EnginePool, build: Build, job: TextJob) -> float:
    """Tokens a second."""
    speed = 0.0
    async with aclosing(pool.run(build, job, asyncio.Event())) as events:
        async for event in events:
            if isinstance(event, EngineDone):
                speed = event.timing.decode_tok_s
    return speed
