"""The engine: takes one job after the other and draws its pictures."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nanolocal.chat import messages, remarks
from nanolocal.engines import allocator
from nanolocal.engines.diffusion import asking, caching
from nanolocal.engines.diffusion.adapters import Adapters
from nanolocal.engines.diffusion.encoders import Encoders
from nanolocal.engines.diffusion.opening import Opened, open_pipeline
from nanolocal.engines.diffusion.previews import Previews, png
from nanolocal.engines.diffusion.progress import Steps, Stopped, no_numbers
from nanolocal.engines.diffusion.schedulers import Schedulers
from nanolocal.engines.diffusion.variants import Variants
from nanolocal.engines.diffusion.weighting import parse
from nanolocal.engines.failures import failed
from nanolocal.engines.protocol import (
    Done,
    Drawn,
    Dropped,
    Failed,
    LoadImage,
    Ranks,
    Remark,
    Reply,
    Run,
    RunImage,
)
from nanolocal.engines.stopflag import StopFlag
from nanolocal.errors import BuildFailed, EngineFailed

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

_PLAIN = "callback"
_ON_STEP_END = "callback_on_step_end"


class ImageEngine:
    """A loaded pipeline. ``emit`` takes what happens; raises ``EngineFailed`` when it cannot be loaded."""

    def __init__(self, request: LoadImage, emit: Callable[[Reply], None], stop: StopFlag) -> None:
        self._emit = emit
        self._stop = stop
        allocator.keep_no_large_blocks()
        self._opened: Opened = open_pipeline(request, emit)
        _give_back_memory()
        gc.freeze()  # what stays need not be looked at again: a stop waits for the collector
        own = self._opened.pipeline
        self._encoders = Encoders(own)
        self._adapters = Adapters(own, self._encoders.forget)
        self._schedulers = Schedulers(own)
        self._variants = Variants(own)
        self._previews = Previews(own)
        self._job: RunImage | None = None
        self._cpu_s = time.process_time()

    @property
    def is_busy(self) -> bool:
        """Whether there is a picture to draw."""
        return self._job is not None

    def take(self, job: Run) -> None:
        """Begin a job; raises ``EngineFailed``."""
        if not isinstance(job, RunImage) or self.is_busy:
            raise EngineFailed("an image engine draws one picture at a time and writes no text")
        self._job = job

    def step(self) -> None:
        """Draw the pictures of the job."""
        job, self._job = self._job, None
        assert job is not None
        try:
            end: Done | Failed = self._run(job)
        except Exception as error:  # whatever a library raises, the parent gets one clear line
            end = failed(job.job, error)
        if isinstance(end, Failed) or end.stopped != messages.Stopped.END:
            _give_back_memory()
        self._stop.end(job.job)
        self._emit(end)

    def leave(self) -> None:
        """Nothing outlives it."""

    def _run(self, job: RunImage) -> Done:
        """Draw; the account has no memory yet."""
        began = time.monotonic()
        steps = Steps(job, asking.steps_of(job), self._previews, self._emit, self._stop, self._opened.rung)
        stopped = messages.Stopped.END
        try:
            steps.check()
            self._draw(job, steps)
        except Stopped:
            stopped = messages.Stopped.USER
        before, self._cpu_s = self._cpu_s, time.process_time()
        return Done(
            job=job.job,
            stopped=stopped,
            memory=0,
            cpu_s=self._cpu_s - before,
            pixel_steps=job.width * job.height * steps.done,
            ttft_s=steps.first_at - began if steps.done else 0.0,
        )

    def _draw(self, job: RunImage, steps: Steps) -> None:
        """Draw every picture of ``job``, each as if it were the only one."""
        prompt, spans = parse(job.prompt)
        negative, negative_spans = parse(job.negative)
        if (spans or negative_spans) and not self._encoders.takes_weights:
            self._emit(Remark(job.job, remarks.UNWEIGHTED))
        if cut := self._cut_off(prompt):
            self._emit(Dropped(job.job, 0, cut))
        scheduler = self._schedulers.named(job.scheduler)
        adapters = self._adapters.use(job.adapters)
        pipeline = self._variants.for_job(job)
        pipeline.scheduler = scheduler
        caching.use(pipeline, job.cache)
        called = asking.prompts(pipeline, job, prompt, negative) | asking.arguments(pipeline, job)
        self._encoders.weigh(((prompt, spans), (negative, negative_spans)))
        told = self._told(job, pipeline, adapters)
        try:
            with _watched(pipeline, steps):
                for number in range(job.count):
                    steps.begin(number)
                    picture = self._picture(job, pipeline, called, told.seed + number, steps)
                    self._emit(replace(told, picture=picture, seed=told.seed + number))
        except Stopped:
            preview = self._previews.last(steps.latents, job) if job.keep_preview else None
            if preview is not None:
                seed = told.seed + steps.number
                self._emit(replace(told, picture=preview, seed=seed, stopped_at=steps.done_of_this))
            raise

    def _told(self, job: RunImage, pipeline: DiffusionPipeline, adapters: Ranks) -> Drawn:
        """What is told of the first picture, before it is drawn."""
        import diffusers
        import torch
        import transformers

        return Drawn(
            job=job.job,
            picture=b"",
            seed=random.getrandbits(32) if job.seed is None else job.seed,
            scheduler=type(pipeline.scheduler).__name__,
            rung=self._opened.rung,
            dtype=self._opened.dtype,
            threads=torch.get_num_threads(),
            adapters=adapters,
            versions=tuple((each.__name__, each.__version__) for each in (diffusers, torch, transformers)),
        )

    def _picture(
        self, job: RunImage, pipeline: DiffusionPipeline, called: dict[str, Any], seed: int, steps: Steps
    ) -> bytes:
        """One picture as PNG."""
        import numpy
        import torch

        generator = torch.Generator("cpu").manual_seed(seed)
        # Where parts move between memories, their weights would be left as tensors that a LoRA cannot be added to.
        with torch.inference_mode(self._opened.rung == "full"):
            result = pipeline(**called, **_callback(pipeline, steps), generator=generator)
        picture = result.images[0]
        if not numpy.isfinite(picture).all():
            raise no_numbers()
        if any(getattr(result, "nsfw_content_detected", None) or ()):
            self._emit(Remark(job.job, remarks.BLACKED_OUT))
        elif not picture.any():
            raise BuildFailed("it draws nothing but black: its weights do not suit the precision it runs in")
        steps.finish()
        self._previews.learn(steps.latents, job, picture)
        return png(pipeline.image_processor.numpy_to_pil(picture)[0])

    def _cut_off(self, prompt: str) -> int:
        """Tokens at the end of ``prompt`` that no text encoder takes; diffusers cuts them in silence."""
        parts = (getattr(self._opened.pipeline, name, None) for name in ("tokenizer", "tokenizer_2", "tokenizer_3"))
        excess = [len(part(prompt).input_ids) - part.model_max_length for part in parts if part is not None]
        return max(0, min(excess, default=0))


def _callback(pipeline: DiffusionPipeline, steps: Steps) -> dict[str, Any]:
    """How this pipeline tells of its steps; a few do not at all."""
    import inspect

    taken = inspect.signature(type(pipeline).__call__).parameters
    if _ON_STEP_END in taken:
        return {_ON_STEP_END: steps.take, f"{_ON_STEP_END}_tensor_inputs": ["latents"]}
    return {_PLAIN: steps.take_plainly, f"{_PLAIN}_steps": 1} if _PLAIN in taken else {}


@contextmanager
def _watched(pipeline: DiffusionPipeline, steps: Steps) -> Iterator[None]:
    """In the block, a stop is noticed before every block of every network."""
    with ExitStack() as stack:
        stack.callback(steps.settle)
        for hook in steps.watch(pipeline):
            stack.callback(hook.remove)
        yield


def _give_back_memory() -> None:
    """Let the system have what loading, or a picture that was not finished, has left behind."""
    gc.collect()
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    allocator.give_back()
