"""Builds, tasks and the recorded decision that joins a prompt to a build."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from nanolocal.chat.canvas import Canvas

if TYPE_CHECKING:
    from pathlib import Path


class Kind(StrEnum):
    """What an engine is needed for."""

    TEXT = "text"
    IMAGE = "image"
    EMBEDDING = "embedding"


class Task(StrEnum):
    """What a prompt asks for; sub-tasks are written ``math/word_problem``."""

    CHAT = "chat"
    WRITING = "writing"
    SUMMARIZE = "summarize"
    CODE = "code"
    MATH = "math"
    TRANSLATE = "translate"
    EXTRACT = "extract"
    DATA = "data"
    ROLEPLAY = "roleplay"
    IMAGE_GEN = "image_gen"
    IMAGE_EDIT = "image_edit"


class Sense(StrEnum):
    """What a projector lets a build take in besides text."""

    SIGHT = "sight"
    HEARING = "hearing"


def in_words(task: str) -> str:
    """A task or sub-task as people say it: ``picture``, ``chat, short fact``."""
    return _SPOKEN.get(task) or task.replace("/", ", ").replace("_", " ")


_SPOKEN = {"image_gen": "picture", "image_edit": "picture edit"}


_FROM_WORDS_ALONE = ("SanaPipeline",)
"""Pipelines of diffusers that have no counterpart which takes a picture."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes of memory that a build takes in its engine; one that draws has no context.

    ``file`` is what is read to load it, ``mapped`` the pages of it that stay and ``used`` those that are still read;
    the system may take the others back. ``held`` is everything else, whatever the context is, ``per_token`` what each
    token of context adds, and ``loading`` is held while the file is read, before there is a context. ``read`` is how
    much of the weights is read to write one token. Looking and listening takes ``looking`` besides, and a token of
    context ``wider``, which ``per_token`` then has in it. Of a build that draws, all this is for a picture of its own
    size, and ``canvas`` tells it for others.
    """

    file: int
    mapped: int
    used: int
    held: int
    loading: int
    per_token: int
    read: int = 0
    looking: int = 0
    wider: int = 0
    canvas: Canvas | None = None

    def needed(self, n_ctx: int) -> int:
        """What has to be free to run with ``n_ctx`` tokens of context."""
        return self.used + max(self.loading, self._running(n_ctx))

    def peak(self, n_ctx: int) -> int:
        """The most that its process shows, pages that the system may take back among it."""
        return max(self.file + self.loading, self.mapped + self._running(n_ctx))

    def _running(self, n_ctx: int) -> int:
        return self.held + self.looking + self.per_token * cells_for(n_ctx)


def cells_for(n_ctx: int) -> int:
    """Cells of memory that the engine makes for a context: whole blocks of 256, as llama.cpp has them.

    Of values it keeps a row of all cells for each number. Where such a row is a multiple of 4 KiB, the beginnings of
    all rows share a few lines of the processor's caches, and a prompt is read by 8 to 10 % more slowly (measured): one
    more block avoids that.
    """
    cells = -(-n_ctx // 256) * 256
    return cells if cells % 2048 else cells + 256


@dataclass(frozen=True, slots=True)
class Build:
    """One stored file set of a model. ``id`` is ``model:quantization``; ``context_length`` is in tokens, 0 if unknown.

    ``defaults`` are the card's sampling or picture settings, ``quality`` maps a task (or ``*``) to 0..1.
    ``projector`` is the file that gives it its ``senses``, ``base`` the folder of a pipeline that has what a build
    which draws lacks (its configurations, or all parts but one), ``aliases`` are its names in other programs, ``needs``
    says what is missing here to run it, and ``set_aside`` why it is not used although nothing is. ``footprint`` is its
    memory, where that is known from its files. ``catalogue_id`` is the model that it is known to be of, ``purposes``
    what that is for, and ``strengths`` how much better at a task (or ``*``) its makers' scores are than its size says.
    ``retained`` is the share of the model's quality that it has left by what was measured, 0 where nobody did.
    """

    id: str
    name: str
    kind: Kind
    path: "Path"
    quantization: str
    size_bytes: int
    sha256: str
    parameters: int = 0
    context_length: int = 0
    kv_bytes_per_token: int = 0
    architecture: str = ""
    licence: str = ""
    tiny: bool = False
    defaults: Mapping[str, float] = field(default_factory=dict)
    quality: Mapping[str, float] = field(default_factory=dict)
    projector: "Path | None" = None
    senses: tuple[Sense, ...] = (Sense.SIGHT,)
    base: "Path | None" = None
    aliases: tuple[str, ...] = ()
    needs: str = ""
    set_aside: str = ""
    footprint: Footprint | None = None
    catalogue_id: str = ""
    purposes: tuple[str, ...] = ()
    strengths: Mapping[str, float] = field(default_factory=dict)
    retained: float = 0.0

    @property
    def sees(self) -> bool:
        """Whether it can look at pictures."""
        return self.has(Sense.SIGHT)

    @property
    def hears(self) -> bool:
        """Whether it can listen to sounds."""
        return self.has(Sense.HEARING)

    @property
    def edits(self) -> bool:
        """Whether it can change a picture, and not only draw from words."""
        return self.kind is Kind.IMAGE and self.architecture not in _FROM_WORDS_ALONE

    @property
    def upscales(self) -> int:
        """How many times as long it makes the sides of a picture, and nothing else; 0 for any other build."""
        return int(self.defaults.get("upscales", 0))

    def answers_to(self, name: str) -> bool:
        """Whether ``name`` is its id, its model, or what another program calls it."""
        return name in (self.id, self.id.partition(":")[0]) or name in self.aliases

    def has(self, sense: Sense) -> bool:
        """Whether it can take in what that is for."""
        return self.kind is Kind.TEXT and self.projector is not None and sense in self.senses


@dataclass(frozen=True, slots=True)
class Rejected:
    """A build that could not be chosen: the gate that rejected it, and why in words."""

    build_id: str
    gate: str
    reason: str


@dataclass(frozen=True, slots=True)
class Speed:
    """What a build was measured at here; 0 where that has not been seen. ``answers`` is how many it rests on."""

    load_s: float = 0.0
    read_tok_s: float = 0.0
    write_tok_s: float = 0.0
    answers: int = 0


@dataclass(frozen=True, slots=True)
class Tally:
    """How a build did at a task on this device: ``wins`` of ``tries``, both weighed, so no whole numbers."""

    wins: float = 0.0
    tries: float = 0.0


@dataclass(frozen=True, slots=True)
class RunnerUp:
    """A build that could have answered, and its score next to the winner's."""

    build_id: str
    score: float
    reason: str


@dataclass(frozen=True, slots=True)
class Route:
    """The recorded decision: which build answers, as which task, and why. ``n_ctx`` is the context in tokens.

    ``case`` is what it was made from, as JSON: recomputed, it gives the same pick. ``may_be_picture`` says that a
    drawing may have been meant, ``is_pinned`` that the user chose the build, and ``instead`` what would have been
    picked else. ``looks`` says that the answer is about a picture before the prompt, and ``is_told`` that the program
    itself gives it, so that the build does not run.
    """

    task: str
    build: Build
    n_ctx: int
    confidence: float
    score: float
    reasons: tuple[str, ...]
    runners_up: tuple[RunnerUp, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    subtask: str = ""
    case: Mapping[str, object] = field(default_factory=dict)
    may_be_picture: bool = False
    is_pinned: bool = False
    instead: str = ""
    looks: bool = False
    is_told: bool = False
