"""Vectors of texts, as many texts as there are: hold, run, settle for each part of them. Nothing is stored."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from nanolocal.chat.events import Embedded, EngineDone, EngineEvent, Loading
from nanolocal.chat.messages import Stopped, Usage
from nanolocal.chat.ports import EmbeddingJob, Engines, Hold, Ledger, Store
from nanolocal.chat.routes import Build
from nanolocal.errors import NanolocalError, UsageError

MOST_TOKENS = 8192
"""The longest text that is read whole, where the build knows that much."""
_STEP_TOKENS = 512
_SPECIALS = 8
"""Tokens that a vocabulary puts around a text, at the most."""
_PART_TEXTS, _PART_BYTES = 512, 2**20
"""What is held, run and charged at once."""
_MOST_BYTES = 8 * 2**20


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """Texts, the build that reads them, and how; ``key`` is the name that it is counted under."""

    texts: Sequence[str]
    build: Build
    truncates: bool = False
    normalises: bool = True
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Sum:
    """What all of it took: the last event."""

    usage: Usage
    cost_micro: int
    balance_micro: int
    stopped: Stopped


class Embedder:
    """Makes vectors. ``choose`` is given the name of a build, or ``None`` for the best one."""

    def __init__(self, choose: Callable[[str | None], Build], store: Store, ledger: Ledger, engines: Engines) -> None:
        self.choose = choose
        self._store = store
        self._ledger = ledger
        self._engines = engines

    async def run(self, request: EmbeddingRequest, stop: asyncio.Event) -> AsyncGenerator[EngineEvent | Sum]:
        """Yield ``Loading``, ``Reading`` and ``Embedded`` in the order of the texts; ``Sum`` is the last event.

        Setting ``stop`` ends it early. What was delivered is charged, also where it ends with an error, raised after
        the last event: ``UsageError`` for a text that the build cannot read, ``OutOfCredit``, ``NoBuildFits`` and
        ``EngineFailed``.
        """
        check(request.texts)
        usage, cost, stopped = Usage(), 0, Stopped.END
        problem: NanolocalError | None = None
        for first, texts in parts_of(request.texts):
            job = EmbeddingJob(texts, _context(texts, request.build), first, request.truncates, request.normalises)
            used, hold = Usage(), None
            try:
                hold = self._hold(request, job)
                async with aclosing(self._engines.run(request.build, job, stop)) as events:
                    async for event in events:
                        used, stopped = _taken(used, event), _end(event, stopped)
                        if not isinstance(event, EngineDone):
                            yield event
            except NanolocalError as error:
                problem, stopped = error, Stopped.CRASH
            finally:
                cost += 0 if hold is None else self._settle(request.build, hold, used)
            usage = _added(usage, used)
            if stopped is not Stopped.END:
                break
        yield Sum(usage, cost, self._ledger.balance(), stopped)
        if problem is not None:
            raise problem

    def _hold(self, request: EmbeddingRequest, job: EmbeddingJob) -> Hold:
        most = sum(min(_most_tokens(text), job.n_ctx) for text in job.texts)
        card = self._ledger.price(request.build)
        with self._store.transaction() as tx:
            return self._ledger.hold(tx, request.build, card.cost(Usage(prompt_tokens=most, loads=1)), key=request.key)

    def _settle(self, build: Build, hold: Hold, used: Usage) -> int:
        if not used.prompt_tokens:
            self._ledger.void(hold)
            return 0
        with self._store.transaction() as tx:
            return self._ledger.settle(tx, hold, build, used, None)


def check(texts: Sequence[str]) -> None:
    """Raise ``UsageError`` for texts that no build reads."""
    if not texts:
        raise UsageError("there is no text to make a vector of", 'nanolocal models embed "some text"')
    for number, text in enumerate(texts, 1):
        if not text.strip():
            raise UsageError(f"text {number} is empty", "leave it out")
        if len(text.encode("utf-8", "replace")) > _MOST_BYTES:
            raise UsageError(f"text {number} is larger than {_MOST_BYTES // 2**20} MiB", "split it")


def parts_of(texts: Sequence[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The texts in parts, each with the number of its first text, counted from 1."""
    part: list[str] = []
    size, first = 0, 1
    for text in texts:
        length = len(text.encode("utf-8", "replace"))
        if part and (len(part) == _PART_TEXTS or size + length > _PART_BYTES):
            yield first, tuple(part)
            first, part, size = first + len(part), [], 0
        part.append(text)
        size += length
    if part:
        yield first, tuple(part)


def _context(texts: Iterable[str], build: Build) -> int:
    """Tokens that the longest text may have, as a token is at least a byte; no more than the build knows."""
    longest = max(map(_most_tokens, texts))
    return min(-(-longest // _STEP_TOKENS) * _STEP_TOKENS, MOST_TOKENS, build.context_length or MOST_TOKENS)


def _most_tokens(text: str) -> int:
    return len(text.encode("utf-8", "replace")) + _SPECIALS


def _taken(used: Usage, event: EngineEvent) -> Usage:
    match event:
        case Loading(_, fraction) if fraction >= 1.0:
            return replace(used, loads=1)
        case Embedded(_, _, tokens):
            return replace(used, prompt_tokens=used.prompt_tokens + tokens)
    return used


def _end(event: EngineEvent, before: Stopped) -> Stopped:
    return event.stopped if isinstance(event, EngineDone) else before


def _added(one: Usage, other: Usage) -> Usage:
    return replace(one, prompt_tokens=one.prompt_tokens + other.prompt_tokens, loads=one.loads + other.loads)
