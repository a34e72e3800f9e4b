"""One pull from what was typed to a build in the library, for every face."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nanolocal.chat.routes import Build
from nanolocal.library.library import Library
from nanolocal.library.pull.choosing import Pick
from nanolocal.library.pull.placing import check_free
from nanolocal.library.pull.plan import Fetched, Tell
from nanolocal.library.pull.references import Reference
from nanolocal.library.pull.result import stored_copy, take_in
from nanolocal.library.pull.running import Prepared, carry_out, prepare
from nanolocal.library.pull.staging import Staged
from nanolocal.paths import make_private

if TYPE_CHECKING:
    from nanolocal.library.pull.control import Control


@dataclass(frozen=True, slots=True)
class Source:
    """The hub at ``endpoint``, a token for it, the library, our own ``models`` in it, and what is taken unasked.

    ``allows_plain`` says that other machines may be asked over plain http.
    """

    endpoint: str
    token: str
    models: Path
    library: Library
    pick: Pick
    allows_plain: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """What was planned and what was fetched of it. ``build`` is what the library has now, or where ``is_copy`` had."""

    prepared: Prepared
    fetched: tuple[Fetched, ...] = ()
    build: Build | None = None
    is_copy: bool = False


Agree = Callable[[Prepared, int], bool]
"""Asked once, before anything is fetched, with the plan and the free bytes: whether to go on, or ``UsageError``."""


async def pull(
    source: Source,
    reference: Reference,
    file: str,
    control: "Control",
    agree: Agree,
    tell: Tell,
    says: Callable[[str], None],
) -> Done:
    """Fetch ``reference``, of it ``file`` where one is named, and take it into the library.

    ``tell`` hears how it goes, ``says`` why the hub has to be asked again. Raises ``UsageError``, ``NoBuildFits``,
    ``TransferFailed`` (``AccessRefused`` where a token is needed) or ``Damaged``; what has arrived is kept.
    """
    from nanolocal.library.pull.links import Links

    async with Links(source.endpoint, source.token, allows_plain=source.allows_plain, says=says) as links:
        prepared = await prepare(links, source.endpoint, reference, source.pick, source.models, file)
        copy = stored_copy(source.library, prepared.plan.files)
        if copy is not None and not prepared.spot.present:
            return Done(prepared, build=copy, is_copy=True)
        free = check_free(source.models, prepared.missing or 0, "what has arrived is kept")
        if not agree(prepared, free):
            return Done(prepared)
        fetched: tuple[Fetched, ...] = ()
        if prepared.spot.is_complete(prepared.plan):
            Staged.of(source.models, prepared.plan).discard()  # what a kill left between the last file and the end
        else:
            make_private(source.models)
            fetched = await carry_out(links, prepared, source.models, control, tell)
    build = take_in(source.library, prepared, fetched)
    source.library.descriptions.save()
    return Done(prepared, fetched, build)
