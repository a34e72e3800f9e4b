"""What can be known of a model that is not here without fetching it: sizes from the hub's list, or its headers."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from nanolocal.errors import UsageError
from nanolocal.library.fit.remote import Remote, read_remote
from nanolocal.library.pull import hub
from nanolocal.library.pull.choosing import Option, Shape, named, usable
from nanolocal.library.pull.names import checked_all
from nanolocal.library.pull.planning import elsewhere, offered
from nanolocal.library.pull.ranges import open_remote

if TYPE_CHECKING:
    from nanolocal.library.pull.links import Links
    from nanolocal.library.pull.references import Reference


@dataclass(frozen=True, slots=True)
class Sighting:
    """``options`` of ``repo`` at ``commit``, which are empty for an address.

    ``headers`` are the names and addresses of the files of the one GGUF that is meant, in order, where one is.
    """

    repo: str = ""
    commit: str = ""
    options: tuple[Option, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


async def sight(links: "Links", reference: "Reference") -> Sighting:
    """What ``reference`` names, all that is usable of a repository where it names none of its builds.

    Raises ``UsageError`` where nothing of it can be known, ``TransferFailed`` (``AccessRefused`` without a token).
    """
    if reference.url:
        return _at_an_address(reference)
    listing, options = await offered(links, links.endpoint, reference)
    if not reference.quant and not reference.named_file:
        return Sighting(listing.repo, listing.commit, tuple(usable(options)))
    option = named(options, reference.quant, reference.named_file)
    paths = checked_all(file.path for file in option.files) if option.shape is Shape.GGUF else ()
    headers = {PurePosixPath(path).name: hub.address(links.endpoint, listing, path) for path in paths}
    return Sighting(listing.repo, listing.commit, (option,), headers)


def read_headers(seen: Sighting, token: str, *, allows_plain: bool = False) -> Remote:
    """The headers of the build, all parts of it, at its commit; the token goes to the hub alone.

    Raises ``Damaged``, ``TransferFailed`` or ``AccessRefused``, and ``UsageError`` where plain http would be needed.
    """
    with ExitStack() as stack:
        files = [
            (name, stack.enter_context(open_remote(url, token, is_hub=bool(seen.repo), allows_plain=allows_plain)))
            for name, url in seen.headers.items()
        ]
        return read_remote((name, file.size, file.read_range) for name, file in files)


def _at_an_address(reference: "Reference") -> Sighting:
    plan = elsewhere(reference)
    if plan.shape is not Shape.GGUF:
        raise UsageError(f"{plan.files[0].name} does not tell what it takes", "give the address of a .gguf file")
    return Sighting(headers={file.name: file.url for file in plan.files})
