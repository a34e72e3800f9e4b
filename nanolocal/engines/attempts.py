"""One job, tried with less and less memory until it can be done, as long as nothing of its prompt is lost."""

from dataclasses import replace

from nanolocal.chat import remarks
from nanolocal.chat.canvas import LEAST_SIDE, SIDE_STEP, Ladder
from nanolocal.chat.context import prompt_room
from nanolocal.chat.events import Embedded, EngineEvent, ImageStep, Reading, TextDelta
from nanolocal.chat.media import likely_tokens
from nanolocal.chat.ports import EmbeddingJob, ImageJob, Job, TextJob
from nanolocal.chat.routes import Build
from nanolocal.chat.tuning import USUAL, Tuning
from nanolocal.engines.governor import LEAST_CONTEXT, Setup
from nanolocal.errors import NanolocalError, NoBuildFits, OutOfMemory

_BYTES_PER_TOKEN = 3
_SMALLER = 0.75


class Attempts:
    """At ``job``; ``known`` is the setup that worked where more did not. ``setup`` is the one to try now.

    ``told`` is the remark that was made last. ``ladder`` has the ways to draw with less and less memory
    (``chat.drawing.RUNGS``), for a job that draws, with the bytes that they take, 0 for unknown; ``places`` are what it
    reads. ``draft`` is the build that writes ahead.
    """

    def __init__(
        self,
        job: Job,
        known: Setup | None,
        tuning: Tuning = USUAL,
        draft: Build | None = None,
        ladder: Ladder = (),
        places: frozenset[str] = frozenset(),
    ) -> None:
        self._asked = job
        self._layers = tuning.gpu_layers
        self._drafts = draft is not None
        self._ladder = ladder
        self._size = (job.width, job.height) if isinstance(job, ImageJob) else (0, 0)
        self._tokens = prompt_tokens(job) if isinstance(job, TextJob) else 0
        self._had_others_leave = self._was_too_short = False
        self.has_delivered = False
        self.told = ""
        setup = setup_for(job, known, tuning, ladder)
        self.setup = replace(setup, draft=None if known is not None else draft, places=places)

    @property
    def job(self) -> Job:
        """What the engine is asked to do."""
        if isinstance(self._asked, TextJob):
            return replace(self._asked, n_ctx=self.setup.n_ctx)
        if isinstance(self._asked, ImageJob):
            return replace(self._asked, width=self._size[0], height=self._size[1])
        return self._asked

    @property
    def is_short(self) -> bool:
        """Whether the context is shorter than was asked for."""
        return isinstance(self._asked, TextJob) and self.setup.n_ctx < self._asked.n_ctx

    @property
    def is_smaller(self) -> bool:
        """Whether the picture is smaller than was asked for."""
        return isinstance(self._asked, ImageJob) and self._size != (self._asked.width, self._asked.height)

    @property
    def remark(self) -> str:
        """What to say about a setup that is not what was asked for."""
        if isinstance(self._asked, ImageJob):
            size = self._size if self.is_smaller else None
            return remarks.drawn_with_less(self.setup.rung, size) if size or self.setup.rung != "full" else ""
        fewer_bits = self.setup.kv != "f16"
        layers = self.setup.tuning.gpu_layers if self.setup.tuning.gpu_layers < self._layers else None
        alone = self._drafts and self.setup.draft is None
        n_ctx = self.setup.n_ctx if self.is_short else None
        return remarks.made_do(n_ctx, fewer_bits=fewer_bits, layers=layers, is_alone=alone)

    def take(self, event: EngineEvent) -> None:
        """Learn from what the engine says."""
        if isinstance(event, Reading):
            self._tokens = event.total
        self.has_delivered |= isinstance(event, TextDelta | ImageStep | Embedded)

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
                smaller = self.setup.smaller(least_context(self._asked, self._tokens))
                found = smaller or self.setup.with_fewer_layers(self._asked.n_ctx)
            elif isinstance(error, NoBuildFits) and self.is_short and not self._was_too_short:
                self._was_too_short = True
                found = replace(self.setup, n_ctx=self._asked.n_ctx)
        elif isinstance(error, OutOfMemory):
            found = self._draws_with_less()
        self.setup = found or self.setup
        return found is not None

    def _draws_with_less(self) -> Setup | None:
        """The next rung of the ladder, and after the last one a smaller picture."""
        names = [name for name, _ in self._ladder]
        at = names.index(self.setup.rung) if self.setup.rung in names else len(names)
        if at + 1 < len(names):
            rung, memory = self._ladder[at + 1]
            return replace(self.setup, rung=rung, memory=memory)
        sides = [int(side * _SMALLER) // SIDE_STEP * SIDE_STEP for side in self._size]
        if min(sides) < LEAST_SIDE:
            return None
        self._size = (sides[0], sides[1])
        return replace(self.setup, memory=0)


def setup_for(job: Job, known: Setup | None, tuning: Tuning = USUAL, ladder: Ladder = ()) -> Setup:
    """What the job asks for, as it is fastest here, within what is known to work as long as that holds the prompt."""
    if isinstance(job, ImageJob):
        rungs = dict(ladder)
        first = next(iter(rungs), "full")
        rung = known.rung if known is not None and known.rung in rungs else first
        return Setup(0, rung=rung, memory=rungs.get(rung, 0))
    if isinstance(job, EmbeddingJob):
        return Setup(job.n_ctx, embeds=True)
    if known is None:
        return Setup(job.n_ctx, tuning=tuning)
    is_enough = known.n_ctx >= least_context(job, prompt_tokens(job))
    return replace(known, n_ctx=min(job.n_ctx, known.n_ctx) if is_enough else job.n_ctx)


def prompt_tokens(job: TextJob) -> int:
    """Roughly what the prompt is long, before a tokenizer has seen it; rather too much than too little."""
    files = likely_tokens(item for message in job.messages for item in message.attachments)
    size = sum(len(message.text.encode("utf-8", "replace")) for message in job.messages)
    return size // _BYTES_PER_TOKEN + files


def least_context(job: TextJob, tokens: int) -> int:
    """The smallest context, a power of two, from which nothing of a prompt of so many ``tokens`` is left out."""
    n_ctx = LEAST_CONTEXT
    while prompt_room(n_ctx, job.max_tokens) < tokens:
        n_ctx *= 2
    return n_ctx
