"""The image engine: one diffusers pipeline from a checked local folder. Runs in the child.

Importing torch and diffusers takes seconds, so both are imported when a build is loaded and only then.
"""

from __future__ import annotations

import io
import logging
import random
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from nanolocal.chat.messages import Stopped
from nanolocal.engines.failures import failed, is_of_memory
from nanolocal.engines.manifest import check_pipeline
from nanolocal.engines.protocol import Done, Dropped, Failed, LoadImage, Progress, Reply, RunImage, RunText, Step
from nanolocal.engines.stopflag import StopFlag
from nanolocal.errors import BuildFailed, EngineFailed, OutOfMemory
from nanolocal.formats.preflight import check_weights

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from PIL.Image import Image
    from torch import Tensor

_PREVIEW_EVERY = 4
_PREVIEW_LATENTS = 32
"""Previews are decoded from at most so many latents a side, so that they stay cheap."""
_LATENT_DIMENSIONS = 4


class _Stopped(Exception):
    """Raised between two steps, so that no time goes into decoding a picture that nobody wants."""


class ImageEngine:
    """A loaded pipeline. ``emit`` takes what happens; raises ``EngineFailed`` when it cannot be loaded."""

    def __init__(self, request: LoadImage, emit: Callable[[Reply], None], stop: StopFlag) -> None:
        self._emit = emit
        self._stop = stop
        self._pipeline = _load(Path(request.path), request.threads, emit)
        self._previews = _Previews(self._pipeline)
        self._job: RunImage | None = None
        self._cpu_s = time.process_time()

    @property
    def is_busy(self) -> bool:
        """Whether there is a picture to draw."""
        return self._job is not None

    def take(self, job: RunText | RunImage) -> None:
        """Begin a job; raises ``EngineFailed``."""
        if not isinstance(job, RunImage) or self.is_busy:
            raise EngineFailed("an image engine draws one picture at a time and writes no text")
        self._job = job

    def step(self) -> None:
        """Draw the picture."""
        job, self._job = self._job, None
        assert job is not None
        try:
            end: Done | Failed = self._run(job)
        except Exception as error:  # whatever a library raises, the parent gets one clear line
            end = failed(job.job, error)
        self._stop.end(job.job)
        self._emit(end)

    def leave(self) -> None:
        """Nothing outlives it."""

    def _run(self, job: RunImage) -> Done:
        """Draw; the account has no memory yet."""
        began = time.monotonic()
        if cut := self._cut_off(job.prompt):
            self._emit(Dropped(job.job, 0, cut))
        progress = _Steps(job, self._previews, self._emit, self._stop)
        try:
            progress.check()
            picture = self._draw(job, progress)
        except _Stopped:
            picture = None
        before, self._cpu_s = self._cpu_s, time.process_time()
        return Done(
            job=job.job,
            stopped=Stopped.USER if picture is None else Stopped.END,
            memory=0,
            cpu_s=self._cpu_s - before,
            pixel_steps=job.width * job.height * progress.done,
            ttft_s=progress.first_at - began if progress.done else 0.0,
            picture=picture,
        )

    def _cut_off(self, prompt: str) -> int:
        """Tokens at the end of ``prompt`` that no text encoder takes; diffusers cuts them in silence."""
        parts = (getattr(self._pipeline, name, None) for name in ("tokenizer", "tokenizer_2", "tokenizer_3"))
        excess = [len(part(prompt).input_ids) - part.model_max_length for part in parts if part is not None]
        return max(0, min(excess, default=0))

    def _draw(self, job: RunImage, progress: _Steps) -> bytes:
        import torch

        seed = random.getrandbits(63) if job.seed is None else job.seed
        result = self._pipeline(
            **({"negative_prompt": job.negative} if job.negative else {}),
            prompt=job.prompt,
            width=job.width,
            height=job.height,
            num_inference_steps=job.steps,
            guidance_scale=job.guidance,
            generator=torch.Generator("cpu").manual_seed(seed),
            callback_on_step_end=progress.take,
            callback_on_step_end_tensor_inputs=["latents"],
        )
        return _png(result.images[0])


