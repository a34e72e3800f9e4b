"""The text engine: one model, one context, one conversation in memory. Runs in the child."""

import codecs
import io
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nanolocal.chat.messages import Message, Role, Stopped
from nanolocal.engines.ggml import BATCH, Context, Model, Sampler, Sampling
from nanolocal.engines.prompt import Prompter
from nanolocal.engines.protocol import Delta, Done, Dropped, LoadText, Progress, Read, Reply, RunImage, RunText
from nanolocal.engines.stopflag import StopFlag
from nanolocal.errors import EngineFailed

_PROGRESS_STEP = 0.02
_MIN_CONTEXT = 64


class TextEngine:
    """A loaded GGUF file. ``emit`` takes what happens; raises ``EngineFailed`` when it cannot be loaded."""

    def __init__(self, request: LoadText, emit: Callable[[Reply], None], stop: StopFlag) -> None:
        self._emit = emit
        self._stop = stop
        self._threads = request.threads
        self._model = Model(Path(request.path), _throttled(emit))
        self._prompter = Prompter(self._model, request.build)
        self._kv = request.kv
        self._context = self._open(self._context_size(request.n_ctx))
        self._held: list[int] = []

    def run(self, job: RunText | RunImage) -> Done:
        """Answer; the account has no memory and no CPU seconds yet. Raises ``NoBuildFits``, ``EngineFailed``."""
        if not isinstance(job, RunText):
            raise EngineFailed("a text engine draws no pictures")
        began = time.monotonic()
        n_ctx = self._context_size(job.n_ctx)
        messages = [Message(Role(role), text) for role, text in job.messages]
        prompt = self._prompter.prompt(messages, n_ctx, job.max_tokens)
        if prompt.dropped_messages:
            self._emit(Dropped(prompt.dropped_messages, prompt.dropped_tokens))
        self._widen(n_ctx)
        cached = self._reuse(prompt.tokens)
        read_began = time.monotonic()
        done = self._read(prompt.tokens, cached)
        read_s = time.monotonic() - read_began
        written = _Written(Stopped.USER)
        if done == len(prompt.tokens):
            written = self._write(job, min(job.max_tokens, n_ctx - done))
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

    def _open(self, n_ctx: int) -> Context:
        return Context(self._model, n_ctx, self._threads, self._stop.buffer, self._kv)

    def _context_size(self, wanted: int) -> int:
        return max(min(wanted, self._model.trained_context or wanted), _MIN_CONTEXT)

    def _widen(self, n_ctx: int) -> None:
        """Make room for ``n_ctx`` tokens; a longer context is a new one."""
        if n_ctx > self._context.size:
            self._context.close()
            self._held = []
            self._context = self._open(n_ctx)

    def _reuse(self, tokens: Sequence[int]) -> int:
        """Keep what memory and prompt have in common; the last token is always read again, for its prediction."""
        limit = min(len(self._held), len(tokens) - 1)
        common = next((i for i in range(limit) if self._held[i] != tokens[i]), limit)
        return self._forget_after(common)

    def _forget_after(self, count: int) -> int:
        """Keep the first ``count`` tokens if the model can, else none; return how many are left."""
        if count < len(self._held) or not count:
            self._held = self._held[:count] if self._context.keep(count) else []
        return len(self._held)

    def _read(self, tokens: Sequence[int], cached: int) -> int:
        """Read the prompt from ``cached`` on; return how many tokens of it are read when it ends or is stopped."""
        self._emit(Read(cached, len(tokens), cached))
        for start in range(cached, len(tokens), BATCH):
            if not self._take(tokens[start : start + BATCH]):
                return start
            self._emit(Read(len(self._held), len(tokens), cached))
        return len(tokens)

    def _take(self, tokens: Sequence[int]) -> bool:
        """Read ``tokens`` after what is held; false when stopped, then they are not held."""
        position = len(self._held)
        try:
            is_read = not self._stop.is_set and self._context.decode(tokens, position)
        except EngineFailed:
            self._held = []
            self._context.keep(0)
            raise
        if is_read:
            self._held.extend(tokens)
        elif not self._context.keep(position):
            self._held = []
        return is_read

    def _write(self, job: RunText, limit: int) -> "_Written":
        """Write at most ``limit`` tokens."""
        seed = random.getrandbits(32) if job.seed is None else job.seed
        how = Sampling(job.temperature, job.top_p, job.top_k, job.min_p, job.repeat_penalty, seed)
        sampler = Sampler(self._model, how, self._held)
        written = _Written(Stopped.LENGTH)
        text = _Text()
        try:
            while written.tokens < limit:
                token = sampler.choose(self._context)
                if self._model.ends(token):
                    written.stopped = Stopped.END
                    break
                written.count()
                self._send(text.take(self._model.piece(token)))
                if written.tokens < limit and not self._take([token]):
                    written.stopped = Stopped.USER
                    break
        finally:
            sampler.close()
        self._send(text.rest())
        return written

    def _send(self, delta: Delta | None) -> None:
        if delta is not None:
            self._emit(delta)


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


class _Text:
    """Turns the bytes of tokens into text; a character (or line end) split over tokens comes whole with the last."""

    def __init__(self) -> None:
        utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._decoder = io.IncrementalNewlineDecoder(utf8, translate=True)
        self._tokens = 0

    def take(self, data: bytes) -> Delta | None:
        """The text that one more token completes."""
        self._tokens += 1
        return self._delta(self._decoder.decode(data))

    def rest(self) -> Delta | None:
        """What is left at the end, and tokens that had no text."""
        text = self._decoder.decode(b"", final=True)
        return self._delta(text) or (Delta("", self._tokens) if self._tokens else None)

    def _delta(self, text: str) -> Delta | None:
        if not text:
            return None
        tokens, self._tokens = self._tokens, 0
        return Delta(text, tokens)


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
