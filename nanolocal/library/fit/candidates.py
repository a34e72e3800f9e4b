"""What can be weighed against each other: builds stored here, a file on a server, offers of the catalogue."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from nanolocal.chat.routes import Build, Footprint, Kind
from nanolocal.errors import Damaged, EngineFailed
from nanolocal.library.catalogue.entries import Model, Purpose
from nanolocal.library.fit.advice import Candidate, Source, for_picture_size, for_size
from nanolocal.library.fit.formula import footprint_of
from nanolocal.library.fit.layout import Layout, read_layout
from nanolocal.library.fit.offload import on_device
from nanolocal.library.fit.probe import probe, stand_in
from nanolocal.library.fit.remote import Remote
from nanolocal.library.naming import QUANTIZATION

_BITS = {
    "F32": 32.0, "F16": 16.0, "BF16": 16.0, "Q8_0": 8.5, "Q6_K": 6.6, "Q5_K": 5.7, "Q5_": 5.6, "Q4_K": 4.9, "Q4_": 4.7,
    "IQ4": 4.5, "MXFP4": 4.5, "Q3_K": 4.0, "IQ3": 3.6, "Q2_K": 3.2, "IQ2": 2.6, "IQ1": 1.9,
}  # fmt: skip
"""Bits a weight by how the name of a quantization begins; mixes hold some tensors in a finer type."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How a build is to be run, and where the probe keeps its answers."""

    n_ctx: int
    kv: str
    gpu_layers: int
    cache: Path | None


def from_build(build: Build, kv: str = "f16") -> Candidate:
    """A stored build: what its header says, or its size where that is all there is."""
    footprint = build.footprint
    if footprint is not None and kv != "f16" and build.kind is Kind.TEXT:
        try:
            footprint = replace(footprint_of(read_layout(build.path), kv), looking=footprint.looking)
        except (Damaged, OSError):
            footprint = None
    if footprint is None:
        known = for_size(build.id, build.quantization, build.size_bytes, build.context_length)
    else:
        known = _from_footprint(build.id, build.quantization, footprint, build.context_length)
    return replace(known, size_bytes=build.size_bytes, kept=build.retained)


def from_layout(label: str, quantization: str, layout: Layout, kv: str = "f16") -> Candidate:
    """A model whose header was read, wherever it is."""
    return _from_footprint(label, quantization, footprint_of(layout, kv), layout.number("context_length"))


def from_offers(model: Model) -> Iterator[Candidate]:
    """What the catalogue offers of ``model``, as far as sizes are known or follow from the number of weights.

    Of a picture model the number is that of one part alone, and nothing follows from it.
    """
    draws = Purpose.IMAGE in model.purposes
    seen: set[str] = set()
    for offer in model.builds:
        named = QUANTIZATION.search(offer.file or "")
        quantization = offer.quantization or (named.group(1).upper() if named else "")
        size = offer.size_bytes or (0 if draws else int((model.parameters or 0) * _bits(quantization) / 8))
        label = f"{model.id}:{quantization}"
        if size and label not in seen:
            seen.add(label)
            yield (
                for_picture_size(label, quantization, size)
                if draws
                else for_size(label, quantization, size, model.context or 0, model.active_share)
            )


def probed_build(candidate: Candidate, build: Build, terms: Terms) -> tuple[Candidate, str]:
    """``candidate`` put right by what llama.cpp says; with the reason, and only computed, where it says nothing."""
    try:
        layout = read_layout(build.path)
        looking = build.footprint.looking if build.footprint is not None else 0
        return _put_right(candidate, build.path, layout, terms, looking)
    except Damaged as error:
        return candidate, error.message
    except OSError as error:
        return candidate, f"{build.path.name} cannot be read: {error.strerror}"


def probed_headers(candidate: Candidate, remote: Remote, terms: Terms) -> tuple[Candidate, str]:
    """The same for a model that is not here: llama.cpp sees its header in a file that is a hole otherwise."""
    try:
        with stand_in(remote.headers) as path:
            return _put_right(candidate, path, remote.layout, terms)
    except OSError as error:
        return candidate, f"llama.cpp could not be asked: {error.strerror}"


def _put_right(
    candidate: Candidate, path: Path, layout: Layout, terms: Terms, looking: int = 0
) -> tuple[Candidate, str]:
    """``looking`` is what the candidate takes that the probe knows nothing of."""
    problem, off_by, source = "", 0, Source.PROBED
    try:
        said = probe(path, layout, terms.n_ctx, terms.kv, cache=terms.cache)
        off_by = said.needed(layout, terms.n_ctx) + looking - candidate.needs(terms.n_ctx)
    except EngineFailed as error:
        problem, source = error.message, candidate.source
    needs = candidate.needs

    def moved(n_ctx: int) -> int:
        return on_device(layout, terms.gpu_layers, n_ctx, terms.kv) if terms.gpu_layers else 0

    def here(n_ctx: int) -> int:
        return max(needs(n_ctx) + off_by - moved(n_ctx), 0)

    return replace(candidate, needs=here, moves=moved, source=source), problem


def _from_footprint(label: str, quantization: str, footprint: Footprint, trained: int) -> Candidate:
    return Candidate(
        label=label,
        quantization=quantization,
        size_bytes=footprint.file,
        trained=trained,
        needs=footprint.needed,
        reads=lambda n_ctx: footprint.read + footprint.per_token * n_ctx // 2,
        source=Source.COMPUTED,
    )


def _bits(quantization: str) -> float:
    name = quantization.upper()
    return next((bits for start, bits in _BITS.items() if name.startswith(start)), 0.0)
