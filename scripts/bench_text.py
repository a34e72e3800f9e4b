#!/usr/bin/env python3
"""The text engine's speed, held against a bare loop over the same llama.cpp on the same file, and that it writes alike.

    .venv/bin/python scripts/bench_text.py [--only NAME] [--quick] [--rounds N] [--folder DIR] [--json]

``application``  reading, writing and the first word through all of it: route, ledger, vault, child process, a terminal
``returning``    the first word of a long conversation after a swap and after a restart, against reading it again
``together``     two conversations answered at once, against one
``repeating``    an answer that repeats most of its prompt, against the bare loop
``alike``        every token that the engine writes, against llama.cpp's own greedy answer

The build for speed has the shape of Qwen3 0.6B in Q4_K_M, for ``together`` that of Qwen2.5 0.5B beside it; the weights
make it write the words of its vocabulary in their order, at the cost of real ones. The builds for ``alike`` are the
starter build and random ones of each kind of memory that llama.cpp knows. Both sides run in turn, and every ratio is of
two runs that followed each other.
``--quick`` takes a small build and short texts, to see that everything runs. Exit code 1 when a target is missed.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import aclosing, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from figures import Row, as_json  # noqa: E402

from nanolocal import bootstrap  # noqa: E402
from nanolocal.chat.events import Finished, Loading, RouteChosen, TextDelta  # noqa: E402
from nanolocal.chat.messages import Answer, Message, Role, TurnRequest, Wishes  # noqa: E402
from nanolocal.chat.ports import TextJob  # noqa: E402
from nanolocal.chat.routes import Build, Kind  # noqa: E402
from nanolocal.engines import bare  # noqa: E402
from nanolocal.engines.launch import usable_cores  # noqa: E402
from nanolocal.engines.pool import EnginePool  # noqa: E402
from nanolocal.engines.sidebyside import TEMPERATURE, ask_bare  # noqa: E402
from nanolocal.paths import Paths, starter_models  # noqa: E402
from tests.fakes.blank_gguf import Shape, write_blank_gguf  # noqa: E402
from tests.fakes.filled_gguf import chain, fill, words  # noqa: E402
from tests.fakes.shapes import SHAPES  # noqa: E402

if TYPE_CHECKING:
    from nanolocal.bootstrap import Session

LARGE = Shape("qwen3", 1024, 28, 16, 8, 128, 3072, 151_936)
HALF = Shape("qwen2", 896, 24, 14, 2, 64, 4864, 151_936)
SMALL = Shape("qwen3", 256, 4, 4, 2, 64, 512, 20_000)
CLOSE = 1e-3
"""Where the two best predictions are not further apart, either of them is right."""
_STARTER = "nanolocal-starter-text"
_ID = "counter:Q4_K_M"
_FIRST_ASKED = 10_000
"""From this word on the vocabulary is used to ask: what is answered begins at the first one."""
_ALIKE_CONTEXT = 1024
_CHAT = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"


@dataclass
class Bench:
    """What all parts need: a folder, how much is to be done, and the build that is measured."""

    folder: Path
    rounds: int
    is_quick: bool

    @cached_property
    def build(self) -> Build:
        """Made on first use, where the application finds it."""
        return self._counting("counter", SMALL if self.is_quick else LARGE)

    @cached_property
    def half(self) -> Build:
        """One of half a billion parameters."""
        return self._counting("half", SMALL if self.is_quick else HALF)

    def _counting(self, name: str, shape: Shape) -> Build:
        path = self.paths.models / name / f"{name}-Q4_K_M.gguf"
        if not path.exists():
            written = write_blank_gguf(self.folder / "new.gguf", shape, "Q4_K_M", splitting="llama-bpe")
            path.parent.mkdir(parents=True)
            self.paths.data.chmod(0o700)
            chain(written).rename(path)
        self.paths.settings.parent.mkdir(parents=True, exist_ok=True)
        self.paths.settings.write_text("tariff = 0\n")
        return Build(f"{name}:Q4_K_M", name, Kind.TEXT, path, "Q4_K_M", path.stat().st_size, name)

    @property
    def paths(self) -> Paths:
        """The application's."""
        return Paths.choose(self.home)

    @property
    def home(self) -> Path:
        """Another one for each size of build."""
        return self.folder / ("small" if self.is_quick else "large")

    def tokens(self, count: int) -> int:
        """So many, or an eighth of it where it is to be quick."""
        return max(count // 8, 16) if self.is_quick else count

    def question(self, n_ctx: int, text: str, write: int) -> bare.Question:
        """What the bare loop is to do with the build."""
        cores = usable_cores()
        threads = sorted({max(cores - 1, 1), cores})
        return bare.Question(str(self.build.path), n_ctx, threads, _CHAT.format(text), write=write)


def ask(question: bare.Question) -> bare.Found:
    """The bare loop's answer."""
    return asyncio.run(ask_bare(question, None))[0]


def asked(count: int, seed: int) -> str:
    """A text of so many tokens in which hardly anything repeats, another one for each ``seed``."""
    return "".join(random.Random(seed).sample(words(_FIRST_ASKED, 9000), count))


# application and returning: through a session, as a face has it


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn as seen from the face: seconds from asking, or from the end of loading, to the first word."""

    answer: Answer
    n_ctx: int
    first_s: float
    write_tok_s: float

    @property
    def fresh(self) -> int:
        """Tokens that were read."""
        return self.answer.usage.prompt_tokens - self.answer.usage.cached_tokens


@contextmanager
def a_terminal() -> Iterator[Callable[[str], None]]:
    """Somewhere to write to: a terminal that takes what comes."""
    outer, inner = os.openpty()

    def drain() -> None:
        try:
            while os.read(outer, 65536):
                pass
        except OSError:
            return

    reader = threading.Thread(target=drain)
    reader.start()
    try:
        yield lambda text: _write_all(inner, text.encode())
    finally:
        os.close(inner)
        reader.join()
        os.close(outer)


def _write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


class Application:
    """An open session on the bench's home, which answers on a terminal."""

    def __init__(self, session: "Session", write: Callable[[str], None]) -> None:
        self.session = session
        self._write = write

    async def turn(self, prompt: str, tokens: int, chat_id: str | None = None, model: str = _ID) -> Turn:
        """Ask, and show the answer."""
        wishes = Wishes(model=model, max_tokens=tokens, temperature=TEMPERATURE, seed=1)
        began = time.monotonic()
        first_at = last_at = 0.0
        written = n_ctx = 0
        answer: Answer | None = None
        request = TurnRequest(prompt, wishes=wishes, chat_id=chat_id)
        async with aclosing(self.session.chat.turn(request, asyncio.Event())) as events:
            async for event in events:
                match event:
                    case RouteChosen(route):
                        n_ctx = route.n_ctx
                    case Loading(_, 1.0):
                        began = time.monotonic()
                    case TextDelta(text, count):
                        self._write(text)
                        last_at = time.monotonic()
                        first_at = first_at or last_at
                        written += count
                    case Finished(finished):
                        answer = finished
        assert answer is not None
        rate = (written - 1) / (last_at - first_at) if last_at > first_at else 0.0
        return Turn(answer, n_ctx, first_at - began, rate)


@asynccontextmanager
async def application(paths: Paths) -> AsyncIterator[Application]:
    """The application, opened and closed again."""
    with a_terminal() as write:
        session = bootstrap.open_session(paths, None, tells_licences=False)
        try:
            yield Application(session, write)
        finally:
            await session.close()


async def in_the_application(bench: Bench) -> list[Row]:
    """Everything between the prompt and the terminal, next to nothing between them."""
    read, write = bench.tokens(512), bench.tokens(128)
    found: list[tuple[Turn, Turn, bare.Found]] = []
    assert bench.build.path.exists()
    async with application(bench.paths) as app:

        async def ours(seed: int) -> tuple[Turn, Turn]:
            cold = await app.turn(asked(read, seed), write)
            return cold, await app.turn(asked(32, seed + 1), write, cold.answer.chat_id)

        cold, then = await ours(0)
        for number in range(bench.rounds):
            question = replace(
                bench.question(cold.n_ctx, asked(read, number), write),
                read=cold.fresh,
                temperature=TEMPERATURE,
                kept=then.answer.usage.cached_tokens - cold.answer.usage.cached_tokens,
                added=then.fresh,
            )
            if number % 2 == 0:
                alone = await asyncio.to_thread(ask, question)
            cold, then = await ours(100 + 2 * number)
            if number % 2:
                alone = await asyncio.to_thread(ask, question)
            found.append((cold, then, alone))
    cold, then, alone = found[-1]
    speeds = f"{cold.answer.timing.prompt_tok_s:.0f} to {alone.read_tok_s:.0f} tok/s"
    return [
        Row("reading", _each(found, lambda c, t, b: c.answer.timing.prompt_tok_s / b.read_tok_s), 0.98, note=speeds),
        Row(
            "writing",
            _each(found, lambda c, t, b: c.write_tok_s / b.write_tok_s),
            0.98,
            note=f"{cold.write_tok_s:.1f} to {alone.write_tok_s:.1f} tok/s",
        ),
        Row("first word", _each(found, lambda c, t, b: c.first_s / b.first_s), None, is_most=True),
        Row(
            "first word of the second turn",
            _each(found, lambda c, t, b: t.first_s / b.second_s),
            1.05,
            is_most=True,
            note=f"{then.fresh} tokens read anew, {then.first_s:.3f} to {alone.second_s:.3f} s",
        ),
    ]


def _each(
    found: Sequence[tuple[Turn, Turn, bare.Found]], ratio: Callable[[Turn, Turn, bare.Found], float]
) -> tuple[float, ...]:
    return tuple(ratio(*each) for each in found)


async def returning(bench: Bench) -> list[Row]:
    """A conversation of 4,000 tokens goes on after another model had the memory, and in another process."""
    history = bench.tokens(4000)
    assert bench.build.path.exists()
    async with application(bench.paths) as app:
        begun = await app.turn(asked(history, 1), 16)
        known = app.session.library.get(_ID)
        other = app.session.library.get(_STARTER)
    room = known.footprint.needed(begun.n_ctx) // 2**20 + 16 if known.footprint else 0
    with_settings = bench.paths.settings.read_text()
    bench.paths.settings.write_text(f"{with_settings}memory_mb = {room}\n")
    swapped: list[tuple[float, float, float]] = []
    restarted: list[float] = []
    try:
        for _ in range(bench.rounds):
            alone = await asyncio.to_thread(ask, bench.question(begun.n_ctx, asked(history, 1), 1))
            async with application(bench.paths) as app:
                await app.turn("go on", 16, begun.answer.chat_id)
                await app.turn("hello", 16, None, other.id)
                if _ID in app.session.engines.resident():
                    raise RuntimeError("both builds fit, so there was no swap")
                back = await app.turn("go on", 16, begun.answer.chat_id)
            swapped.append((back.first_s / alone.first_s, back.answer.timing.load_s, back.first_s))
            again = json.loads(await asyncio.to_thread(_in_another_process, bench, str(begun.answer.chat_id)))
            restarted.append(again["timing"]["ttft_s"] / alone.first_s)
    finally:
        bench.paths.settings.write_text(with_settings)
    _, load_s, first_s = swapped[-1]
    cached = f"{back.answer.usage.cached_tokens} of {back.answer.usage.prompt_tokens} tokens kept"
    note = f"{cached}, {first_s:.2f} s after {load_s:.2f} s of loading; reading again {alone.first_s:.2f} s"
    also = f"{again['usage']['cached_tokens']} tokens kept, {again['timing']['ttft_s']:.2f} s"
    return [
        Row("first word after a swap", tuple(each[0] for each in swapped), 0.2, is_most=True, note=note),
        Row("first word after a restart", tuple(restarted), 0.2, is_most=True, note=also),
    ]


def _in_another_process(bench: Bench, chat_id: str) -> bytes:
    command = [sys.executable, "-m", "nanolocal", "--home", str(bench.home), "--json", "ask", "and then?"]
    more = ["--chat", chat_id, "--model", _ID, "--max-tokens", "16"]
    return subprocess.run([*command, *more], stdin=subprocess.DEVNULL, capture_output=True, check=True).stdout


# together and repeating: the engines alone


@dataclass(slots=True)
class Heard:
    """An answer as it came: its text, and the time of each piece with its tokens."""

    text: str = ""
    at: list[tuple[float, int]] = field(default_factory=list)

    def tokens_between(self, start: float, end: float) -> int:
        """Tokens that came later than ``start``, up to ``end``."""
        return sum(count for when, count in self.at if start < when <= end)


async def listen(pool: EnginePool, build: Build, text: str, tokens: int, n_ctx: int) -> Heard:
    """The likeliest answer."""
    heard = Heard()
    job = TextJob((Message(Role.USER, text),), n_ctx, tokens, 0.0)
    async with aclosing(pool.run(build, job, asyncio.Event())) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                heard.text += event.text
                heard.at.append((time.monotonic(), event.tokens))
    return heard


def rate(heard: Sequence[Heard]) -> float:
    """Tokens a second of them together, while all of them were being written."""
    start, end = max(each.at[0][0] for each in heard), min(each.at[-1][0] for each in heard)
    return sum(each.tokens_between(start, end) for each in heard) / (end - start)


async def together(bench: Bench) -> list[Row]:
    """Two answers at once, and each of them alone before or after that."""
    return [
        await _together(bench, bench.half, "two conversations, 0.5 B", 1.5),
        await _together(bench, bench.build, "two conversations, 0.6 B", None),
    ]


async def _together(bench: Bench, build: Build, name: str, target: float | None) -> Row:
    read, write = bench.tokens(64), bench.tokens(256)
    n_ctx = 2 * (read + write + 128)
    texts = [asked(read, seed) for seed in (1, 2)]
    ratios, others = [], 0
    pool = EnginePool(2**34)
    try:
        await listen(pool, build, "1", 1, n_ctx)
        for number in range(bench.rounds):
            if number % 2 == 0:
                solo = [await listen(pool, build, text, write, n_ctx) for text in texts]
            both = await asyncio.gather(*(listen(pool, build, text, write, n_ctx) for text in texts))
            if number % 2:
                solo = [await listen(pool, build, text, write, n_ctx) for text in texts]
            ratios.append(rate(both) / statistics.mean(rate([each]) for each in solo))
            others += sum(one.text != other.text for one, other in zip(both, solo, strict=True))
    finally:
        await pool.close()
    note = f"{rate(both):.1f} to {rate(solo[:1]):.1f} tok/s; {others} of {2 * bench.rounds} answers differ"
    return Row(name, tuple(ratios), target, note=note)


async def repeating(bench: Bench) -> list[Row]:
    """The build writes a text that the prompt has with every 25th word changed."""
    count = bench.tokens(400)
    text = words(0, count)
    text[10::25] = words(_FIRST_ASKED, len(text[10::25]))
    prompt, n_ctx = "".join(text), 2 * count + 256
    question = bench.question(n_ctx, prompt, count)
    ratios, others = [], 0
    pool = EnginePool(2**34)
    try:
        await listen(pool, bench.build, "1", 1, n_ctx)
        for number in range(bench.rounds):
            if number % 2 == 0:
                alone = await asyncio.to_thread(ask, question)
            heard = await listen(pool, bench.build, prompt, count, n_ctx)
            if number % 2:
                alone = await asyncio.to_thread(ask, question)
            ratios.append(rate([heard]) / alone.write_tok_s)
            others += heard.text != bytes.fromhex("".join(alone.pieces)).decode()
    finally:
        await pool.close()
    note = f"{rate([heard]):.1f} to {alone.write_tok_s:.1f} tok/s; {others} of {bench.rounds} texts differ"
    return [Row("an answer that repeats", tuple(ratios), 1.8, note=note)]


# alike: token by token

Batch: TypeAlias = list[str]
"""Prompts that are answered at once."""


@dataclass(frozen=True, slots=True)
class Written:
    """The tokens of one prompt and of the engine's answer."""

    prompt: list[int]
    answer: list[int]


def engine_answers(path: str, batches: list[Batch], tokens: int) -> list[Written]:
    """What one engine answers to batch after batch; runs in a process of its own."""
    from nanolocal.engines import ggml, protocol
    from nanolocal.engines.answer import Answer as Answering
    from nanolocal.engines.llama import TextEngine
    from nanolocal.engines.seat import _run_request
    from nanolocal.engines.stopflag import StopFlag

    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what llama.cpp has to say of made-up vocabularies
    write = Answering.write
    noted: dict[int, Written] = {}

    def noting(answer: Answering, context: ggml.Context, row: int) -> int:
        token = write(answer, context, row)
        if not answer._model.ends(token):
            noted[answer._job.job].answer.append(token)
        return token

    Answering.write = noting  # type: ignore[method-assign, assignment]  # notes what it writes
    stop = StopFlag()
    load = protocol.LoadText("alike", path, _ALIKE_CONTEXT, 1)
    engine = TextEngine(load, lambda reply: None, stop, lambda: None)
    for batch in batches:
        for text in batch:
            number = len(noted) + 1
            stop.begin(number)
            job = TextJob((Message(Role.USER, text),), _ALIKE_CONTEXT, tokens, 0.0)
            request = _run_request(number, job, None)
            assert isinstance(request, protocol.RunText)
            engine.take(request)
            noted[number] = Written([token for token in engine._tasks[-1].tokens if isinstance(token, int)], [])
        while engine.is_busy:
            engine.step()
    return list(noted.values())


@dataclass(slots=True)
class Tally:
    """Answers that were compared, and of those that differ the build and the gap at the first difference."""

    answers: int = 0
    tokens: int = 0
    differences: list[tuple[str, float]] = field(default_factory=list)

    def row(self, name: str) -> Row:
        """The share of answers that are alike."""
        wrong = [f"{build} ({gap:.3f})" for build, gap in self.differences if gap > CLOSE]
        close = len(self.differences) - len(wrong)
        note = f"{self.tokens} tokens, {len(wrong)} of {self.answers} answers differ, {close} more within {CLOSE:g}"
        share = 1 - len(wrong) / self.answers
        return Row(name, (share,), 1.0, note=": ".join(filter(None, (note, ", ".join(wrong)))))


def alike(bench: Bench) -> list[Row]:
    """Every answer of every build, against that of the bare loop."""
    builds = {"starter": next(starter_models().glob("*/*.gguf"))}
    for name, shape in list(SHAPES.items())[:: 4 if bench.is_quick else 1]:
        path = bench.folder / "alike" / f"{shape.architecture}.gguf"
        builds[name] = fill(write_blank_gguf(path, shape, "Q4_K_M", splitting="llama-bpe"))
    tallies = {way: Tally() for way, _ in _WAYS}
    for name, path in builds.items():
        _compare(name, path, bench.tokens(64), tallies)
    return [tally.row(way) for way, tally in tallies.items()]


_ASKED = ("Tell me a story about a small cat.", "What is a river, and where does it begin?", "one two three four " * 20)
_WAYS: tuple[tuple[str, Batch], ...] = (
    ("alone", [_ASKED[0]]),
    ("from the prompt cache", [_ASKED[0]]),
    ("beside others", list(_ASKED)),
    ("with prompt lookup", [_ASKED[2]]),
)


def _compare(name: str, path: Path, tokens: int, tallies: dict[str, Tally]) -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        found = process.submit(engine_answers, str(path), [batch for _, batch in _WAYS], tokens).result()
    ways = [way for way, batch in _WAYS for _ in batch]
    known: dict[tuple[int, ...], bare.Found] = {}
    for way, written in zip(ways, found, strict=True):
        prompt = tuple(written.prompt)
        if prompt not in known:
            known[prompt] = ask(
                bare.Question(str(path), _ALIKE_CONTEXT, (1,), tokens=prompt, write=tokens, ends=True, gaps=True)
            )
        alone, tally = known[prompt], tallies[way]
        tally.answers += 1
        same = _common(written.answer, alone.written)
        tally.tokens += same
        if same < max(len(written.answer), len(alone.written)):
            tally.differences.append((name, alone.gaps[same]))


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both begin with."""
    shorter = min(len(one), len(other))
    return next((n for n in range(shorter) if one[n] != other[n]), shorter)


def run(work: Callable[[Bench], Coroutine[object, object, list[Row]]]) -> Callable[[Bench], list[Row]]:
    """``work`` as one that waits for its end."""
    return lambda bench: asyncio.run(work(bench))


PARTS: dict[str, Callable[[Bench], list[Row]]] = {
    "application": run(in_the_application),
    "returning": run(returning),
    "together": run(together),
    "repeating": run(repeating),
    "alike": alike,
}


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description="The text engine next to a bare loop over llama.cpp.")
    parser.add_argument("--only", choices=PARTS, action="append", help="this part; may be given again")
    parser.add_argument("--quick", action="store_true", help="a small build and short texts")
    parser.add_argument("--rounds", type=int, default=4, metavar="N", help="of both sides, in turn (default 4)")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="keep builds and home there, for the next run")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    args = parser.parse_args(arguments)
    rows: list[Row] = []
    with nullcontext(args.folder) if args.folder else tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), max(1, args.rounds), args.quick)
        for name in args.only or PARTS:
            found = PARTS[name](bench)
            rows += found
            if not args.json:
                print(*found, sep="\n", flush=True)
    if args.json:
        print(as_json(rows))
    return int(not all(row.is_met for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
