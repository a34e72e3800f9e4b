"""The text engine: one model, one context, one conversation in memory. Runs in the child."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nanolocal.chat.messages import Attachment, Message, Role, Stopped
from nanolocal.engines.calls import Tools
from nanolocal.engines.eyes import Eyes
from nanolocal.engines.ggml import BATCH, Context, Model
from nanolocal.engines.parts import Splitter, splitter
from nanolocal.engines.prompt import Prompt, Prompter
from nanolocal.engines.protocol import Done, Dropped, LoadText, Progress, Read, Reply, RunImage, RunText
from nanolocal.engines.sampling import DRY_WINDOW, Sampler, Sampling, likely
from nanolocal.engines.speech import Speech, odds
from nanolocal.engines.stopflag import StopFlag
from nanolocal.engines.tokens import Glance, Held, Token, size_of, steps_of
from nanolocal.errors import EngineFailed, UsageError

_PROGRESS_STEP = 0.02
_MIN_CONTEXT = 64


class TextEngine:
    """A loaded GGUF file. ``emit`` takes what happens; raises ``EngineFailed`` when it cannot be loaded."""

    def __init__(self, request: LoadText, emit: Callable[[Reply], None], stop: StopFlag) -> None:
        self._emit = emit
        self._stop = stop
        self._threads = request.threads
        self._model = Model(Path(request.path), _throttled(emit))
        self._build = request.build
        self._projector = request.projector
        self._eyes: Eyes | None = None
        self._prompter = Prompter(self._model, request.build, self._look)
        self._kv = request.kv
        self._context = self._open(self._context_size(request.n_ctx))
        self._held = Held()

    def run(self, job: RunText | RunImage) -> Done:
        """Answer; the account has no memory and no CPU seconds yet.

        Raises ``NoBuildFits``, ``EngineFailed``, and ``UsageError`` for a picture that cannot be read.
        """
        if not isinstance(job, RunText):
            raise EngineFailed("a text engine draws no pictures")
        try:
            return self._answer(job)
        finally:
            if self._eyes is not None:
                self._eyes.forget()

    def _answer(self, job: RunText) -> Done:
        began = time.monotonic()
        n_ctx = self._context_size(job.n_ctx)
        messages = _messages(job)
        tools = Tools(job.tools)
        prompt = self._prompter.prompt(messages, n_ctx, job.max_tokens, tools)
        if prompt.dropped_messages:
            self._emit(Dropped(prompt.dropped_messages, prompt.dropped_tokens))
        self._widen(n_ctx)
        cached = self._reuse(prompt.tokens)
        read_began = time.monotonic()
        total = size_of(prompt.tokens)
        done = self._read(prompt.tokens, total)
        read_s = time.monotonic() - read_began
        written = _Written(Stopped.USER)
        if done == total:
            speech = Speech(self._model, self._splitter(prompt, tools), job.stop, self._emit)
            written = self._write(job, speech, min(job.max_tokens, n_ctx - done))
        return Done(
            stopped=written.stopped,
            memory=0,
            prompt_tokens=done,
            cached_tokens=cached,
            completion_tokens=written.tokens,
            ttft_s=written.first_at - began if written.tokens else 0.0,
            prompt_tok_s=_rate(done - cached, read_s),
            decode_tok_s=_rate(written.tokens - 1, written.last_at - written.first_at),
        )

    def _look(self, picture: bytes) -> tuple[Token, ...]:
        """What a picture becomes. The projector is loaded for the first one, so that text alone never needs it."""
        if not self._projector:
            raise UsageError(f"{self._build} cannot look at pictures", "choose a build with a projector")
        if self._eyes is None:
            self._eyes = Eyes(Path(self._projector), self._model, self._threads, self._stop)
        return self._eyes.tokens(picture)

    def _open(self, n_ctx: int) -> Context:
        return Context(self._model, n_ctx, self._threads, self._stop.buffer, self._kv)

    def _context_size(self, wanted: int) -> int:
        return max(min(wanted, self._model.trained_context or wanted), _MIN_CONTEXT)

    def _widen(self, n_ctx: int) -> None:
        """Make room for ``n_ctx`` tokens; a longer context is a new one."""
        if n_ctx > self._context.size:
            self._context.close()
            self._held = Held()
            self._context = self._open(n_ctx)

    def _reuse(self, tokens: Sequence[Token]) -> int:
        """Keep what memory and prompt have in common; return how much that is.

        The last token is always read again, for its prediction.
        """
        held = self._held.tokens
        limit = min(len(held), len(tokens) - 1)
        common = next((i for i in range(limit) if held[i] != tokens[i]), limit)
        if common < len(held) or not common:
            self._held.cut(common)
            self._keep()
        return self._held.size

    def _keep(self) -> None:
        """Let the context forget what is not held; where the model cannot do that, nothing is."""
        if not self._context.keep(self._held.position):
            self._held = Held()

    def _read(self, tokens: Sequence[Token], total: int) -> int:
        """Read the prompt after what is held; return how much of it is read when it ends or is stopped."""
        cached = self._held.size
        self._emit(Read(cached, total, cached))
        for step in steps_of(tokens[len(self._held.tokens) :], BATCH):
            if not self._take(step):
                break
            self._emit(Read(self._held.size, total, cached))
        return self._held.size

    def _take(self, tokens: Sequence[Token]) -> bool:
        """Read ``tokens`` after what is held, one step; false when stopped, then they are not held."""
        try:
            is_read = not self._stop.is_set and self._see_or_decode(tokens)
        except EngineFailed:
            self._held = Held()
            self._context.keep(0)
            raise
        if is_read:
            self._held.add(tokens)
        else:
            self._keep()
        return is_read

    def _see_or_decode(self, tokens: Sequence[Token]) -> bool:
        first = tokens[0]
        if isinstance(first, Glance):
            assert self._eyes is not None
            return self._eyes.read(first, self._context, self._held.position)
        text = [token for token in tokens if not isinstance(token, Glance)]
        return self._context.decode(text, self._held.position)

    def _splitter(self, prompt: Prompt, tools: Tools) -> Splitter:
        return splitter(self._prompter.template, prompt.end, tools)

    def _write(self, job: RunText, speech: Speech, limit: int) -> "_Written":
        """Write at most ``limit`` tokens."""
        seed = random.getrandbits(32) if job.seed is None else job.seed
        read = self._held.text(DRY_WINDOW)
        sampler = Sampler(self._model, Sampling.of(job, seed), read, waits=not speech.is_answering)
        written = _Written(Stopped.LENGTH)
        try:
            while written.tokens < limit:
                token = sampler.choose(self._context)
                if self._model.ends(token):
                    written.stopped = Stopped.END
                    break
                written.count()
                if job.logprobs is not None:
                    self._emit(odds(self._model, likely(self._model, self._context, -1, token, job.logprobs)))
                sampler.accept(token)
                speech.take(token)
                if speech.is_answering:
                    sampler.begin_grammar()
                if speech.is_over:
                    written.stopped = Stopped.END
                    break
                if written.tokens < limit and not self._take([token]):
                    written.stopped = Stopped.USER
                    break
            speech.rest()
            if sampler.waits and written.stopped is Stopped.END:
                raise EngineFailed("it ended before the answer that was to follow a grammar", "ask again")
        finally:
            sampler.close()
        return written


@dataclass(slots=True)
class _Written:
    """The account of an answer: tokens, and when the first and the last of them came."""

    stopped: Stopped
    tokens: int = 0
    first_at: float = 0.0
    last_at: float = 0.0

    def count(self) -> None:
        self.last_at = time.monotonic()
        self.tokens += 1
        if self.tokens == 1:
            self.first_at = self.last_at


def _messages(job: RunText) -> list[Message]:
    """The conversation, each message with its pictures."""
    pictures: list[list[Attachment]] = [[] for _ in job.messages]
    for index, data in job.pictures:
        pictures[index].append(Attachment("", "", data))
    return [Message(Role(role), text, tuple(seen)) for (role, text), seen in zip(job.messages, pictures, strict=True)]


def _throttled(emit: Callable[[Reply], None]) -> Callable[[float], None]:
    """Report progress only when it has moved visibly."""
    last = -_PROGRESS_STEP

    def report(fraction: float) -> None:
        nonlocal last
        if fraction - last >= _PROGRESS_STEP:
            last = fraction
            emit(Progress(fraction))

    return report


def _rate(count: int, seconds: float) -> float:
    return count / seconds if count > 0 and seconds > 0 else 0.0
