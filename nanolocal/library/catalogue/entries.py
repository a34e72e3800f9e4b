"""A model of the catalogue: facts its makers published, and where its builds lie. What is not known is absent."""

from dataclasses import dataclass
from enum import StrEnum


class Purpose(StrEnum):
    """What a model is for."""

    TEXT = "text"
    CODE = "code"
    REASONING = "reasoning"
    VISION = "vision"
    AUDIO = "audio"
    EMBEDDING = "embedding"
    IMAGE = "image"


class Modality(StrEnum):
    """What goes in or comes out."""

    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    VECTOR = "vector"


@dataclass(frozen=True, slots=True)
class Score:
    """A published benchmark result: 0 to 100 unless ``scale`` names another; ``date`` is YYYY-MM or YYYY-MM-DD."""

    name: str
    score: float
    source: str
    date: str
    scale: str | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """A build on the hub.

    ``file`` is a GGUF, or a pattern of the weights to take from a diffusers folder; without one, only the repository is
    known to exist. ``mmproj`` is the projector that a model needs to see or hear. Size, commit and hash come from the
    hub.
    """

    repo: str
    file: str | None = None
    quantization: str | None = None
    size_bytes: int | None = None
    mmproj: str | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """One model. ``parameters`` and ``active`` are as published, often rounded; of a picture model, the denoiser's.

    ``origin`` is its makers' repository on the hub; ``context`` is in tokens; ``architecture`` is what a GGUF calls
    ``general.architecture``, or the diffusers pipeline class; ``ollama`` lists the tags it goes by there.
    """

    id: str
    name: str
    family: str
    maker: str
    origin: str
    licence: str
    licence_url: str
    purposes: tuple[Purpose, ...]
    inputs: tuple[Modality, ...]
    outputs: tuple[Modality, ...]
    parameters: int | None = None
    active: int | None = None
    context: int | None = None
    released: str | None = None
    architecture: str | None = None
    template: str | None = None
    notes: str | None = None
    ollama: tuple[str, ...] = ()
    builds: tuple[Offer, ...] = ()
    scores: tuple[Score, ...] = ()

    @property
    def active_share(self) -> float:
        """The part of the weights that one token uses, as far as that is known."""
        return self.active / self.parameters if self.active and self.parameters else 1.0

    @property
    def size_class(self) -> str:
        """The size as people say it: ``4B``, ``135M``, ``31B-A3.3B``; empty when it is not known."""
        if not self.parameters:
            return ""
        active = f"-A{_short(self.active)}" if self.active and self.parameters >= 10**9 else ""
        return _short(self.parameters) + active


def _short(parameters: int) -> str:
    if parameters < 950_000_000:
        return f"{round(parameters / 1e6)}M"
    billions = parameters / 1e9
    if billions >= 1000:
        return f"{billions / 1000:.0f}T"
    return f"{billions:.0f}B" if billions >= 10 else f"{billions:.1f}".removesuffix(".0") + "B"
