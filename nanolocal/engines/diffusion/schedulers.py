"""Which way from noise to a picture: schedulers of diffusers by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nanolocal.chat.drawing import SCHEDULERS
from nanolocal.errors import UsageError

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline, SchedulerMixin


class Schedulers:
    """The pipeline's own scheduler, and others with its settings."""

    def __init__(self, pipeline: DiffusionPipeline) -> None:
        self._own = pipeline.scheduler

    def named(self, name: str) -> SchedulerMixin:
        """The scheduler of that class, the pipeline's own for ``""``; raises ``UsageError`` listing those there are."""
        import diffusers

        if name in ("", type(self._own).__name__):
            return self._own
        fitting = {cls.__name__ for cls in self._own.compatibles} & set(SCHEDULERS.values())
        if name not in fitting:
            known = ", ".join(sorted(short for short, long in SCHEDULERS.items() if long in fitting))
            raise UsageError(
                f"this build cannot draw with {name}",
                f"those it can: {known}" if known else "leave the scheduler out: it has one of its own",
            )
        return getattr(diffusers, name).from_config(self._own.config)
