"""From what the user named to the files that are fetched for it, and where they will lie."""

from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from nanolocal.errors import TransferFailed, UsageError
from nanolocal.formats.splits import MAX_PARTS, SPLIT
from nanolocal.library.pull import hub, pipelines
from nanolocal.library.pull.choosing import Option, Pick, RemoteFile, Shape, choose
from nanolocal.library.pull.grouping import checkpoints, ggufs
from nanolocal.library.pull.names import checked, checked_all
from nanolocal.library.pull.plan import Wanted
from nanolocal.library.pull.planned import Plan
from nanolocal.library.pull.terms import Terms

if TYPE_CHECKING:
    from nanolocal.library.catalogue.entries import Model
    from nanolocal.library.pull.links import Links
    from nanolocal.library.pull.references import Reference

_MAX_LISTED = 3


async def plan(links: "Links", endpoint: str, reference: "Reference", pick: Pick, file: str = "") -> Plan:
    """What fetching ``reference`` means; ``file`` names one of its files. Asks the hub, and fetches no weights.

    Raises ``UsageError`` where nothing of it may or can be fetched, ``NoBuildFits`` where ``pick`` finds none,
    ``TransferFailed``.
    """
    if reference.url:
        return elsewhere(reference)
    listing, options = await offered(links, endpoint, reference)
    option = choose(options, reference.quant, file or reference.named_file, pick)
    checked_all(each.path for each in (*option.files, *option.companions))
    paths = _flat(option, listing) if option.shape is Shape.GGUF else {}
    wanted = tuple(
        Wanted(hub.address(endpoint, listing, each.path), paths.get(each.path, each.path), each.size, each.sha256)
        for each in (*option.files, *option.companions)
    )
    folder = checked(listing.repo.replace("/", "--"))
    terms = _terms(listing, reference.model)
    return Plan(
        reference.typed, endpoint, listing.repo, listing.commit, option.shape, option.label, folder, terms, wanted
    )


async def offered(links: "Links", endpoint: str, reference: "Reference") -> tuple[hub.Listing, tuple[Option, ...]]:
    """The repository that ``reference`` names, at its commit, and every build in it, at least one.

    Raises ``UsageError`` where nothing in it can be used, ``TransferFailed``.
    """
    listing = await hub.look(links, reference.repo, reference.revision)
    options = await _options(links, endpoint, listing, reference)
    if not options:
        raise UsageError(f"{listing.repo} {_why_none(listing)}", _instead(reference.model, listing.repo))
    return listing, options


async def _options(links: "Links", endpoint: str, listing: hub.Listing, reference: "Reference") -> tuple[Option, ...]:
    paths = {file.path for file in listing.files}
    found: tuple[Option, ...] = ()
    if pipelines.INDEX in paths:
        index, _ = await links.json(hub.address(endpoint, listing, pipelines.INDEX))
        if not isinstance(index, dict):
            raise TransferFailed(f"{pipelines.INDEX} of {listing.repo} holds no object", "take another model")
        found = pipelines.pipelines(listing.files, index)
    elif not _is_for_transformers(paths):
        found = checkpoints(listing.files)
    return found + ggufs(listing.files, reference.projector)


def _is_for_transformers(paths: set[str]) -> bool:
    return "config.json" in paths and bool(paths & {"model.safetensors", "model.safetensors.index.json"})


def _why_none(listing: hub.Listing) -> str:
    if _is_for_transformers({file.path for file in listing.files}):
        return "holds a model for transformers, not one that runs here"
    if any(file.path.endswith((".bin", ".ckpt", ".pt", ".pth")) for file in listing.files):
        return "holds pickled weights only, and unpickling runs code"
    return "holds neither GGUF files nor a diffusers pipeline"


def _instead(model: "Model | None", repo: str) -> str:
    """Where the catalogue knows the same model as GGUF."""
    offers = model.builds if model is not None else ()
    others = dict.fromkeys(offer.repo for offer in offers if offer.repo.lower() != repo.lower())
    if not others:
        return f"look for its name and GGUF: https://huggingface.co/models?search={quote(repo.partition('/')[2])}"
    return f"as GGUF: {', '.join(list(others)[:_MAX_LISTED])}"


def _flat(option: Option, listing: hub.Listing) -> dict[str, str]:
    """Names without folders, so that a projector lies beside its model; kept where two files would become one."""
    bases = Counter(PurePosixPath(file.path).name.lower() for file in listing.files if file.path.endswith(".gguf"))
    files = (*option.files, *option.companions)
    if any(bases[PurePosixPath(file.path).name.lower()] > 1 for file in files):
        return {}
    return {file.path: PurePosixPath(file.path).name for file in files}


def _terms(listing: hub.Listing, model: "Model | None") -> Terms:
    """What the hub says; where that is nothing or ``other``, what the catalogue knows."""
    if model is not None and listing.licence.lower() in ("", "other"):
        return Terms(model.licence, model.licence_url, listing.gated)
    link = listing.licence_link if listing.licence_link.startswith("https://") else ""
    return Terms(listing.licence, link or (model.licence_url if model else ""), listing.gated)


def elsewhere(reference: "Reference") -> Plan:
    """A file, or all parts of a split one, by address; nobody tells their sizes and hashes."""
    split = urlsplit(reference.url)
    path, _, _ = reference.url.partition("?")
    base, _, last = path.rpartition("/")
    name = checked(unquote(last))
    names = [RemoteFile(each) for each in _all_parts(name)]
    tail = f"?{split.query}" if split.query else ""
    wanted = tuple(Wanted(f"{base}/{quote(each.path)}{tail}", each.path) for each in names)
    shape = Shape.GGUF if name.lower().endswith(".gguf") else Shape.CHECKPOINT
    stem = PurePosixPath(wanted[0].name).stem
    folder = checked(f"{(split.hostname or '').replace(':', '-')}--{stem}"[:150].rstrip(". "))
    return Plan(reference.typed, "", "", "", shape, stem, folder, Terms(), wanted)


def _all_parts(name: str) -> list[str]:
    path = PurePosixPath(name)
    match = SPLIT.match(path.stem)
    if match is None or not 1 <= int(match["total"]) <= MAX_PARTS:
        return [name]
    total = match["total"]
    return [f"{match['stem']}-{number:05d}-of-{total}{path.suffix}" for number in range(1, int(total) + 1)]
