"""What llama.cpp's own recipes make of a build: their types from a dry run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nanolocal.compress.work.tasks import DryRun, Plan, Source, Tell

if TYPE_CHECKING:
    from nanolocal.compress.work.workers import Runner


@dataclass(frozen=True, slots=True)
class Stock:
    """A stock recipe on a model: its ``label``, as ``Q4_K_M``, and the types of its tensors."""

    label: str
    types: Mapping[str, str]


async def stock(runner: "Runner", source: Source, name: str, tell: Tell, imatrix: str | None = None) -> Stock:
    """Ask llama.cpp about all tensors; some recipes depend on whether there is an importance matrix."""
    plan = await runner.run(DryRun(source, name, imatrix), tell)
    assert isinstance(plan, Plan)
    return Stock(name, plan.types)
