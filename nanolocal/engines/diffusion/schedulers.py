"""Which way from noise to a picture: schedulers of diffusers by name.

One of them computes with scipy, and others for one of their settings. diffusers and transformers import it wherever it
is installed, which takes 56 MiB and half a second; here they get it where it is of use.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from nanolocal.chat.drawing import SCHEDULERS
from nanolocal.errors import UsageError
from nanolocal.formats.pipeline_folder import PipelineFacts
from nanolocal.formats.pipelines import Role

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline, SchedulerMixin

_SCIPY = "scipy"
_WITH_SCIPY = "LMSDiscreteScheduler"


@contextmanager
def scipy_left_out(facts: PipelineFacts | None) -> Iterator[None]:
    """In the block no library finds scipy, unless the pipeline of ``facts`` computes with it, or one has looked."""
    has_looked = _SCIPY in sys.modules or "diffusers" in sys.modules
    if has_looked or (facts is not None and _computes_with_scipy(facts)):
        yield
        return
    sys.modules[_SCIPY] = None  # type: ignore[assignment]  # which the import system takes for: there is none
    try:
        yield
    finally:
        del sys.modules[_SCIPY]


def _computes_with_scipy(facts: PipelineFacts) -> bool:
    own = facts.of(Role.SCHEDULER)[0]
    return own.class_name == _WITH_SCIPY or bool(own.config.get("use_beta_sigmas"))


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
        cls: Any = getattr(diffusers, name)
        if name == _WITH_SCIPY:
            diffusers.utils.import_utils._scipy_available = True
            cls = getattr(import_module("diffusers.schedulers.scheduling_lms_discrete"), name)
        return cls.from_config(self._own.config)
