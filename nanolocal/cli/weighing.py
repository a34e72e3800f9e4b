"""Everything that the NAME of ``models fit`` may stand for: stored builds, the catalogue, the hub, an address."""

import argparse
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from nanolocal.chat.amounts import format_bytes
from nanolocal.chat.routes import Build, Kind
from nanolocal.cli import hubtoken, insecure
from nanolocal.errors import UsageError
from nanolocal.paths import Paths
from nanolocal.settings import Settings

if TYPE_CHECKING:
    from nanolocal.library.fit.advice import Candidate
    from nanolocal.library.fit.candidates import Terms
    from nanolocal.library.pull.choosing import Option
    from nanolocal.library.pull.references import Reference
    from nanolocal.library.pull.sighting import Sighting


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked, in this home, with so many bytes of memory. ``notes`` and ``told`` gather what is to be said.

    ``told`` is for ``--json``: the repository and commit where the hub was asked.
    """

    args: argparse.Namespace
    paths: Paths
    settings: Settings
    budget: int
    notes: list[str] = field(default_factory=list)
    told: dict[str, object] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What is to be weighed; empty for all that is stored."""
        return self.args.name or ""


@dataclass(frozen=True, slots=True)
class _Hub:
    """Who is asked about what is not here, with which token, and whether over plain http to other machines too."""

    endpoint: str
    allows_plain: bool
    token: str = ""


def candidates(asked: Question) -> "list[Candidate]":
    """What is to be weighed; raises ``UsageError`` when that is nothing."""
    from nanolocal.library.fit.candidates import from_build

    builds = _stored(asked)
    if not asked.name and not builds:
        raise UsageError("no build is stored here", "nanolocal models scan, or nanolocal models fit MODEL")
    if not asked.name:
        return [from_build(build, asked.args.kv) for build in builds]
    return _probed(asked, builds) if builds else _not_stored(asked)


def _stored(asked: Question) -> list[Build]:
    """The stored builds of that name that run here, all without a name; raises ``UsageError`` if none of it does."""
    from nanolocal.library import opening

    builds = opening.open_library(asked.paths, asked.settings).builds()
    named = [build for build in builds if not asked.name or build.answers_to(asked.name)]
    runnable = [build for build in named if build.kind is not Kind.EMBEDDING and not build.needs]
    if asked.name and named and not runnable:
        raise UsageError(f"{named[0].id} {_lacks(named[0])}", "nanolocal models fit shows what runs here")
    return runnable


def _lacks(build: Build) -> str:
    return f"needs {build.needs}" if build.needs else "makes embeddings (models embed), which are not weighed here"


def _probed(asked: Question, builds: list[Build]) -> "list[Candidate]":
    """Stored builds as llama.cpp itself accounts for them; where it does not, the reason is noted."""
    from nanolocal.library.fit.candidates import from_build, probed_build

    found = []
    for build in builds:
        candidate = from_build(build, asked.args.kv)
        if build.footprint is not None and build.kind is Kind.TEXT:
            candidate, problem = probed_build(candidate, build, _terms(asked, candidate))
            asked.notes.extend([f"{problem}, so the memory of {build.id} is computed"] if problem else [])
        found.append(candidate)
    return found


def _terms(asked: Question, candidate: "Candidate") -> "Terms":
    from nanolocal.library.fit.advice import largest_context
    from nanolocal.library.fit.candidates import Terms

    n_ctx = asked.args.context or largest_context(candidate, asked.budget)
    return Terms(n_ctx, asked.args.kv, asked.args.gpu_layers, asked.paths.cache / "probes.json")


def _not_stored(asked: Question) -> "list[Candidate]":
    """What the catalogue offers, where it knows sizes; else what the hub has, or the file at an address."""
    from nanolocal.library.fit.candidates import from_offers
    from nanolocal.library.pull.hub import endpoint_of
    from nanolocal.library.pull.references import parse

    if Path(asked.name).is_file():
        raise UsageError(f"{asked.name} is a file here", "nanolocal models scan FOLDER adopts it where it is")
    endpoint = endpoint_of(asked.settings.hub)
    reference = parse(asked.name, urlsplit(endpoint).netloc)
    if reference.model is not None and not reference.quant and "/" not in asked.name:
        offers = list(from_offers(reference.model))
        if offers:
            return offers
    asking = _Hub(endpoint, insecure.allows_plain(asked.args, asked.settings))
    if not reference.repo:
        return _far(asked, reference, asking)
    return hubtoken.with_token(asked.args, endpoint, lambda token: _far(asked, reference, replace(asking, token=token)))


def _far(asked: Question, reference: "Reference", asking: _Hub) -> "list[Candidate]":
    """By the headers of the build that is meant; by size where that is open, or it is a pipeline."""
    import asyncio

    seen = asyncio.run(_sighted(reference, asking))
    if seen.repo:
        asked.told.update(repository=seen.repo, commit=seen.commit)
        asked.notes.append(f"{seen.repo} at commit {seen.commit[:8]}")
    if seen.headers:
        return [_by_headers(asked, seen, asking)]
    if len(seen.options) > 1:
        asked.notes.append("for exact figures add :QUANT to the name; that reads a header alone")
    return _by_size(seen.options, reference)


async def _sighted(reference: "Reference", asking: _Hub) -> "Sighting":
    from nanolocal.library.pull.links import Links
    from nanolocal.library.pull.sighting import sight

    async with Links(asking.endpoint, asking.token, allows_plain=asking.allows_plain) as links:
        return await sight(links, reference)


def _by_size(options: "tuple[Option, ...]", reference: "Reference") -> "list[Candidate]":
    """All of them; two of one quantization are told apart by their files' names."""
    from nanolocal.library.pull.choosing import weighed

    model, labels = reference.model, Counter(option.label for option in options)
    trained, share = ((model.context or 0), model.active_share) if model else (0, 1.0)
    return [
        weighed(each, each.label if labels[each.label] == 1 else each.name.rpartition("/")[2], trained, share)
        for each in options
    ]


def _by_headers(asked: Question, seen: "Sighting", asking: _Hub) -> "Candidate":
    """The build of which only the header is fetched, some megabytes at most."""
    from nanolocal.library.fit.candidates import from_layout, probed_headers
    from nanolocal.library.naming import QUANTIZATION
    from nanolocal.library.pull.sighting import read_headers

    remote = read_headers(seen, asking.token, allows_plain=asking.allows_plain)
    asked.notes.append(f"fetched {format_bytes(remote.fetched)} of {format_bytes(remote.layout.size_bytes)}")
    name = next(iter(seen.headers))
    found = QUANTIZATION.search(name)
    label = seen.options[0].label if seen.options else name
    candidate = from_layout(label, found.group(1) if found else label, remote.layout, asked.args.kv)
    candidate, problem = probed_headers(candidate, remote, _terms(asked, candidate))
    asked.notes.extend([f"{problem}, so the memory is computed"] if problem else [])
    return candidate
