"""An answer as it is written: how its tokens are chosen, when it ends, and the account of it."""

import codecs
import io
import random
import time
from collections.abc import Sequence

from nanolocal.chat.messages import Stopped
from nanolocal.engines.ggml import PENALTY_WINDOW, Context, Model, Sampler, Sampling
from nanolocal.engines.protocol import Delta, RunText


class Answer:
    """The answer to ``job``, of at most ``limit`` tokens, after ``read``."""

    def __init__(self, job: RunText, model: Model, read: Sequence[int], limit: int) -> None:
        seed = random.getrandbits(32) if job.seed is None else job.seed
        how = Sampling(job.temperature, job.top_p, job.top_k, job.min_p, job.repeat_penalty, seed)
        self._job = job.job
        self._model = model
        self._limit = limit
        self._sampler = Sampler(model, how, read[-PENALTY_WINDOW:])
        self._text = _Text()
        self.tokens = 0
        self.first_at = 0.0
        self.last_at = 0.0

    def close(self) -> None:
        """Give the sampler's memory back."""
        self._sampler.close()

    def choose(self, context: Context, row: int) -> int:
        """The next token after the one at index ``row`` of the step that was read last."""
        return self._sampler.choose(context, row)

    def take(self, token: int) -> tuple[Delta | None, Stopped | None]:
        """Write ``token``: the text that it completes, and how the answer ends, if it does."""
        if self._model.ends(token):
            return None, Stopped.END
        self.last_at = time.monotonic()
        self.first_at = self.first_at or self.last_at
        self.tokens += 1
        text = self._text.take(self._model.piece(token))
        return self._delta(text), Stopped.LENGTH if self.tokens >= self._limit else None

    def rest(self) -> Delta | None:
        """What is left at the end, and tokens that had no text."""
        return self._delta(self._text.rest())

    def _delta(self, written: tuple[str, int] | None) -> Delta | None:
        return None if written is None else Delta(self._job, *written)


class _Text:
    """Turns the bytes of tokens into text; a character (or line end) split over tokens comes whole with the last."""

    def __init__(self) -> None:
        utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._decoder = io.IncrementalNewlineDecoder(utf8, translate=True)
        self._tokens = 0

    def take(self, data: bytes) -> tuple[str, int] | None:
        """The text that one more token completes, and the tokens it took."""
        self._tokens += 1
        return self._piece(self._decoder.decode(data))

    def rest(self) -> tuple[str, int] | None:
        text = self._decoder.decode(b"", final=True)
        return self._piece(text) or (("", self._tokens) if self._tokens else None)

    def _piece(self, text: str) -> tuple[str, int] | None:
        if not text:
            return None
        tokens, self._tokens = self._tokens, 0
        return text, tokens
