"""The hard limits. A build that breaks one is out, and the gate's name and reason are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from nanolocal.chat.media import is_picture, is_sound
from nanolocal.chat.routes import Build, Kind, Rejected
from nanolocal.chat.usage import PICTURE_TOKENS, Usage
from nanolocal.routing.surroundings import Surroundings

if TYPE_CHECKING:
    from nanolocal.chat.ports import RouteRequest

MIN_ANSWER_TOKENS = 64
DEFAULT_CONTEXT = 8192
_MOST_BYTES_PER_TOKEN = 8
"""No real text averages more, so a prompt longer than this cannot fit; the engine counts exactly."""
_MEMORY_OVERHEAD = 1.15
"""What a build of unknown footprint takes on top of its file, as a share of its size."""


class Demand(NamedTuple):
    """What a turn needs: the kind of engine, the bytes of text that go in, and the bytes of memory there are.

    ``has_picture`` is whether a picture goes in too, to be looked at or changed, ``has_sound`` whether a sound does.
    ``has_picture`` is whether a picture goes in too, to be looked at or changed. Where ``upscales`` it is to become
    larger and nothing else; ``None`` for a build that is named, which does what it does.
    """

    kind: Kind
    text_bytes: int
    has_picture: bool
    has_sound: bool
    memory_budget: int
    upscales: bool | None = False


def demand_of(request: RouteRequest, kind: Kind, memory_budget: int, *, of_earlier: bool = False) -> Demand:
    """Sum up what ``request`` needs from a build of ``kind``; ``of_earlier`` is about a picture before the prompt."""
    return Demand(
        kind=kind,
        text_bytes=len(request.prompt.encode("utf-8", "replace")),
        has_picture=pictures_of(request) > 0 or of_earlier,
        has_sound=any(map(is_sound, request.attachments)),
        memory_budget=memory_budget,
        upscales=request.wishes.drawing.upscales or (None if request.wishes.model else False),
    )


def context_for(build: Build, request: RouteRequest) -> int:
    """Tokens of context to load: room for the whole conversation, at most what the build was trained on.

    A build that draws has none; for one that looks at pictures, half of what each may become is room enough for most.
    What a sound becomes depends on its length, so that there is room for all of it.
    """
    if build.kind is Kind.IMAGE:
        return 0
    wanted = DEFAULT_CONTEXT
    need = (len(request.prompt) + request.history_bytes) // 3 + 1024
    if build.sees:
        need += (pictures_of(request) + request.history_pictures) * PICTURE_TOKENS // 2
    if build.hears:
        need += request.sound_tokens
    while wanted < need:
        wanted *= 2
    return min(wanted, build.context_length or wanted)


def memory_needed(build: Build, n_ctx: int) -> int:
    """Bytes that running ``build`` with ``n_ctx`` tokens takes: by its header, or roughly where that does not say.

    Of one that draws it is what a picture of its own size takes in the way that saves most.
    """
    canvas = None if build.footprint is None else build.footprint.canvas
    if canvas is not None:
        return min(needed for _, needed in canvas.ladder(canvas.width, canvas.height))
    if build.footprint is not None:
        return build.footprint.needed(n_ctx)
    return int(build.size_bytes * _MEMORY_OVERHEAD) + build.kv_bytes_per_token * n_ctx + 64 * 2**20


def gate_of(build: Build, demand: Demand, n_ctx: int) -> Rejected | None:
    """The first gate that ``build`` does not pass, or nothing."""
    for name, check in _GATES:
        for reason in check(build, demand, n_ctx):
            return Rejected(build.id, name, reason)
    return None


def unpayable(builds: Sequence[Build], around: Surroundings) -> dict[str, Rejected]:
    """Those of which not even a short answer can be paid, by id; none where that would leave nobody.

    Then the turn refuses instead, and says what the credit still buys.
    """
    if around.cost is None:
        return {}
    least = Usage(completion_tokens=MIN_ANSWER_TOKENS)
    short = {
        build.id: Rejected(build.id, "credit", "the balance does not pay for a short answer")
        for build in builds
        if around.cost(build, least) > around.balance
    }
    return short if len(short) < len(builds) else {}


def pictures_of(request: RouteRequest) -> int:
    """How many pictures come with the prompt."""
    return sum(map(is_picture, request.attachments))


def _modality(build: Build, demand: Demand, n_ctx: int) -> Iterator[str]:
    if build.kind is not demand.kind:
        yield f"it makes {_PRODUCTS[build.kind]}"
    elif demand.has_picture and build.kind is Kind.IMAGE and not build.edits:
        yield "it draws from words alone"
    elif build.kind is Kind.IMAGE and demand.upscales is not None and demand.upscales != bool(build.upscales):
        yield "it does nothing but enlarge pictures" if build.upscales else "it does not enlarge pictures"
    elif demand.has_picture and build.kind is Kind.TEXT and not build.sees:
        yield "it cannot look at pictures"
    elif demand.has_sound and build.kind is Kind.TEXT and not build.hears:
        yield "it cannot listen to sounds"


def _health(build: Build, demand: Demand, n_ctx: int) -> Iterator[str]:
    if build.set_aside:
        yield build.set_aside


def _engine(build: Build, demand: Demand, n_ctx: int) -> Iterator[str]:
    if build.needs:
        yield f"it needs {build.needs}"


def _context(build: Build, demand: Demand, n_ctx: int) -> Iterator[str]:
    at_least = demand.text_bytes // _MOST_BYTES_PER_TOKEN
    if build.kind is Kind.TEXT and at_least > n_ctx - MIN_ANSWER_TOKENS:
        yield f"the prompt needs at least {at_least:,} tokens and it reads at most {n_ctx:,}"


def _memory(build: Build, demand: Demand, n_ctx: int) -> Iterator[str]:
    needed = memory_needed(build, n_ctx)
    if needed > demand.memory_budget:
        yield f"it needs {needed / 2**30:.1f} GiB of memory and {demand.memory_budget / 2**30:.1f} GiB are free"


_Gate = Callable[[Build, Demand, int], Iterator[str]]
_PRODUCTS = {Kind.TEXT: "text", Kind.IMAGE: "pictures", Kind.EMBEDDING: "embeddings"}
_GATES: tuple[tuple[str, _Gate], ...] = (
    ("modality", _modality),
    ("health", _health),
    ("engine", _engine),
    ("context", _context),
    ("memory", _memory),
)
