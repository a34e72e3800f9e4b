"""The two halves of a pull: finding out what it means, and carrying that out."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nanolocal.library.pull import hashes, pulledcard
from nanolocal.library.pull.choosing import Pick
from nanolocal.library.pull.placing import Spot, find_spot, place
from nanolocal.library.pull.plan import Fetched, Tell
from nanolocal.library.pull.planned import Plan
from nanolocal.library.pull.planning import elsewhere, plan
from nanolocal.library.pull.references import Reference
from nanolocal.library.pull.staging import begin, begun
from nanolocal.library.pull.telling import Overall

if TYPE_CHECKING:
    from nanolocal.library.pull.control import Control
    from nanolocal.library.pull.links import Links


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is going to be fetched, where to, and how many bytes of it an earlier attempt left behind."""

    plan: Plan
    spot: Spot
    arrived: int = 0
    is_resumed: bool = False

    @property
    def needs_consent(self) -> bool:
        """Whether the user has to agree to the terms: once for an attempt, and for all builds in one folder."""
        terms = self.plan.terms
        was_asked = self.is_resumed or pulledcard.licence_in(self.spot.folder) == terms.licence
        return terms.need_consent and not was_asked

    @property
    def missing(self) -> int | None:
        """Bytes that are still to be fetched; ``None`` where nobody tells sizes."""
        if self.plan.size is None:
            return None
        present = sum(file.size or 0 for file in self.spot.present)
        return max(self.plan.size - present - self.arrived, 0)


async def prepare(
    links: "Links", endpoint: str, reference: Reference, pick: Pick, models: Path, file: str = ""
) -> Prepared:
    """The plan for ``reference``; fetches no weights. An attempt that was not finished goes on with its own plan.

    Raises what ``planning.plan`` raises.
    """
    links.check(reference.url or endpoint)
    typed = f"{reference.typed} --file {file}" if file else reference.typed
    earlier = begun(models, typed, endpoint)
    if earlier is not None:
        known = _addressed(earlier.plan, elsewhere(reference)) if reference.url else earlier.plan
        return Prepared(known, find_spot(models, known), earlier.done, is_resumed=True)
    made = await plan(links, endpoint, replace(reference, typed=typed), pick, file)
    return Prepared(made, find_spot(models, made))


def _addressed(known: Plan, typed: Plan) -> Plan:
    """What is known of the files, at the addresses that were typed now: their signatures may be new."""
    files = tuple(replace(old, url=new.url) for old, new in zip(known.files, typed.files, strict=True))
    return replace(known, files=files)


async def carry_out(
    links: "Links", prepared: Prepared, models: Path, control: "Control", tell: Tell
) -> tuple[Fetched, ...]:
    """Fetch what is missing and make it appear; returns what was fetched. ``tell`` hears how all of it goes.

    Raises ``TransferFailed`` or ``UsageError``; what has arrived is kept then, as after a cancellation or a kill.
    """
    from nanolocal.library.pull.transfer import fetch

    staged = begin(models, prepared.plan)
    overall = Overall(prepared.plan.files, prepared.spot.present, tell)
    fetched: list[Fetched] = []
    for wanted in prepared.plan.files:
        if wanted in prepared.spot.present:
            continue
        fetched.append(await fetch(links, wanted, staged.files, control, overall.tell))
        overall.add(fetched[-1])
        hashes.keep(models, fetched[-1])
        if not wanted.sha256:
            staged.remember(fetched)
    place(staged, prepared.spot.folder, fetched)
    return tuple(fetched)
