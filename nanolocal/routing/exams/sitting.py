"""A build sits an exam: it answers every item at temperature 0, and each answer is marked at once."""

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from nanolocal.chat import jobs
from nanolocal.chat.events import EngineDone, TextDelta
from nanolocal.chat.messages import Message, Role, Stopped, Wishes
from nanolocal.chat.ports import Engines
from nanolocal.chat.routes import Route
from nanolocal.routing.exams.marking import is_right
from nanolocal.routing.exams.paper import Exam, Item

_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_THINKING_TOKENS = 1000


async def sit(
    engines: Engines, route: Route, exam: Exam, items: Sequence[Item], stop: asyncio.Event
) -> AsyncGenerator[bool]:
    """Whether each answer of the routed build is right, one after the other; setting ``stop`` ends it early.

    A build that reasons may think before each answer. Raises ``EngineFailed`` when the engine cannot load or dies.
    """
    thinking = _THINKING_TOKENS if "reasoning" in route.build.purposes else 0
    wishes = Wishes(max_tokens=exam.max_tokens + thinking, temperature=0.0, seed=1)
    for item in items:
        if stop.is_set():
            return
        job = jobs.text_job((Message(Role.USER, item.ask),), route, wishes)
        pieces, is_whole = list[str](), False
        async with aclosing(engines.run(route.build, job, stop)) as events:
            async for event in events:
                match event:
                    case TextDelta(text, _):
                        pieces.append(text)
                    case EngineDone(stopped=stopped):
                        is_whole = stopped is not Stopped.USER
        if not is_whole:
            return
        yield is_right(_THOUGHT.sub("", "".join(pieces)), item.checks)
