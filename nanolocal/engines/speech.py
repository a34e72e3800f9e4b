"""What a model writes, on its way out: bytes of tokens become text, text becomes parts, parts become frames."""

import codecs
import io
from collections.abc import Callable, Sequence

from nanolocal.engines.calls import Call
from nanolocal.engines.ggml import Model
from nanolocal.engines.parts import Heard, Part, Splitter
from nanolocal.engines.protocol import Delta, Odds, Reply, ToolCall
from nanolocal.engines.sampling import Likely
from nanolocal.engines.stopping import StopStrings

_MOST_UNTOLD = 16
"""Tokens without a text to show after which they are told all the same, so that they are counted."""


class Speech:
    """The answer to ``job``, token by token; ``emit`` takes its frames.

    A character or line end that is split over tokens comes whole with the last of them. ``stop`` are texts that end the
    answer; what the model thinks does not count.
    """

    def __init__(
        self, job: int, model: Model, splitter: Splitter, stop: Sequence[str], emit: Callable[[Reply], None]
    ) -> None:
        self._job = job
        self._model = model
        self._splitter = splitter
        self._stop = StopStrings(stop)
        self._emit = emit
        utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._decoder = io.IncrementalNewlineDecoder(utf8, translate=True)
        self._untold = 0

    @property
    def is_over(self) -> bool:
        """Whether a stop string has come."""
        return self._stop.found is not None

    @property
    def is_answering(self) -> bool:
        """Whether the next token belongs to the answer, as far as can be told."""
        return self._splitter.is_answering

    def take(self, token: int) -> None:
        """``token`` comes next."""
        self._untold += 1
        self._tell(self._splitter.take(self._decoder.decode(self._bytes(token))))
        if self._untold >= _MOST_UNTOLD:
            self._delta("", self._part)

    def rest(self) -> None:
        """Nothing follows: tell what was held back, and tokens that had no text."""
        self._tell(self._splitter.take(self._decoder.decode(b"", final=True)))
        if not self.is_over:
            self._tell(self._splitter.rest())
            self._say(self._stop.rest())
        if self._untold:
            self._delta("", self._part)

    @property
    def _part(self) -> Part:
        return Part.ANSWER if self.is_answering else Part.REASONING

    def _bytes(self, token: int) -> bytes:
        """What ``token`` writes; the name of a control token that says where a part ends."""
        piece = self._model.piece(token)
        if not piece and self._splitter.markers and (name := self._model.token_text(token)) in self._splitter.markers:
            return name.encode()
        return piece

    def _tell(self, heard: Sequence[Heard]) -> None:
        for each in heard:
            if self.is_over:
                return
            if isinstance(each, Call):
                self._emit(ToolCall(self._job, each.name, each.arguments))
            elif each.part is Part.REASONING:
                self._delta(each.text, Part.REASONING)
            else:
                self._say(self._stop.take(each.text))

    def _say(self, text: str) -> None:
        if text:
            self._delta(text, Part.ANSWER)

    def _delta(self, text: str, part: Part) -> None:
        tokens, self._untold = self._untold, 0
        self._emit(Delta(self._job, text, tokens, part))


def odds(job: int, model: Model, ranked: Sequence[Likely]) -> Odds:
    """The frame for a chosen token, which comes first, and the likeliest ones."""
    words = [(_word(model, each.token), each.logprob) for each in ranked]
    return Odds(job, *words[0], tuple(words[1:]))


def _word(model: Model, token: int) -> str:
    return model.piece(token).decode("utf-8", "replace") or model.token_text(token)
