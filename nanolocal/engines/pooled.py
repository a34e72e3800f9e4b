"""Turns of one conversation through the engine pool, as the application takes them: what ``bare`` is compared with.

``python -I -m nanolocal.engines.pooled`` reads one ``Question`` (JSON) from standard input and writes one ``Found``.
Before the first turn and after the last one in the same engine it writes an empty line each. Its turns follow each
other; ``swaps`` of them find their engine ended and started again, with what was kept of the conversation.
"""

import asyncio
import json
import secrets
import sys
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nanolocal.chat.events import EngineDone, Loading, TextDelta
from nanolocal.chat.messages import Message, Role
from nanolocal.chat.ports import PromptSnapshot, TextJob
from nanolocal.chat.routes import Build, Kind
from nanolocal.chat.tuning import Tuning
from nanolocal.engines.bare import most_memory
from nanolocal.engines.pool import EnginePool
from nanolocal.engines.settled import Settled
from nanolocal.errors import NanolocalError
from nanolocal.hardening import end_with_parent, harden_process

_CHAT = "measured"


@dataclass(frozen=True, slots=True)
class Question:
    """What to measure: the build's id, file and SHA-256, the memory for engines, and where states may be kept.

    ``said`` are the texts of the conversation so far, the user's first; each of ``asked`` is a turn that follows, the
    last ``swaps`` of them after a swap. ``kept`` is the snapshot that ``Found`` of another process names. ``tuning``
    has fields of ``chat.tuning.Tuning``.
    """

    id: str
    path: str
    sha256: str
    memory: int
    folder: str
    n_ctx: int
    asked: Sequence[str]
    swaps: int = 0
    said: Sequence[str] = ()
    kept: "dict[str, str | int] | None" = None
    write: int = 64
    temperature: float = 0.0
    tuning: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn: seconds until the build was loaded (0 if it was) and from there to the first token; tokens a second."""

    load_s: float
    first_s: float
    read_tok_s: float
    write_tok_s: float
    prompt: int
    cached: int
    written: int


@dataclass(frozen=True, slots=True)
class Found:
    """What was measured; ``memory`` is the most bytes that the engine's process held. ``said`` and ``kept`` go on."""

    turns: list[Turn]
    load_s: float
    memory: int
    said: list[str]
    kept: "dict[str, str | int] | None" = None


@dataclass(slots=True)
class OneState:
    """A prompt cache for one conversation: the file is sealed with a key that is nowhere else."""

    place: Path
    kept: PromptSnapshot | None = field(default=None)

    def folder(self) -> Path:
        """Where its file is."""
        return self.place

    def find(self, sha256: str, chat_id: str) -> PromptSnapshot | None:
        """The one there is."""
        return self.kept

    def reserve(self, size: int) -> PromptSnapshot:
        """A new file; an engine may write to those that are there, and make none."""
        path = self.place / secrets.token_hex(16)
        path.touch(0o600)
        return PromptSnapshot(path, secrets.token_bytes(32), 0, size)

    def keep(self, snapshot: PromptSnapshot, sha256: str, chat_id: str) -> None:
        """It replaces the one before it."""
        if self.kept is not None:
            self.drop(self.kept)
        self.kept = snapshot

    def drop(self, snapshot: PromptSnapshot) -> None:
        """Remove the file."""
        snapshot.path.unlink(missing_ok=True)
        self.kept = None if self.kept == snapshot else self.kept


async def measure(question: Question, mark: Callable[[], None]) -> Found:
    """Take the turns; ``mark`` is called when the engine is loaded, and after the turns that it answers."""
    path = Path(question.path)
    build = Build(question.id, question.id, Kind.TEXT, path, "", path.stat().st_size, question.sha256)
    cache = OneState(Path(question.folder), None if question.kept is None else _opened(question.kept))
    tunings = Settled(Tuning(**question.tuning))
    said, turns = list(question.said), list[Turn]()
    fresh = len(question.asked) - question.swaps
    load_s = 0.0
    pool = EnginePool(question.memory, cache=cache, tunings=tunings)
    try:
        if fresh:
            warming = TextJob((Message(Role.USER, "1"),), question.n_ctx, 1, 0.0)
            load_s = (await _turn(pool, build, warming))[0].load_s
            mark()
        for number, text in enumerate(question.asked):
            if number >= fresh:
                if number == fresh and number:
                    mark()
                await pool.close()
                pool = EnginePool(question.memory, cache=cache, tunings=tunings)
            said.append(text)
            turn, answer = await _turn(pool, build, _job(question, said))
            said.append(answer)
            turns.append(turn)
    finally:
        await pool.close()
    return Found(turns, load_s, most_memory(of_children=True), said, _closed(cache.kept))


def _job(question: Question, said: Sequence[str]) -> TextJob:
    roles = [Role.ASSISTANT if number % 2 else Role.USER for number in range(len(said))]
    messages = tuple(Message(role, text) for role, text in zip(roles, said, strict=True))
    return TextJob(messages, question.n_ctx, question.write, question.temperature, seed=1, chat_id=_CHAT)


async def _turn(pool: EnginePool, build: Build, job: TextJob) -> tuple[Turn, str]:
    began = time.monotonic()
    first_at = 0.0
    pieces: list[str] = []
    done: EngineDone | None = None
    async with aclosing(pool.run(build, job, asyncio.Event())) as events:
        async for event in events:
            match event:
                case Loading(_, 1.0):
                    began = time.monotonic()
                case TextDelta(text):
                    first_at = first_at or time.monotonic()
                    pieces.append(text)
                case EngineDone():
                    done = event
    assert done is not None
    timing, usage = done.timing, done.usage
    first_s = first_at - began if first_at else 0.0
    figures = (timing.load_s, first_s, timing.prompt_tok_s, timing.decode_tok_s)
    return Turn(*figures, usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens), "".join(pieces)


def _opened(kept: "dict[str, str | int]") -> PromptSnapshot:
    key = b64decode(str(kept["key"]))
    return PromptSnapshot(Path(str(kept["path"])), key, int(kept["tokens"]), int(kept["size"]))


def _closed(kept: PromptSnapshot | None) -> "dict[str, str | int] | None":
    if kept is None:
        return None
    key = b64encode(kept.key).decode("ascii")
    return {"path": str(kept.path), "key": key, "tokens": kept.tokens, "size": kept.size}


def main() -> int:
    """Answer one question."""
    end_with_parent()
    harden_process()
    question = Question(**json.load(sys.stdin))

    def mark() -> None:
        sys.stdout.write("\n")
        sys.stdout.flush()

    try:
        answer = asdict(asyncio.run(measure(question, mark)))
    except NanolocalError as problem:
        answer = {"failed": problem.message}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
