"""What happens while a picture is drawn: steps are counted, previews shown, and a stop ends it at once.

The stop flag is looked at after every step and before every block of every network, so that it takes no longer than
one block or one tile of the decoder, however long a step is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from nanolocal.engines import allocator
from nanolocal.engines.diffusion.previews import Previews
from nanolocal.engines.protocol import Reply, RunImage, Step
from nanolocal.engines.stopflag import StopFlag
from nanolocal.errors import BuildFailed

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from torch import Tensor
    from torch.nn import Module

_PREVIEW_EVERY = 4


class Stopped(Exception):
    """Nobody wants the picture any more."""


class Steps:
    """The steps of all pictures of ``job``; ``each`` is how many one of them takes, as far as that is known before."""

    def __init__(
        self,
        job: RunImage,
        each: int,
        previews: Previews,
        emit: Callable[[Reply], None],
        stop: StopFlag,
        rung: str = "full",
    ) -> None:
        self._job = job
        self._has_room = rung == "full"
        self._is_denoising = False
        self._each = each
        self._previews = previews
        self._emit = emit
        self._stop = stop
        self._before = 0
        self.number = 0
        self._step_at = time.monotonic()
        self.done = 0
        self.first_at = 0.0
        self.latents: Tensor | None = None

    @property
    def done_of_this(self) -> int:
        """Steps of the picture that is under way."""
        return self.done - self._before

    def begin(self, number: int) -> None:
        """Picture ``number``, from 0 on, begins; raises ``Stopped``."""
        self.settle()
        self.latents = None
        self.number = number
        self._before = self._each * number
        self._step_at = time.monotonic()
        self.check()

    def finish(self) -> None:
        """The picture is drawn: what the pipeline did not tell of its steps is counted."""
        if self.done < self._before + self._each:
            self._count(self._each)

    def take(self, pipeline: DiffusionPipeline, index: int, _: object, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """The callback of most pipelines after step ``index``; schedulers of higher order count each step twice."""
        order = pipeline.scheduler.order
        told = getattr(pipeline, "num_timesteps", None)
        self._each = min(-(-told // order), self._job.steps) if told else self._each
        self._took(-(-(index + 1) // order), values["latents"])
        return values

    def take_plainly(self, index: int, _: object, latents: Tensor) -> None:
        """The callback of pipelines that have only the older kind; ``index`` counts whole steps."""
        self._took(index + 1, latents)

    def settle(self) -> None:
        """What follows is done once, as decoding is: the system has every large block as soon as it is free."""
        if self._is_denoising:
            self._is_denoising = False
            allocator.keep_no_large_blocks()

    def check(self) -> None:
        """Raise ``Stopped`` when nobody wants the picture any more."""
        if self._stop.is_set:
            raise Stopped

    def watch(self, pipeline: DiffusionPipeline) -> Iterator[Any]:
        """Look at the stop flag before every block, and notice the denoiser; yields the hooks, to be removed."""
        denoiser = getattr(pipeline, "transformer", None) or getattr(pipeline, "unet", None)
        if self._has_room and denoiser is not None:
            yield denoiser.register_forward_pre_hook(lambda *_: self._denoise())
        for part in pipeline.components.values():
            for block in _blocks(part):
                yield block.register_forward_pre_hook(lambda *_: self.check())

    def _took(self, done: int, latents: Tensor) -> None:
        now = time.monotonic()
        self.first_at = self.first_at or now
        if self.done == self._before and not bool(latents.isfinite().all()):
            raise no_numbers()
        self._count(min(done, self._each), latents, now - self._step_at)
        self.check()
        if done >= self._each:  # what follows is decoding, which takes most
            self.settle()
            allocator.give_back()
        self._step_at = time.monotonic()

    def _denoise(self) -> None:
        """From here on the same layers come again and again: where there is room, their blocks are kept for them."""
        if not self._is_denoising:
            self._is_denoising = True
            allocator.give_back()
            allocator.keep_no_large_blocks(allocator.COSTLY)

    def _count(self, done: int, latents: Tensor | None = None, step_s: float = 0.0) -> None:
        self.done = self._before + done
        self.latents = latents
        is_due = latents is not None and done % _PREVIEW_EVERY == 0 and done < self._each and not self._stop.is_set
        preview = self._previews.show(latents, self._job, step_s) if is_due and latents is not None else None
        self._emit(Step(self._job.job, self.done, self._each * self._job.count, preview))


def no_numbers() -> BuildFailed:
    """What is wrong with a build that draws NaN."""
    return BuildFailed(
        "it draws no numbers (NaN): its weights are damaged, or too large for the precision it runs in",
        "get the files again, or choose another build",
    )


def _blocks(part: object) -> Iterator[Module]:
    """The outermost blocks of a network, and the networks of a decoder: each is called once a step, or a tile."""
    from torch.nn import Module, ModuleList

    if not isinstance(part, Module):
        return
    for child in part.children():
        if isinstance(child, ModuleList):
            yield from (block for block in child if isinstance(block, Module))
        else:
            yield from _blocks(child)
