"""What the build of a plan will take here, from its size alone: to be said before it is fetched."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nanolocal.library.fit.advice import USUAL_CONTEXT, Verdict, advise
from nanolocal.library.pull.choosing import Option, RemoteFile, Shape, weighed
from nanolocal.library.pull.planned import Plan

if TYPE_CHECKING:
    from nanolocal.library.catalogue.entries import Model


@dataclass(frozen=True, slots=True)
class Room:
    """The memory that may be used, in bytes, and how fast it is read, in bytes a second."""

    budget: int
    bandwidth: float


def expect(plan: Plan, model: "Model | None", room: Room) -> Verdict | None:
    """The build with a context of usual length; ``model`` is what the catalogue knows of it.

    ``None`` where sizes are not told, or nothing here runs what it is.
    """
    if plan.size is None or plan.shape is Shape.CHECKPOINT:
        return None
    trained = min(model.context or USUAL_CONTEXT, USUAL_CONTEXT) if model else USUAL_CONTEXT
    option = Option(plan.shape, plan.label, tuple(RemoteFile(file.name, file.size) for file in plan.files))
    candidate = weighed(option, plan.label, trained, model.active_share if model else 1.0)
    return advise([candidate], room.budget, room.bandwidth)[0]
