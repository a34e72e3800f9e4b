"""The engine next to a bare loop over the same library on the same file, in turn, each in a process of its own."""

import asyncio
import json
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from nanolocal.chat.ports import Meter, Metering
from nanolocal.chat.routes import Build
from nanolocal.chat.tuning import USUAL, Tuning
from nanolocal.engines import bare, pooled
from nanolocal.engines.launch import child_environment, usable_cores
from nanolocal.errors import EngineFailed

TEMPERATURE = 0.7
"""What most answers are written with: the samplers cost what they do then."""
_WORDS = (
    "apple bridge candle door evening field garden house island journey kitchen lantern morning needle orange paper "
    "quiet river summer table under valley window yellow about before carry during every follow great hollow inside "
    "just keep little many never often people right small through until very water young across began close drive "
    "early first ground heavy image jump kind light move north open place reach sound travel usual voice while"
)
_THEN = ("Go on in the same way.", "What comes after that?", "And how does it end?")
_TURN_TOKENS = 96
"""The most that a turn's words and template add beside its answer."""
_TURNS = len(_THEN) + 1

Energy: TypeAlias = tuple[float | None, str]
"""Joules, ``None`` where nothing measures them, and how they are known."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure: so many ``rounds`` of ``prompt_tokens`` read and ``answer_tokens`` written in each turn.

    ``memory`` is what engines may take, in bytes; states are kept below ``folder`` while it lasts. The engine runs with
    ``tuning``, without a draft.
    """

    build: Build
    folder: Path
    memory: int
    rounds: int
    prompt_tokens: int
    answer_tokens: int
    tuning: Tuning = USUAL

    @property
    def n_ctx(self) -> int:
        """The context that all turns fit into."""
        return self.prompt_tokens + _TURNS * (self.answer_tokens + _TURN_TOKENS)


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing measured in every round. ``unit`` is ``tok/s``, ``s``, ``bytes`` or ``J``; more ``tok/s`` is better."""

    name: str
    unit: str
    ours: tuple[float, ...]
    bare: tuple[float, ...]

    @property
    def ratios(self) -> tuple[float, ...]:
        """Ours by bare, round by round."""
        return tuple(ours / bare for ours, bare in zip(self.ours, self.bare, strict=True) if bare)


@dataclass(frozen=True, slots=True)
class Comparison:
    """All figures, what they rest on, and how many tokens of the conversation were kept over the swap."""

    build_id: str
    prompt_tokens: int
    answer_tokens: int
    kept_tokens: int
    threads: tuple[int, int]
    """The bare loop's, for reading and writing."""
    energy: str
    figures: tuple[Figure, ...]


async def compare(plan: Plan, meter: Meter, show: Callable[[str], None]) -> Comparison:
    """Measure; ``show`` is told what happens. Raises ``EngineFailed``, and what a turn may raise."""
    return await _Trial(plan, meter, show).run()


@dataclass(frozen=True, slots=True)
class _Round:
    """What one round of both found; joules are ``None`` where they are not measured."""

    bare: bare.Found
    ours: pooled.Found
    again: pooled.Found
    joules: tuple[float | None, float | None]
    energy: str


class _Trial:
    """One comparison under way."""

    def __init__(self, plan: Plan, meter: Meter, show: Callable[[str], None]) -> None:
        self._plan = plan
        self._meter = meter
        self._show = show

    async def run(self) -> Comparison:
        plan = self._plan
        self._show(f"{plan.build.id}: a first round that does not count")
        words = random.Random(1).choices(_WORDS.split(), k=plan.prompt_tokens)  # noqa: S311
        cores = usable_cores()
        question = bare.Question(
            path=str(plan.build.path),
            n_ctx=plan.n_ctx,
            threads=sorted({cores, max(cores - 1, 1)}),
            text=" ".join(words),
            read=plan.prompt_tokens,
            write=plan.answer_tokens,
            temperature=TEMPERATURE,
        )
        tuned, _ = await ask_bare(question, None)
        ours, _, _ = await self._ours(tuned.text)
        first, second = ours.turns[:2]
        question = replace(
            question,
            threads=tuple(dict.fromkeys((tuned.reading_threads, tuned.writing_threads))),
            read=first.prompt - first.cached,
            kept=second.cached - first.cached,
            added=second.prompt - second.cached,
        )
        rounds = []
        for number in range(plan.rounds):
            self._show(f"{plan.build.id}: round {number + 1} of {plan.rounds}")
            rounds.append(await self._round(question, tuned.text, bare_first=number % 2 == 0))
        return _joined(plan, rounds)

    async def _round(self, question: bare.Question, text: str, *, bare_first: bool) -> _Round:
        if bare_first:
            alone, bare_energy = await ask_bare(question, self._meter)
        ours, again, energy = await self._ours(text)
        if not bare_first:
            alone, bare_energy = await ask_bare(question, self._meter)
        return _Round(alone, ours, again, (energy[0], bare_energy[0]), energy[1])

    async def _ours(self, text: str) -> tuple[pooled.Found, pooled.Found, Energy]:
        """Two turns, one after a swap, and one in another program."""
        plan = self._plan
        with tempfile.TemporaryDirectory(dir=plan.folder) as folder:
            question = pooled.Question(
                id=plan.build.id,
                path=str(plan.build.path),
                sha256=plan.build.sha256,
                memory=plan.memory,
                folder=folder,
                n_ctx=plan.n_ctx,
                asked=(text, *_THEN[:2]),
                swaps=1,
                write=plan.answer_tokens,
                temperature=TEMPERATURE,
                tuning=asdict(plan.tuning),
            )
            ours, energy = await ask_pooled(question, self._meter)
            restarted = replace(question, asked=_THEN[2:], said=ours.said, kept=ours.kept)
            again, _ = await ask_pooled(restarted, None)
        return ours, again, energy


