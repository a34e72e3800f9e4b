"""An answer as it is written: how its tokens are chosen, when it ends, and the account of it."""

import random
import time
from collections.abc import Callable, Sequence

from nanolocal.chat.messages import Stopped
from nanolocal.engines.ggml import Context, Model
from nanolocal.engines.parts import Splitter
from nanolocal.engines.protocol import Reply, RunText
from nanolocal.engines.sampling import DRY_WINDOW, Sampler, Sampling, likely
from nanolocal.engines.speech import Speech, odds
from nanolocal.errors import EngineFailed


class Answer:
    """The answer to ``job``, of at most ``limit`` tokens, after ``read``; ``emit`` takes its frames.

    Raises ``UsageError`` for a grammar that llama.cpp cannot read.
    """

    def __init__(
        self,
        job: RunText,
        model: Model,
        splitter: Splitter,
        read: Sequence[int],
        limit: int,
        emit: Callable[[Reply], None],
    ) -> None:
        seed = random.getrandbits(32) if job.seed is None else job.seed
        self._job = job
        self._model = model
        self._limit = limit
        self._emit = emit
        self._speech = Speech(job.job, model, splitter, job.stop, emit)
        self._sampler = Sampler(model, Sampling.of(job, seed), read[-DRY_WINDOW:], waits=not self._speech.is_answering)
        self.tokens = 0
        self.first_at = 0.0
        self.last_at = 0.0
        self.ended: Stopped | None = None

    def close(self) -> None:
        """Give the sampler's memory back."""
        self._sampler.close()

    def write(self, context: Context, row: int) -> int:
        """Choose the next token after the one at index ``row`` of the step that was read last, and say it.

        ``ended`` then tells how the answer ends, if it does. Raises ``EngineFailed`` where no token can be chosen.
        """
        token = self._sampler.choose(context, row)
        if self._model.ends(token):
            self.ended = Stopped.END
            return token
        self.last_at = time.monotonic()
        self.first_at = self.first_at or self.last_at
        self.tokens += 1
        if self._job.logprobs is not None:
            ranked = likely(self._model, context, row, token, self._job.logprobs)
            self._emit(odds(self._job.job, self._model, ranked))
        self._sampler.accept(token)
        self._speech.take(token)
        if self._speech.is_answering:
            self._sampler.begin_grammar()
        if self._speech.is_over:
            self.ended = Stopped.END
        elif self.tokens >= self._limit:
            self.ended = Stopped.LENGTH
        return token

    def finish(self) -> None:
        """Nothing follows: say what was held back. Raises ``EngineFailed`` where the grammar never had its turn."""
        self._speech.rest()
        if self._sampler.waits and self.ended is Stopped.END:
            raise EngineFailed("it ended before the answer that was to follow a grammar", "ask again")
