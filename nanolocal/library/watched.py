"""Engines, watched: what becomes of each build is remembered, and its licence is told before its first answer."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

from nanolocal.chat.events import Embedded, EngineEvent, FirstUse, ImageStep, Loading, ReasoningDelta, TextDelta
from nanolocal.chat.ports import Engines, Job
from nanolocal.chat.routes import Build
from nanolocal.errors import BuildFailed
from nanolocal.library.library import Library


class WatchedEngines:
    """Implements ``chat.ports.Engines`` over others. Builds below ``program`` came with it and need no licence told.

    ``tells_licences`` is false where nobody would see it: then it is told the next time.
    """

    def __init__(self, engines: Engines, library: Library, program: Path, *, tells_licences: bool = True) -> None:
        self._engines = engines
        self._library = library
        self._program = program
        self._tells_licences = tells_licences

    async def run(self, build: Build, job: Job, stop: asyncio.Event) -> AsyncGenerator[EngineEvent]:
        """As ``Engines.run``; a build that fails to load again and again is set aside, and the error says so."""
        if licence := await asyncio.to_thread(self._licence, build):
            yield FirstUse(build.id, licence)
        has_answered, is_loading = False, False
        try:
            async with aclosing(self._engines.run(build, job, stop)) as events:
                async for event in events:
                    if isinstance(event, Loading):
                        is_loading = event.fraction < 1.0
                    if isinstance(event, TextDelta | ReasoningDelta | ImageStep | Embedded) and not has_answered:
                        has_answered = True
                        self._library.health.worked(build)
                    yield event
        except BuildFailed as error:
            words = _words(error.message, build, is_loading)
            if has_answered or not self._library.health.failed(build, words):
                raise
            self._library.mark()
            hint = f"it is set aside now; nanolocal models verify {build.id}, or models release {build.id} to try again"
            raise BuildFailed(error.message, hint) from error

    def _licence(self, build: Build) -> str:
        """What to say before the first answer of ``build``; from now on it counts as said."""
        records = self._library.records
        record = records.of(build.sha256)
        if not self._tells_licences or record.licence_shown or build.path.is_relative_to(self._program):
            return ""
        from nanolocal.library.catalogue import shelf, stored

        words = stored.first_words(build, stored.model_of(build, shelf.load()))
        records.put(build.sha256, replace(record, licence_shown=round(time.time(), 3)))
        records.save()
        return words


def _words(message: str, build: Build, is_loading: bool) -> str:
    """What may be kept of a failure, which is not encrypted: an engine that has seen the prompt may have quoted it."""
    words = message.replace(f"the engine of {build.id} ", "its engine ")
    return words if is_loading else words.partition(": ")[0]
