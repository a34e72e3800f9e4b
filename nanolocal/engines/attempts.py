"""One job, tried with less and less memory until it can be done, as long as nothing of its prompt is lost."""

from dataclasses import replace

from nanolocal.chat import remarks
from nanolocal.chat.context import prompt_room
from nanolocal.chat.events import EngineEvent, ImageStep, Reading, TextDelta
from nanolocal.chat.ports import ImageJob, TextJob
from nanolocal.chat.usage import PICTURE_TOKENS
from nanolocal.engines.governor import LEAST_CONTEXT, Setup
from nanolocal.errors import NanolocalError, NoBuildFits, OutOfMemory

_BYTES_PER_TOKEN = 3


class Attempts:
    """At ``job``; ``known`` is the setup that worked where more did not. ``setup`` is the one to try now."""

    def __init__(self, job: TextJob | ImageJob, known: Setup | None) -> None:
        self._asked = job
        self._tokens = prompt_tokens(job) if isinstance(job, TextJob) else 0
        self._had_others_leave = self._was_too_short = False
        self.has_delivered = False
        self.setup = setup_for(job, known)

    @property
    def job(self) -> TextJob | ImageJob:
        """What the engine is asked to do."""
        return replace(self._asked, n_ctx=self.setup.n_ctx) if isinstance(self._asked, TextJob) else self._asked

    @property
    def is_short(self) -> bool:
        """Whether the context is shorter than was asked for."""
        return isinstance(self._asked, TextJob) and self.setup.n_ctx < self._asked.n_ctx

    @property
    def remark(self) -> str:
        """What to say about a setup that is not what was asked for."""
        fewer_bits = self.setup.kv != "f16"
        if not self.is_short and not fewer_bits:
            return ""
        return remarks.made_do(self.setup.n_ctx if self.is_short else None, fewer_bits=fewer_bits)

    def take(self, event: EngineEvent) -> None:
        """Learn from what the engine says."""
        if isinstance(event, Reading):
            self._tokens = event.total
        self.has_delivered |= isinstance(event, TextDelta | ImageStep)

    def falls_back(self, error: NanolocalError, *, others_left: bool) -> bool:
        """Whether there is another way after ``error``, which ``setup`` then is.

        The first lack of memory is that of ``others_left``, if they did. A prompt that is longer than it looked gets
        the context that was asked for, once.
        """
        if isinstance(error, OutOfMemory) and others_left and not self._had_others_leave:
            self._had_others_leave = True
            return True
        found: Setup | None = None
        if isinstance(self._asked, TextJob):
            if isinstance(error, OutOfMemory):
                found = self.setup.smaller(least_context(self._asked, self._tokens))
            elif isinstance(error, NoBuildFits) and self.is_short and not self._was_too_short:
                self._was_too_short = True
                found = replace(self.setup, n_ctx=self._asked.n_ctx)
        self.setup = found or self.setup
        return found is not None


def setup_for(job: TextJob | ImageJob, known: Setup | None) -> Setup:
    """What the job asks for, within what is known to work as long as that holds the prompt."""
    if isinstance(job, ImageJob):
        return Setup(0)
    if known is None:
        return Setup(job.n_ctx)
    is_enough = known.n_ctx >= least_context(job, prompt_tokens(job))
    return Setup(min(job.n_ctx, known.n_ctx) if is_enough else job.n_ctx, known.kv)


def prompt_tokens(job: TextJob) -> int:
    """Roughly what the prompt is long, before a tokenizer has seen it; rather too much than too little."""
    pictures = sum(len(message.attachments) for message in job.messages)
    size = sum(len(message.text.encode("utf-8", "replace")) for message in job.messages)
    return size // _BYTES_PER_TOKEN + pictures * PICTURE_TOKENS // 2


def least_context(job: TextJob, tokens: int) -> int:
    """The smallest context, a power of two, from which nothing of a prompt of so many ``tokens`` is left out."""
    n_ctx = LEAST_CONTEXT
    while prompt_room(n_ctx, job.max_tokens) < tokens:
        n_ctx *= 2
    return n_ctx