async def ask_bare(question: bare.Question, meter: Meter | None) -> tuple[bare.Found, Energy]:
    """Ask a bare loop. Raises ``EngineFailed``."""
    found, energy = await _ask("nanolocal.engines.bare", asdict(question), meter)
    return bare.Found(**found), energy


async def ask_pooled(question: pooled.Question, meter: Meter | None) -> tuple[pooled.Found, Energy]:
    """Ask the engine. Raises ``EngineFailed``."""
    found, energy = await _ask("nanolocal.engines.pooled", asdict(question), meter)
    turns = [pooled.Turn(**turn) for turn in found.pop("turns")]
    return pooled.Found(turns=turns, **found), energy


async def _ask(module: str, question: object, meter: Meter | None) -> tuple[dict[str, Any], Energy]:
    """Ask ``question`` of a process of its own, and measure the joules between its first and its second line."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-X", "utf8", "-W", "ignore", "-m", module),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=child_environment(os.environ),
        limit=2**26,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(json.dumps(question).encode())
        process.stdin.close()
        metering: Metering | None = None
        energy: Energy = (None, "")
        last = b""
        while line := await process.stdout.readline():
            if metering is not None:
                energy, metering, meter = _energy(metering), None, None
            elif meter is not None:
                metering = meter.start()
            last = line
        code = await process.wait()
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    if code or not last.strip():
        raise EngineFailed(f"the measurement ended with exit code {code}", "nanolocal models verify checks the file")
    found: dict[str, Any] = json.loads(last)
    if "failed" in found:
        raise EngineFailed(str(found["failed"]), "try fewer tokens, or another build")
    return found, energy


def _energy(metering: Metering) -> Energy:
    measured = metering.so_far(0.0)
    return (measured.joules, measured.source) if measured.is_measured else (None, "")


def _joined(plan: Plan, rounds: list[_Round]) -> Comparison:
    last = rounds[-1]
    kept = last.again.turns[0].cached if last.ours.kept is not None else 0
    threads = (last.bare.reading_threads, last.bare.writing_threads)
    figures = tuple(figure for figure in _figures(rounds) if any(figure.ours))
    first = last.ours.turns[0]
    return Comparison(plan.build.id, first.prompt, plan.answer_tokens, kept, threads, last.energy, figures)


def _figures(rounds: list[_Round]) -> Iterator[Figure]:
    """One for each thing that was measured; what comes after a swap is held against reading it all again."""

    def figure(name: str, unit: str, of: Callable[[_Round], tuple[float, float]]) -> Figure:
        ours, alone = zip(*(of(each) for each in rounds), strict=True)
        return Figure(name, unit, ours, alone)

    yield figure("reads", "tok/s", lambda each: (each.ours.turns[0].read_tok_s, each.bare.read_tok_s))
    yield figure("writes", "tok/s", lambda each: (each.ours.turns[0].write_tok_s, each.bare.write_tok_s))
    yield figure("first word, cold", "s", lambda each: (each.ours.turns[0].first_s, each.bare.first_s))
    yield figure("first word, next turn", "s", lambda each: (each.ours.turns[1].first_s, each.bare.second_s))
    yield figure("first word, after a swap", "s", lambda each: (each.ours.turns[2].first_s, each.bare.first_s))
    yield figure("first word, after a restart", "s", lambda each: (each.again.turns[0].first_s, each.bare.first_s))
    yield figure("memory", "bytes", lambda each: (float(each.ours.memory), float(each.bare.memory)))
    if all(each.joules[0] and each.joules[1] for each in rounds):
        yield figure("energy of two turns", "J", lambda each: (each.joules[0] or 0.0, each.joules[1] or 0.0))
