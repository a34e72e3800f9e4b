"""Engines that play a script, for tests of the turn and of the screen. They never answer a user."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from nanolocal.chat.events import EngineDone, EngineEvent, Reading, TextDelta
from nanolocal.chat.messages import Stopped, Timing, Usage
from nanolocal.chat.ports import Job
from nanolocal.chat.routes import Build

Script = Sequence[EngineEvent | Exception]


def says(*words: str, prompt_tokens: int = 10) -> list[EngineEvent | Exception]:
    """A script that reads a prompt, says the words and ends."""
    usage = Usage(prompt_tokens, 0, len(words))
    return [
        Reading(prompt_tokens, prompt_tokens),
        *(TextDelta(word, 1) for word in words),
        EngineDone(usage, Timing(decode_tok_s=50.0, cpu_s=0.5), Stopped.END),
    ]


class ScriptedEngines:
    """Plays ``scripts`` one run after the other; an exception in a script is raised there. ``stop`` ends a run."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts)
        self.jobs: list[Job] = []
        self.was_closed_early = False

    async def run(self, build: Build, job: Job, stop: asyncio.Event) -> AsyncGenerator[EngineEvent]:
        """Play the next script."""
        self.jobs.append(job)
        usage = Usage()
        try:
            for event in self._scripts.pop(0):
                await asyncio.sleep(0)
                if isinstance(event, Exception):
                    raise event
                if stop.is_set():
                    yield EngineDone(usage, Timing(), Stopped.USER)
                    return
                match event:
                    case Reading(_, total, cached):
                        usage = Usage(total, cached)
                    case TextDelta(_, tokens):
                        usage = Usage(usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens + tokens)
                yield event
        except GeneratorExit:
            self.was_closed_early = True
            raise