class _Previews:
    """Small pictures of unfinished latents, as long as one takes no longer than a step."""

    def __init__(self, pipeline: DiffusionPipeline) -> None:
        self._pipeline = pipeline
        self._costs: list[float] = []

    def show(self, latents: Tensor, step_s: float) -> bytes | None:
        """A PNG of ``latents``, or ``None`` where that would be dear. The first one ever is slow and does not count."""
        if latents.ndim != _LATENT_DIMENSIONS or (len(self._costs) > 1 and min(self._costs) > step_s):
            return None
        began = time.monotonic()
        png = self._decode(latents[:1])
        self._costs = [*self._costs[-1:], time.monotonic() - began]
        return png

    def _decode(self, latents: Tensor) -> bytes:
        from torch.nn.functional import adaptive_avg_pool2d

        height, width = latents.shape[-2:]
        scale = min(1.0, _PREVIEW_LATENTS / max(height, width))
        small = adaptive_avg_pool2d(latents, (max(1, round(height * scale)), max(1, round(width * scale))))
        vae = self._pipeline.vae
        shift = getattr(vae.config, "shift_factor", None) or 0.0
        decoded = vae.decode((small / vae.config.scaling_factor + shift).to(vae.dtype), return_dict=False)[0]
        return _png(self._pipeline.image_processor.postprocess(decoded.detach(), output_type="pil")[0])


class _Steps:
    """Counts denoising steps, shows previews, and ends the job when the stop flag is set."""

    def __init__(self, job: RunImage, previews: _Previews, emit: Callable[[Reply], None], stop: StopFlag) -> None:
        self._job = job.job
        self._steps = job.steps
        self._previews = previews
        self._emit = emit
        self._stop = stop
        self._step_at = time.monotonic()
        self.done = 0
        self.first_at = 0.0

    def take(self, _: object, index: int, __: object, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """The pipeline's callback after step ``index``; schedulers of higher order count more steps than asked for."""
        now = time.monotonic()
        self.done = min(index + 1, self._steps)
        self.first_at = self.first_at or now
        self.check()
        is_due = self.done % _PREVIEW_EVERY == 0 and self.done < self._steps
        preview = self._previews.show(values["latents"], now - self._step_at) if is_due else None
        self._emit(Step(self._job, self.done, self._steps, preview))
        self._step_at = time.monotonic()
        return values

    def check(self) -> None:
        """Raise when nobody wants the picture any more."""
        if self._stop.is_set:
            raise _Stopped


def _load(folder: Path, threads: int, emit: Callable[[Reply], None]) -> DiffusionPipeline:
    """Check, then load ``folder`` on the best device there is."""
    checked = check_weights(folder)
    name = check_pipeline(folder)
    emit(Progress(0.0))
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    import diffusers
    import torch

    emit(Progress(0.4))
    diffusers.utils.logging.disable_progress_bar()
    torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    checked.confirm()
    try:
        pipeline = getattr(diffusers, name).from_pretrained(
            str(folder),
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            torch_dtype=torch.float32 if device == "cpu" else torch.float16,
            variant="fp16" if any(folder.glob("*/*.fp16*.safetensors")) else None,
        )
    except Exception as error:  # torch, diffusers, transformers and safetensors each raise their own
        first_line = next(iter(str(error).splitlines()), type(error).__name__)
        kind = OutOfMemory if is_of_memory(error) else EngineFailed if isinstance(error, ImportError) else BuildFailed
        raise kind(f"diffusers cannot load {folder.name}: {first_line}", "get the files again") from error
    emit(Progress(0.9))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def _png(image: Image) -> bytes:
    """PNG bytes without any metadata."""
    image.info.clear()
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
