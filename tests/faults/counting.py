"""Answers of the starter build through the whole turn, and what a process of its own says that they have of tokens.

That process has llama.cpp tokenize the prompt as it comes from the file's own chat template, and lets the engine write
each answer once more while every chosen token is noted. Where the text is the same, the tokens noted are the ones that
were shown. Now and then it is not, though the likeliest token is chosen: the arithmetic follows where in the engine's
memory there was room, and so how far an answer had come when a stop reached it.
"""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nanolocal.chat.events import EngineEvent, Finished, TextDelta
from nanolocal.chat.messages import TurnRequest, Wishes
from nanolocal.chat.ports import Job, RouteRequest, TextJob
from nanolocal.chat.routes import Build, Route
from nanolocal.chat.turn import Chat
from nanolocal.device.power import Meter
from nanolocal.engines.pool import EnginePool
from nanolocal.library.library import Library
from nanolocal.paths import starter_models
from tests.fakes.homes import Home

_N_CTX = 512
_WORDS = (
    "say", "a", "colour", "please", "why", "is", "the", "sky", "blue", "count", "to", "five", "hello", "write", "poem",
    "about", "rain", "naïve", "Straße", "日本", "🙂", "42", "3.14", "(x + y)", "\n", "- one", '"quoted"', "tab\t",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Counted:
    """An answer: what was asked of the engine, what came, and what the ledger has of it (``None``: nothing charged)."""

    messages: list[tuple[str, str]]
    seed: int
    max_tokens: int
    how: list[float]
    text: str
    stopped: str
    charged: dict[str, int] | None


class OneRoute:
    """Every prompt goes to one build."""

    def __init__(self, build: Build, n_ctx: int = _N_CTX) -> None:
        self._route = Route("chat", build, n_ctx, 1.0, 1.0, (), (), ())

    def pick(self, request: RouteRequest) -> Route:
        return self._route


class Listening:
    """The pool, and the job it did last; without guesses, whose number, and so the arithmetic, follows the clock."""

    def __init__(self, pool: EnginePool) -> None:
        self._pool = pool
        self.job: TextJob | None = None

    async def run(self, build: Build, job: Job, stop: asyncio.Event) -> AsyncGenerator[EngineEvent]:
        if isinstance(job, TextJob):
            job = self.job = replace(job, guesses=False)
        async with aclosing(self._pool.run(build, job, stop)) as events:
            async for event in events:
                yield event


def starter(index: Path) -> Build:
    """The text build that comes with the program."""
    return Library([starter_models()], index).get("nanolocal-starter-text")


async def answers(here: Home, build: Build, count: int, chance: random.Random) -> AsyncGenerator[Counted]:
    """So many short answers; every fourth is stopped in the middle, every fifth continues a conversation."""
    pool = EnginePool(10**10, threads=1)
    listening = Listening(pool)
    chat = Chat(OneRoute(build), here.store, here.wallet, listening, Meter.open(Path("/nowhere")))
    chat_id: str | None = None
    try:
        for number in range(count):
            stops_at = chance.randrange(1, 6) if number % 4 == 3 else None
            is_stored = number % 5 == 4
            longest = 13 if stops_at is None else 60
            most, seed = chance.randrange(1, longest), chance.getrandbits(31)
            wishes = Wishes(max_tokens=most, temperature=0.0, seed=seed, store=is_stored)
            chat_id = None if number % 40 < 5 else chat_id
            request = TurnRequest(_prompt(chance), wishes=wishes, chat_id=chat_id if is_stored else None)
            yield await _one(here, chat, listening, request, stops_at)
            if is_stored:
                chat_id = here.store.chats(1)[0].id
    finally:
        await pool.close()


async def _one(here: Home, chat: Chat, listening: Listening, request: TurnRequest, stops_at: int | None) -> Counted:
    stop, seen, text, stopped = asyncio.Event(), 0, "", ""
    before = _newest(here)
    async with aclosing(chat.turn(request, stop)) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                seen += 1
                if seen == stops_at:
                    stop.set()
            if isinstance(event, Finished):
                text, stopped = event.answer.text, event.answer.stopped.value
    job, after = listening.job, _newest(here)
    assert job is not None
    assert job.seed is not None
    return Counted(
        [(str(message.role), message.text) for message in job.messages],
        job.seed,
        job.max_tokens,
        [job.temperature, job.top_p, job.top_k, job.min_p, job.repeat_penalty],
        text,
        stopped,
        None if after == before or after is None else after[1],
    )


def _newest(here: Home) -> tuple[int, dict[str, int]] | None:
    rows = here.vault.database.execute("SELECT seq, body FROM entry WHERE kind = 'settle' ORDER BY seq DESC LIMIT 1")
    return (rows[0][0], json.loads(rows[0][1])["usage"]) if rows else None


def _prompt(chance: random.Random) -> str:
    return " ".join(chance.choices(_WORDS, k=chance.randrange(1, 12))).strip() or "hello"


# the other process


def recount(path: Path, jobs: Iterator[Counted], report: Callable[[str], None]) -> None:
    """For each answer a line of JSON: the tokens of its prompt and those that were chosen for it, with their text."""
    from llama_cpp import Llama
    from llama_cpp.llama_chat_format import Jinja2ChatFormatter

    from nanolocal.engines import answer, llama
    from nanolocal.engines.ggml import Model
    from nanolocal.engines.protocol import LoadText, RunText
    from nanolocal.engines.sampling import Reader, Sampler
    from nanolocal.engines.stopflag import StopFlag

    chosen: list[int] = []

    class Noting(Sampler):
        def choose(self, context: Reader, row: int = -1) -> int:
            chosen.append(super().choose(context, row))
            return chosen[-1]

    vars(answer)["Sampler"] = Noting
    vocabulary = Llama(str(path), vocab_only=True, verbose=False)
    words = {name: vocabulary.metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos")}
    texts = {name: "" if at is None else vocabulary._model.token_get_text(int(at)) for name, at in words.items()}
    template = vocabulary.metadata["tokenizer.chat_template"]
    formatter = Jinja2ChatFormatter(template=template, eos_token=texts["eos"], bos_token=texts["bos"])
    stop = StopFlag()
    engine = llama.TextEngine(LoadText("again", str(path), _N_CTX, 1), lambda reply: None, stop, lambda: None)
    model: Model = engine._model
    for number, job in enumerate(jobs, 1):
        chosen.clear()
        rendered = formatter(messages=[{"role": role, "content": text} for role, text in job.messages])
        prompt = vocabulary.tokenize(rendered.prompt.encode(), add_bos=not rendered.added_special, special=True)
        stop.begin(number)
        temperature, top_p, top_k, min_p, penalty = job.how
        talk, most = tuple(job.messages), job.max_tokens
        sampling = (temperature, top_p, int(top_k), min_p, penalty, job.seed)
        engine.take(RunText(number, talk, _N_CTX, most, *sampling, guesses=False))
        while engine.is_busy:
            engine.step()
        ids = [token for token in chosen if not model.ends(token)]
        report(json.dumps({"prompt": len(prompt), "pieces": [model.piece(token).hex() for token in ids]}))


def came_out_otherwise(job: Counted, again: dict[str, Any]) -> bool:
    """Whether the other process wrote another text, of which nothing can be counted."""
    whole = _text_of(again["pieces"])
    return not (whole.startswith(job.text) or job.text.startswith(whole))


def differences(job: Counted, again: dict[str, Any]) -> Iterator[str]:
    """What the ledger counts otherwise than the other process."""
    if job.charged is None:
        if job.text:
            yield f"{job.text!r} was not charged"
        return
    if job.charged["prompt_tokens"] != again["prompt"]:
        yield f"a prompt of {again['prompt']} tokens is charged as {job.charged['prompt_tokens']}: {job.messages}"
    if came_out_otherwise(job, again):
        return
    count, pieces = job.charged["completion_tokens"], again["pieces"]
    if (written := _text_of(pieces[:count])) != job.text:
        yield f"the first {count} tokens are {written!r}, the answer is {job.text!r}"
    if job.stopped != "user" and count != len(pieces):
        yield f"an answer of {len(pieces)} tokens is charged as {count}"


def _text_of(pieces: Sequence[str]) -> str:
    return bytes.fromhex("".join(pieces)).decode("utf-8", "replace")


def as_line(job: Counted) -> str:
    return json.dumps(asdict(job))


def from_line(line: str) -> Counted:
    record = json.loads(line)
    return Counted(**record | {"messages": [(role, text) for role, text in record["messages"]]})
